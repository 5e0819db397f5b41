"""A piece of a rib found in a mask of all ribs, and painted over as if it had never been there."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

_ORIENTATION_PX = 3.0
_RECENTRE_PX = 2
_SEEDS = 24


def find_rib_piece(
    ribs: Bool[np.ndarray, "H W"],
    field: Bool[np.ndarray, "H W"],
    *,
    length_px: float,
    margin_px: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "H W"]:
    """Pixels of a piece of one rib, at most `length_px` long; empty where no rib crosses the field.

    Ribs cross each other in a projection, so that a union of ribs has no single ribs to take. From pixels
    drawn in it the middle of the rib is followed both ways along the mask's own direction, and the longest
    walk of 24 is kept.

    Args:
        ribs: union of ribs.
        field: where the walk may run, as a rule the lungs.
        length_px: of the walk.
        margin_px: how far beyond the mask the piece reaches, for the blur of an edge.
        rng: draws where the walks begin.
    """
    inside = ribs & field
    depth = ndimage.distance_transform_edt(ribs)
    places = np.argwhere(inside & (depth >= 2))
    if len(places) == 0:
        return np.zeros_like(ribs)
    direction = _directions(ribs)
    seeds = places[rng.choice(len(places), size=min(_SEEDS, len(places)), replace=False)]
    walks = [_walk(seed.astype(float), direction, depth, inside, int(length_px // 2)) for seed in seeds]
    longest = max(walks, key=len)
    return _around(longest, depth, margin_px)


def paint_over(
    image: Float[np.ndarray, "H W"], region: Bool[np.ndarray, "H W"]
) -> Float64[np.ndarray, "H W"]:
    """The image with a region filled by the smoothest surface that meets its rim (Laplace's equation)."""
    filled = np.array(image, dtype=np.float64)
    count = int(region.sum())
    if count == 0:
        return filled
    number = np.full(np.pad(region, 1).shape, -1)
    number[1:-1, 1:-1][region] = np.arange(count)
    values = np.pad(filled, 1, mode="edge")
    # beyond the border there is no rim: such a neighbour is left out
    inside = np.pad(np.ones_like(region), 1)
    rows, columns = np.nonzero(np.pad(region, 1))
    degree, known = np.zeros(count), np.zeros(count)
    links: list[tuple[np.ndarray, np.ndarray]] = []
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        at = (rows + down, columns + right)
        neighbour, exists = number[at], inside[at]
        degree += exists
        known += np.where(exists & (neighbour < 0), values[at], 0)
        links.append((np.flatnonzero(neighbour >= 0), neighbour[neighbour >= 0]))
    first, second = (np.concatenate(ends) for ends in zip(*links, strict=True))
    matrix = sparse.diags(degree) - sparse.coo_matrix((np.ones(len(first)), (first, second)), (count, count))
    filled[region] = spsolve(matrix.tocsc(), known)
    return filled


def _directions(mask: np.ndarray) -> Float64[np.ndarray, "2 H W"]:
    """Unit vector (row, column) along the mask at each pixel: across it, the mask changes most."""
    down, right = np.gradient(ndimage.gaussian_filter(mask.astype(float), 1.0))
    rows, mixed, columns = (
        ndimage.gaussian_filter(product, _ORIENTATION_PX)
        for product in (down * down, down * right, right * right)
    )
    across = 0.5 * np.arctan2(2 * mixed, rows - columns)
    return np.stack([-np.sin(across), np.cos(across)])


def _walk(
    seed: np.ndarray, direction: np.ndarray, depth: np.ndarray, allowed: np.ndarray, steps: int
) -> list[np.ndarray]:
    """Places in the middle of a rib, one pixel apart, from one end to the other."""
    halves = []
    for sign in (1.0, -1.0):
        place, heading, half = _recentre(seed, direction, depth), None, []
        for _ in range(steps):
            row, column = np.rint(place).astype(int)
            if not (0 <= row < allowed.shape[0] and 0 <= column < allowed.shape[1] and allowed[row, column]):
                break
            half.append(place)
            along = direction[:, row, column]
            heading = along * sign if heading is None else along * np.sign(along @ heading or 1.0)
            place = _recentre(place + heading, direction, depth)
        halves.append(half)
    return halves[0][::-1] + halves[1][1:]


def _recentre(place: np.ndarray, direction: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Half of the way to the deepest place on the line across the mask: a crossing rib must not lead away."""
    top = np.array(depth.shape) - 1
    row, column = np.clip(np.rint(place).astype(int), 0, top)
    across = np.array([direction[1, row, column], -direction[0, row, column]])
    candidates = place + np.arange(-_RECENTRE_PX, _RECENTRE_PX + 1)[:, None] * across
    at = np.clip(np.rint(candidates).astype(int), 0, top)
    best = candidates[int(np.argmax(depth[at[:, 0], at[:, 1]]))]
    return np.asarray((place + best) / 2)


def _around(walk: list[np.ndarray], depth: np.ndarray, margin_px: float) -> Bool[np.ndarray, "H W"]:
    """Pixels within half a rib's width and a margin of the walk."""
    middle = np.zeros(depth.shape, dtype=bool)
    if not walk:
        return middle
    places = np.rint(np.stack(walk)).astype(int)
    middle[places[:, 0], places[:, 1]] = True
    # where ribs cross, the mask is wider than the rib: the middle value is the rib's own
    half_width = float(np.median(depth[middle])) + margin_px
    return np.asarray(ndimage.distance_transform_edt(~middle) <= half_width)
