"""Closed-form line integrals of ellipsoids along cone-beam rays: a projection without a renderer.

A ray that starts at the source with direction d meets the ellipsoid c + F·(unit ball) in the interval

    t = (-s·e ± sqrt(e·e - |s × e|²)) / e·e,   with s = F⁻¹(source - c), e = F⁻¹ d,

(the discriminant by Lagrange's identity, which doesn't cancel when the source is far away). Two sums are
built on it:

- `solid_length`: the exact length inside a union of ellipsoids and outside another union (intervals are
  merged on each ray), for the body, lungs and heart;
- `chord_sums`: a weighted sum of chords, for bones and vessels made of many small ellipsoids, which are
  evaluated only inside their own shadow.

Line integrals add up, so each piece carries the attenuation difference to what encloses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Bool, Float64, Int64

from medi2i.drr.geometry import ConeBeamGeometry
from medi2i.errors import UsageError

_RAYS_AT_ONCE = 250_000


@dataclass(frozen=True, slots=True)
class Ellipsoids:
    """N ellipsoids, each the image c + F·(unit ball) of the unit ball.

    Attributes:
        centers_mm: (N, 3) centres in patient coordinates.
        factors_mm: (N, 3, 3) invertible matrices whose columns are the semi-axes when they are
            perpendicular; any affine image of an ellipsoid is `matrix @ factor`.
    """

    centers_mm: Float64[np.ndarray, "N 3"]
    factors_mm: Float64[np.ndarray, "N 3 3"]

    @classmethod
    def from_axes(
        cls,
        centers_mm: np.ndarray,
        semi_axes_mm: np.ndarray | Sequence[float],
        rotations: np.ndarray | None = None,
    ) -> Self:
        """Ellipsoids from centres (N, 3), semi-axes (N, 3) and rotations (N, 3, 3) or (3, 3).

        Columns of a rotation are the directions of the semi-axes; without one they follow x, y and z.
        """
        centers = np.atleast_2d(np.asarray(centers_mm, dtype=np.float64))
        semi_axes = np.broadcast_to(np.asarray(semi_axes_mm, dtype=np.float64), centers.shape)
        directions = np.eye(3) if rotations is None else np.asarray(rotations, dtype=np.float64)
        return cls(centers, np.broadcast_to(directions, (len(centers), 3, 3)) * semi_axes[:, None, :])

    @classmethod
    def join(cls, *parts: Ellipsoids) -> Self:
        """All ellipsoids of several sets, in order."""
        return cls(
            np.concatenate([part.centers_mm for part in parts] or [np.empty((0, 3))]),
            np.concatenate([part.factors_mm for part in parts] or [np.empty((0, 3, 3))]),
        )

    def __len__(self) -> int:
        return len(self.centers_mm)

    def __getitem__(self, index: slice | np.ndarray) -> Ellipsoids:
        return Ellipsoids(self.centers_mm[index], self.factors_mm[index])

    def transform(self, matrix: np.ndarray, translation_mm: np.ndarray) -> Ellipsoids:
        """The affine image under x -> matrix·x + translation."""
        return Ellipsoids(self.centers_mm @ matrix.T + translation_mm, matrix @ self.factors_mm)

    def resize(self, factor: float) -> Ellipsoids:
        """The same centres with every semi-axis multiplied by `factor`."""
        return Ellipsoids(self.centers_mm, self.factors_mm * factor)

    def contain(self, points_mm: np.ndarray) -> Bool[np.ndarray, "P N"]:
        """Which of P points (P, 3) lie inside which ellipsoid."""
        offsets = points_mm[:, None, :] - self.centers_mm
        unit = np.einsum("nij,pnj->pni", np.linalg.inv(self.factors_mm), offsets)
        return np.einsum("pni,pni->pn", unit, unit) <= 1.0


def project_extents(ellipsoids: Ellipsoids, geometry: ConeBeamGeometry) -> Int64[np.ndarray, "N 4"]:
    """Tight box of each ellipsoid's shadow: first row, last row + 1, first column, last column + 1.

    A plane with normal n through the source touches an ellipsoid with centre p (seen from the source) and
    shape S = F·Fᵀ where (n·p)² = nᵀSn, i.e. nᵀ(ppᵀ - S)n = 0: the dual conic of the outline (Hartley and
    Zisserman, Multiple View Geometry, 2nd ed., section 8.3). Boxes may reach beyond the detector.

    Raises:
        UsageError: an ellipsoid reaches behind the source, where it has no shadow.
    """
    centers = (ellipsoids.centers_mm - geometry.source_mm) @ geometry.axes
    factors = geometry.axes.T @ ellipsoids.factors_mm
    shapes = factors @ factors.swapaxes(1, 2)
    if np.any(centers[:, 2] <= np.sqrt(shapes[:, 2, 2])):
        raise UsageError(
            "source_to_isocenter_mm",
            found=f"an ellipsoid that reaches behind the source ({geometry.source_to_isocenter_mm} mm away)",
            expected="the whole object between source and detector",
            remedy="move the source back or the object towards the detector",
        )
    dual = centers[:, :, None] * centers[:, None, :] - shapes
    box = np.empty((len(ellipsoids), 4), dtype=np.int64)
    for first, axis, size in ((0, 1, geometry.rows), (2, 0, geometry.columns)):
        spread = np.sqrt(dual[:, axis, 2] ** 2 - dual[:, axis, axis] * dual[:, 2, 2])
        tangents = (dual[:, axis, 2] + np.stack([-spread, spread])) / dual[:, 2, 2]
        spacing_mm = geometry.detector_spacing_mm[1 - axis]
        pixels = tangents * geometry.source_to_detector_mm / spacing_mm + (size - 1) / 2
        box[:, first] = np.ceil(pixels[0])
        box[:, first + 1] = np.floor(pixels[1]) + 1
    return box


def ray_intervals(
    ellipsoids: Ellipsoids, geometry: ConeBeamGeometry, rows: np.ndarray, columns: np.ndarray
) -> Float64[np.ndarray, "2 N *grid"]:
    """Distance in mm from the source at which each ray enters and leaves each ellipsoid.

    Args:
        ellipsoids: N ellipsoids.
        geometry: source and detector; a ray ends at its pixel.
        rows, columns: pixel indices that broadcast to one (h, w) grid, or to (N, h, w), a grid for each.

    Returns:
        entry and exit; equal where the ray misses.
    """
    inverse = np.linalg.inv(ellipsoids.factors_mm)
    to_source = np.einsum("nij,nj->ni", inverse, geometry.source_mm - ellipsoids.centers_mm)
    steps = np.einsum("nij,jk->kni", inverse, geometry.axes)
    moments = np.cross(to_source, steps)
    u, v, depth = geometry.column_mm(columns), geometry.row_mm(rows), geometry.source_to_detector_mm
    squared = moment_squared = along = np.zeros(1)
    for i in range(3):
        # summed before they are spread over the grid: one pass over all pixels each
        e, m = (
            u * a[0, :, i, None, None] + (v * a[1, :, i, None, None] + depth * a[2, :, i, None, None])
            for a in (steps, moments)
        )
        squared = squared + e * e
        moment_squared = moment_squared + m * m
        along = along - to_source[:, i, None, None] * e
    half = np.sqrt(np.maximum(squared - moment_squared, 0.0))
    ray_mm = np.sqrt(u * u + v * v + depth * depth)
    return np.clip(np.stack([along - half, along + half]) / squared, 0.0, 1.0) * ray_mm


def merge_lengths(intervals: Float64[np.ndarray, "2 N *grid"]) -> Float64[np.ndarray, "*grid"]:
    """Length of the union of N intervals on each ray: by entry, each adds what lies beyond the earlier."""
    order = np.argsort(intervals[0], axis=0)
    entry, leave = (np.take_along_axis(part, order, axis=0) for part in intervals)
    total = np.zeros(entry.shape[1:])
    reached = np.zeros(entry.shape[1:])
    for start, end in zip(entry, leave, strict=True):
        total += np.maximum(end - np.maximum(start, reached), 0.0)
        reached = np.maximum(reached, end)
    return total


def solid_length(
    inside: Ellipsoids, outside: Ellipsoids, geometry: ConeBeamGeometry
) -> Float64[np.ndarray, "H W"]:
    """Exact length in mm of each ray inside any of `inside` and none of `outside`.

    |A \\ B| = |A ∪ B| - |B| on every ray, where both unions are merged intervals.
    """
    image = np.zeros((geometry.rows, geometry.columns))
    box = project_extents(inside, geometry)
    if len(box) == 0:
        return image
    top, left = np.maximum(box[:, [0, 2]].min(axis=0), 0)
    bottom, right = np.minimum(box[:, [1, 3]].max(axis=0), image.shape)
    if bottom <= top or right <= left:
        return image
    outside = outside[_meet(project_extents(outside, geometry), top, bottom, left, right)]
    rows, columns = np.ogrid[top:bottom, left:right]
    intervals = ray_intervals(Ellipsoids.join(inside, outside), geometry, rows, columns)
    removed = merge_lengths(intervals[:, len(inside) :]) if len(outside) else 0.0
    image[top:bottom, left:right] = merge_lengths(intervals) - removed
    return np.maximum(image, 0.0)


def _meet(box: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """Which shadows reach into a window; the others can't carve anything there."""
    return (box[:, 0] < bottom) & (box[:, 1] > top) & (box[:, 2] < right) & (box[:, 3] > left)


