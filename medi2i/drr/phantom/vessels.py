"""Pulmonary vessels: trees that leave the hila and taper into the lungs."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64

from medi2i.drr.phantom.canvas import Canvas
from medi2i.drr.phantom.chest import Chest
from medi2i.drr.phantom.fields import Grid

_VESSEL_HU = 40.0
_GENERATIONS = 7
_TRUNKS = 10


def paint_vessels(canvas: Canvas, chest: Chest, vessel_size: float, rng: np.random.Generator) -> None:
    """Both trees, where lung is."""
    box = chest.grid
    for name, side in (("right_lung", 1.0), ("left_lung", -1.0)):
        starts, ends, radii = _grow(side, vessel_size, rng)
        share = _splat(box, starts, ends, radii)
        inside = np.clip(np.float32(-0.5) * chest.lungs[name], 0, 1)
        share *= inside
        under = canvas.hounsfield[box.slices]
        share *= np.float32(_VESSEL_HU) - under
        under += share


def _grow(
    side: float, vessel_size: float, rng: np.random.Generator
) -> tuple[Float64[np.ndarray, "N 3"], Float64[np.ndarray, "N 3"], Float64[np.ndarray, " N"]]:
    """Start, end and radius of every branch; each splits in two, narrower and shorter."""
    hilum = np.array([side * 36.0, -8.0, 4.0 if side > 0 else 12.0])
    # more and wider trunks to the bases, as in an upright patient
    tilt = np.deg2rad(np.linspace(-80.0, 74.0, _TRUNKS)) + rng.normal(0.0, 0.12, _TRUNKS)
    depth = rng.uniform(-0.8, 0.8, _TRUNKS)
    direction = np.stack([side * np.cos(tilt), depth, np.sin(tilt)], axis=1)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    start = hilum + rng.normal(0.0, 4.0, (_TRUNKS, 3))
    radius = vessel_size * np.where(tilt < 0, 5.4, 4.3)
    segments = []
    for generation in range(_GENERATIONS):
        length = 25.0 * 0.9**generation * rng.uniform(0.8, 1.25, len(start))
        end = start + length[:, None] * direction
        segments.append((start, end, radius))
        turn = np.concatenate([rng.normal(0.0, 0.34, direction.shape) for _ in range(2)])
        start, direction = np.tile(end, (2, 1)), np.tile(direction, (2, 1)) + turn
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        radius = np.tile(radius, 2) * rng.uniform(0.62, 0.84, len(start))
    starts, ends, radii = (np.concatenate(part) for part in zip(*segments, strict=True))
    return starts, ends, radii


def _splat(
    box: Grid, starts: np.ndarray, ends: np.ndarray, radii: np.ndarray
) -> Float32[np.ndarray, "I J K"]:
    """Share of each voxel in a vessel: balls along branches, weighted so that thin ones keep their area.

    A voxel of side h whose centre lies d from the axis gets clip((r - d) / h + 1/2, 0, 1), whose integral
    across the vessel is pi (r² + h²/12) where r >= h/2; the weight r² / (r² + h²/12) makes it pi r².
    """
    share = np.zeros(box.shape, dtype=np.float32)
    h = box.voxel_mm
    counts = np.maximum(2, np.ceil(np.linalg.norm(ends - starts, axis=1) / (0.6 * h)).astype(int))
    branch = np.repeat(np.arange(len(counts)), counts)
    order = np.arange(len(branch)) - np.repeat(np.cumsum(counts) - counts, counts)
    along = (order / counts[branch])[:, None]
    points, sizes = starts[branch] * (1 - along) + ends[branch] * along, radii[branch]
    reach = np.ceil(sizes / h + 0.5).astype(int)
    for cells in np.unique(reach):
        _splat_balls(share, box, points[reach == cells], sizes[reach == cells], int(cells), h)
    return share


def _splat_balls(
    share: Float32[np.ndarray, "I J K"],
    box: Grid,
    points: np.ndarray,
    sizes: np.ndarray,
    cells: int,
    h: float,
) -> None:
    """Enter balls that reach `cells` voxels far."""
    axes = (box.x.ravel(), box.y.ravel(), box.z.ravel())
    steps = np.arange(-cells, cells + 1)
    indices, squares = [], []
    for number, axis in enumerate(axes):
        nearest = np.rint((points[:, number] - axis[0]) / (axis[1] - axis[0])).astype(int)[:, None] + steps
        indices.append(nearest)
        squares.append(
            (axis[np.clip(nearest, 0, axis.size - 1)] - points[:, number, None]).astype(np.float32) ** 2
        )
    distance = np.sqrt(
        squares[0][:, :, None, None] + squares[1][:, None, :, None] + squares[2][:, None, None, :]
    )
    radius = sizes.astype(np.float32)[:, None, None, None]
    weight = radius**2 / (radius**2 + np.float32(h * h / 12))
    value = np.clip((radius - distance) / np.float32(h) + np.float32(0.5), 0, 1) * weight
    i, j, k = (
        np.where((index >= 0) & (index < axis.size), index, -1)
        for index, axis in zip(indices, axes, strict=True)
    )
    inside = (
        (i >= 0)[:, :, None, None] & (j >= 0)[:, None, :, None] & (k >= 0)[:, None, None, :] & (value > 0)
    )
    flat = (i[:, :, None, None] * axes[1].size + j[:, None, :, None]) * axes[2].size + k[:, None, None, :]
    np.maximum.at(share.reshape(-1), flat[inside], value[inside])
