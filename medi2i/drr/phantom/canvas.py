"""The volume under construction: Hounsfield units painted over one another, and one bit a structure."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt16

from medi2i.drr.phantom.fields import Grid, coverage
from medi2i.volume import AIR_HU, LabelVolume


class Canvas:
    """Paints one patient.

    Args:
        grid: all voxels of the volume.
        structures: names that `label` takes, 16 at most.
    """

    def __init__(self, grid: Grid, structures: tuple[str, ...]) -> None:
        self.grid = grid
        self.structures = structures
        self.hounsfield: Float32[np.ndarray, "I J K"] = np.full(grid.shape, AIR_HU, dtype=np.float32)
        self._bits: UInt16[np.ndarray, "I J K"] = np.zeros(grid.shape, dtype=np.uint16)

    def paint(
        self,
        box: Grid,
        field: Float32[np.ndarray, "I J K"],
        hounsfield: float | Float32[np.ndarray, "I J K"],
    ) -> None:
        """Replace what is inside a shape; voxels on its surface are mixed by their share."""
        under = self.hounsfield[box.slices]
        share = coverage(field, box.voxel_mm)
        share *= hounsfield - under
        under += share

    def label(self, name: str, box: Grid, inside: Bool[np.ndarray, "I J K"]) -> None:
        """Add voxels to a structure."""
        bit = np.uint16(1 << self.structures.index(name))
        under = self._bits[box.slices]
        under |= inside.astype(np.uint16) * bit

    def label_bone(self, name: str, box: Grid, inside: Bool[np.ndarray, "I J K"]) -> None:
        """Add voxels to a bone, which is no part of the pleural space that it borders on."""
        for space in {"left_lung", "right_lung", "effusion"} & set(self.structures):
            self.erase(space, box, inside)
        self.label(name, box, inside)

    def erase(self, name: str, box: Grid, inside: Bool[np.ndarray, "I J K"]) -> None:
        """Take voxels from a structure."""
        bit = np.uint16(1 << self.structures.index(name))
        under = self._bits[box.slices]
        under &= ~(inside.astype(np.uint16) * bit)

    def mask(self, name: str, box: Grid) -> Bool[np.ndarray, "I J K"]:
        """The structure's voxels in a box."""
        bit = np.uint16(1 << self.structures.index(name))
        return (self._bits[box.slices] & bit) > 0

    def labels(self, affine: Float64[np.ndarray, "4 4"]) -> LabelVolume:
        """All structures; a code stands for the set of structures that a voxel is in."""
        used = np.zeros(1 << len(self.structures), dtype=bool)
        used[self._bits] = True
        used[0] = True
        sets = np.flatnonzero(used)
        codes = np.zeros(used.size, dtype=np.uint16)
        codes[sets] = np.arange(len(sets), dtype=np.uint16)
        membership = (sets[:, None] >> np.arange(len(self.structures))) & 1
        return LabelVolume(codes[self._bits], membership.astype(bool), self.structures, affine)