def chord_sums(
    ellipsoids: Ellipsoids, weights: Float64[np.ndarray, "C N"], geometry: ConeBeamGeometry
) -> Float64[np.ndarray, "C H W"]:
    """C weighted sums of the N chord lengths in mm on each ray; overlapping ellipsoids count twice."""
    size = geometry.rows * geometry.columns
    image = np.zeros((len(weights), size))
    for members, rows, columns in _patches(project_extents(ellipsoids, geometry), geometry):
        entry, leave = ray_intervals(ellipsoids[members], geometry, rows, columns)
        valid = (rows >= 0) & (rows < geometry.rows) & (columns >= 0) & (columns < geometry.columns)
        pixels = (rows * geometry.columns + columns)[valid]
        chords = leave - entry
        for sums, weight in zip(image, weights, strict=True):
            sums += np.bincount(pixels, (weight[members, None, None] * chords)[valid], minlength=size)
    return image.reshape(len(weights), geometry.rows, geometry.columns)


def _patches(
    box: np.ndarray, geometry: ConeBeamGeometry
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Ellipsoids with shadows of like size, and pixel rows (n, h, 1) and columns (n, 1, w) of their boxes."""
    limits = np.array([geometry.rows, geometry.rows, geometry.columns, geometry.columns])
    box = np.clip(box, 0, limits)
    heights, widths = box[:, 1] - box[:, 0], box[:, 3] - box[:, 2]
    side = np.maximum(heights, widths)
    visible = (heights > 0) & (widths > 0)
    classes = np.ceil(np.log2(np.maximum(side, 4)) * 2).astype(int)
    for size_class in np.unique(classes[visible]):
        members = np.flatnonzero(visible & (classes == size_class))
        height, width = heights[members].max(), widths[members].max()
        count = max(1, _RAYS_AT_ONCE // int(height * width))
        for start in range(0, len(members), count):
            some = members[start : start + count]
            yield (
                some,
                box[some, 0, None, None] + np.arange(height)[:, None],
                box[some, 2, None, None] + np.arange(width),
            )
