"""Shapes as fields: about millimetres to the surface, negative inside, on a grid of voxels.

Coordinates are those of the average body, RAS millimetres: voxel positions of one patient divided by that
patient's size. Fields are right near the surface, where they decide how much of a voxel is inside; far off
only their sign counts. Arrays broadcast: x is (I, 1, 1), y is (1, J, 1), z is (1, 1, K).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

_FAR_MM = 1e4


@dataclass(frozen=True, slots=True)
class Grid:
    """A box of voxels in body coordinates.

    Attributes:
        x, y, z: (I, 1, 1), (1, J, 1), (1, 1, K) positions of voxel centres, ascending.
        slices: where the box lies in the whole volume.
        voxel_mm: mean side of a voxel in body coordinates.
    """

    x: Float32[np.ndarray, "I 1 1"]
    y: Float32[np.ndarray, "1 J 1"]
    z: Float32[np.ndarray, "1 1 K"]
    slices: tuple[slice, slice, slice]
    voxel_mm: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        return self.x.size, self.y.size, self.z.size

    def cut(self, low_mm: Float[np.ndarray, " 3"], high_mm: Float[np.ndarray, " 3"]) -> Grid:
        """The voxels between two corners; empty along an axis where there are none."""
        parts = []
        for axis, low, high in zip((self.x, self.y, self.z), low_mm, high_mm, strict=True):
            positions = axis.ravel()
            parts.append(
                slice(int(np.searchsorted(positions, low)), int(np.searchsorted(positions, high, "right")))
            )
        i, j, k = parts
        whole = tuple(
            slice(own.start + part.start, own.start + part.stop)
            for own, part in zip(self.slices, parts, strict=True)
        )
        return Grid(self.x[i], self.y[:, j], self.z[:, :, k], (whole[0], whole[1], whole[2]), self.voxel_mm)

    def alone(self) -> Grid:
        """The same voxels as a volume of their own."""
        i, j, k = (slice(0, side) for side in self.shape)
        return Grid(self.x, self.y, self.z, (i, j, k), self.voxel_mm)

    def around(self, center_mm: list[float], reach_mm: float | list[float]) -> Grid:
        """The voxels in a box about a point."""
        center, reach = np.asarray(center_mm, dtype=np.float64), np.asarray(reach_mm, dtype=np.float64)
        return self.cut(center - reach, center + reach)


def coverage(field: Float32[np.ndarray, "*n"], voxel_mm: float) -> Float32[np.ndarray, "*n"]:
    """Share of each voxel that is inside, from the field at its centre: 1/2 on the surface."""
    share = field * np.float32(-1 / voxel_mm)
    share += np.float32(0.5)
    return np.clip(share, 0, 1, out=share)


def ellipsoid(
    grid: Grid, center_mm: list[float], semi_axes_mm: list[float], turn_deg: float = 0.0
) -> Float32[np.ndarray, "I J K"]:
    """An ellipsoid, turned about the axis from back to front; its right end goes up for positive angles."""
    x, y, z = (axis - np.float32(c) for axis, c in zip((grid.x, grid.y, grid.z), center_mm, strict=True))
    cosine, sine = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    along, across = (x * cosine + z * sine), (z * cosine - x * sine)
    plane = (along / semi_axes_mm[0]) ** 2 + (across / semi_axes_mm[2]) ** 2
    radius = np.sqrt(plane.astype(np.float32) + ((y / semi_axes_mm[1]) ** 2).astype(np.float32))
    radius -= 1
    radius *= np.float32(min(semi_axes_mm))
    return radius


def join_smoothly(
    one: Float32[np.ndarray, "*n"], other: Float32[np.ndarray, "*n"], blend_mm: float
) -> Float32[np.ndarray, "*n"]:
    """Union of two shapes with a fillet where they meet: the quadratic smooth minimum of Quilez (2013)."""
    share = np.maximum(np.float32(blend_mm) - np.abs(one - other), 0)
    return np.minimum(one, other) - share * share * np.float32(0.25 / blend_mm)


def intersect_smoothly(
    one: Float32[np.ndarray, "*n"], other: Float32[np.ndarray, "*n"], blend_mm: float
) -> Float32[np.ndarray, "*n"]:
    """Intersection of two shapes with a rounded edge."""
    return -join_smoothly(-one, -other, blend_mm)


def tube(
    grid: Grid,
    curve_mm: Float64[np.ndarray, "M 3"],
    radii_mm: Float[np.ndarray, " M"],
    *,
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0),
    margin_mm: float = 0.0,
) -> tuple[Grid, Float32[np.ndarray, "I J K"]]:
    """A round tube along a polyline, and the box that it lies in; far from it the field is large.

    Args:
        grid: the volume.
        curve_mm: points of the axis, M >= 2.
        radii_mm: at each point.
        stretch: how much wider than its radius the tube is along x, y and z.
        margin_mm: how far outside the tube the field is needed.
    """
    radii, scale = np.asarray(radii_mm, dtype=np.float64), np.asarray(stretch)
    reach = radii.max() * scale + grid.voxel_mm * scale.max() + margin_mm
    box = grid.cut(curve_mm.min(axis=0) - reach, curve_mm.max(axis=0) + reach)
    field = np.full(box.shape, _FAR_MM, dtype=np.float32)
    local = box.alone()
    for start, end, first, last in zip(curve_mm, curve_mm[1:], radii, radii[1:], strict=False):
        part = local.cut(np.minimum(start, end) - reach, np.maximum(start, end) + reach)
        near = field[part.slices]
        np.minimum(near, _capsule(part, start, end, first, last, scale), out=near)
    return box, field


def _capsule(
    grid: Grid, start: np.ndarray, end: np.ndarray, first: float, last: float, scale: np.ndarray
) -> Float32[np.ndarray, "I J K"]:
    """A cone with round ends, in coordinates divided by `scale`."""
    axes = (grid.x, grid.y, grid.z)
    x, y, z = (((axis - c) / s).astype(np.float32) for axis, c, s in zip(axes, start, scale, strict=True))
    along = (end - start) / scale
    square = max(float(along @ along), 1e-9)
    a, b, c = (along / square).astype(np.float32)
    share = np.clip(a * x + b * y + c * z, 0, 1)
    dx, dy, dz = along.astype(np.float32)
    distance = (x - share * dx) ** 2
    distance += (y - share * dy) ** 2
    distance += (z - share * dz) ** 2
    distance = np.sqrt(distance, out=distance)
    distance -= np.float32(first) + share * np.float32(last - first)
    return distance
