"""Boxes of voxels, and how far rays run in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from medi2i.drr.geometry import Camera


@dataclass(frozen=True, slots=True)
class Box:
    """Part of a volume.

    Attributes:
        slices: along the three axes.
        affine: index within the box to RAS mm.
    """

    slices: tuple[slice, slice, slice]
    affine: Float64[np.ndarray, "4 4"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        i, j, k = (part.stop - part.start for part in self.slices)
        return i, j, k


def bounding_box(
    mask: Bool[np.ndarray, "I J K"], affine: Float64[np.ndarray, "4 4"], *, margin: int = 0
) -> Box | None:
    """The smallest box around what is True, and `margin` voxels more within the volume; None for nothing."""
    slices = []
    for axis, size in enumerate(mask.shape):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(mask.any(axis=others))
        if found.size == 0:
            return None
        slices.append(slice(max(0, int(found[0]) - margin), min(size, int(found[-1]) + 1 + margin)))
    moved = np.array(affine, dtype=np.float64)
    moved[:3, 3] += moved[:3, :3] @ [part.start for part in slices]
    return Box((slices[0], slices[1], slices[2]), moved)


def clip_lengths(
    box: Box,
    camera: Camera,
    targets_mm: Float64[np.ndarray, "N 3"],
    *,
    extended: tuple[tuple[bool, bool], ...] = ((False, False),) * 3,
) -> Float64[np.ndarray, " N"]:
    """Length in mm of each ray, source to target, inside the box.

    The box ends where trilinear interpolation does, one voxel beyond the outer centres.

    Args:
        box: where.
        camera: gives the source; `targets_mm` are in its coordinates.
        targets_mm: ends of the rays.
        extended: for each axis, whether the box has no end towards lower and towards higher indices.
    """
    voxels = np.linalg.inv(box.affine) @ camera.patient_from_camera
    start = voxels[:3, 3]
    ray = np.asarray(targets_mm) @ voxels[:3, :3].T
    ray = np.where(np.abs(ray) < 1e-12, 1e-12, ray)
    open_ended = np.array(extended)
    low = np.where(open_ended[:, 0], -np.inf, -1.0)
    high = np.where(open_ended[:, 1], np.inf, np.array(box.shape, dtype=np.float64))
    one, other = (low - start) / ray, (high - start) / ray
    enters = np.minimum(one, other).max(axis=1).clip(0.0, 1.0)
    leaves = np.maximum(one, other).min(axis=1).clip(0.0, 1.0)
    return np.maximum(leaves - enters, 0.0) * np.linalg.norm(targets_mm, axis=1)
