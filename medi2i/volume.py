"""What a CT and its labels are in this package: Hounsfield units, structures, and where voxels lie.

Patient coordinates are RAS millimetres (x to the patient's right, y to the front, z to the head), as in
NIfTI. Readers turn every volume so that its axes run nearest to right, front and head; what is left of an
oblique acquisition is in the affine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt16

AIR_HU = -1000.0
_SAME_PLACE_VOXELS = (
    0.02  # what rounding in headers moves a voxel by; a wrong grid is off by half a voxel or more
)


@dataclass(frozen=True, slots=True)
class Volume:
    """One CT.

    Attributes:
        hounsfield: (I, J, K) Hounsfield units, padding already air.
        affine: voxel index to RAS mm, of voxel centres.
        padding: True where the scanner recorded nothing (outside its field of view); None for nowhere.
        patient_id: identity as the file states it, or None. Never write it anywhere: it is only there to
            tell two patients apart.
        notes: what a user should know about this CT, in plain words.
    """

    hounsfield: Float32[np.ndarray, "I J K"]
    affine: Float64[np.ndarray, "4 4"]
    padding: Bool[np.ndarray, "I J K"] | None = None
    patient_id: str | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of voxel centres along the three axes."""
        return axis_spacing_mm(self.affine)

    @property
    def center_mm(self) -> Float64[np.ndarray, " 3"]:
        """Middle of the volume in patient coordinates."""
        middle = (np.array(self.hounsfield.shape) - 1) / 2
        return self.affine[:3, :3] @ middle + self.affine[:3, 3]


@dataclass(frozen=True, slots=True)
class LabelVolume:
    """Structures of one CT, which may overlap.

    A voxel's code stands for a *set* of structures, so that one array holds overlapping structures exactly
    and a group of structures is their union.

    Attributes:
        codes: (I, J, K) row of `membership`; 0 is no structure.
        membership: (N, S) which structures a code belongs to; row 0 is all False.
        structures: names of the S columns, each once; one without voxels is a structure that was looked for.
        affine: voxel index to RAS mm, of voxel centres.
        notes: what a user should know about these labels, in plain words.
    """

    codes: UInt16[np.ndarray, "I J K"]
    membership: Bool[np.ndarray, "N S"]
    structures: tuple[str, ...]
    affine: Float64[np.ndarray, "4 4"]
    notes: tuple[str, ...] = ()

    def mask(self, structure: str) -> Bool[np.ndarray, "I J K"]:
        """Voxels of one structure.

        Raises:
            KeyError: there is no such structure.
        """
        if structure not in self.structures:
            raise KeyError(structure)
        return self.membership[:, self.structures.index(structure)][self.codes]

    def voxel_counts(self) -> Int64[np.ndarray, " S"]:
        """Number of voxels of each structure."""
        counts = np.zeros(len(self.membership), dtype=np.int64)
        for plane in self.codes:  # bincount takes 8 bytes a voxel, so not all at once
            counts += np.bincount(plane.ravel(), minlength=len(counts))
        total: np.ndarray = counts @ self.membership.astype(np.int64)
        return total

    def regroup(self, groups: Mapping[str, Sequence[str]]) -> LabelVolume:
        """The structures that `groups` names, each the union of its members, in that order.

        Raises:
            KeyError: a member is no structure of this volume.
        """
        columns = []
        for members in groups.values():
            for member in members:
                if member not in self.structures:
                    raise KeyError(member)
            indices = [self.structures.index(member) for member in members]
            columns.append(self.membership[:, indices].any(axis=1))
        membership = np.stack(columns, axis=1) if columns else np.zeros((len(self.membership), 0), dtype=bool)
        return LabelVolume(self.codes, membership, tuple(groups), self.affine, self.notes)

    def join(self, other: LabelVolume) -> LabelVolume:
        """Structures of this selection and of another one of the same labels.

        Raises:
            ValueError: they are of different voxels.
        """
        if other.codes is not self.codes:
            raise ValueError("only selections of the same labels can be joined")
        return LabelVolume(
            self.codes,
            np.hstack([self.membership, other.membership]),
            (*self.structures, *other.structures),
            self.affine,
            (*self.notes, *(note for note in other.notes if note not in self.notes)),
        )


def axis_spacing_mm(affine: Float64[np.ndarray, "4 4"]) -> tuple[float, float, float]:
    """Distance of voxel centres along each axis of an affine."""
    i, j, k = (float(length) for length in np.linalg.norm(affine[:3, :3], axis=0))
    return i, j, k


def is_same_grid(
    shape: tuple[int, ...],
    affine: Float64[np.ndarray, "4 4"],
    other_shape: tuple[int, ...],
    other_affine: Float64[np.ndarray, "4 4"],
) -> bool:
    """Whether two grids have the same voxels: equal shapes, no corner off by over 2 % of a voxel side."""
    if tuple(shape) != tuple(other_shape):
        return False
    ends = [(0, side - 1) for side in shape]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    difference = np.asarray(affine, dtype=np.float64) - other_affine
    off_mm = np.linalg.norm(corners @ difference[:3, :3].T + difference[:3, 3], axis=1)
    return bool(off_mm.max() <= _SAME_PLACE_VOXELS * min(axis_spacing_mm(affine)))


def label_volume_from_map(
    labels: np.ndarray, names: Mapping[int, str], affine: Float64[np.ndarray, "4 4"]
) -> LabelVolume:
    """A label volume of an exclusive label map (I, J, K).

    0 is background, whatever its name; values without a name are no structure; values of one name are one
    structure.
    """
    values = sorted(value for value in names if value != 0)
    structures = tuple(dict.fromkeys(names[value] for value in values))
    table = np.zeros(max(int(labels.max(initial=0)), max(values, default=0)) + 1, dtype=np.uint16)
    membership = np.zeros((len(values) + 1, len(structures)), dtype=bool)
    for code, value in enumerate(values, start=1):
        table[value] = code
        membership[code, structures.index(names[value])] = True
    return LabelVolume(table[labels], membership, structures, affine)
