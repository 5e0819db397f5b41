"""How well an image agrees with what is typical of a domain, whichever way it is framed."""

from __future__ import annotations

from itertools import product

import numpy as np
from jaxtyping import Float64
from scipy import ndimage

from medi2i.preflight.looks import SIDE_PX

Thumbnail = Float64[np.ndarray, "32 32"]
_ZOOMS = (0.75, 0.87, 1.0, 1.15, 1.33)  # of rows and of columns
_SHIFTS = (-4.0, 0.0, 4.0)  # px of the thumbnail
_WIDEST = 1.4  # ratio of the two zooms
_MIDDLE = (0.7, 6.0)  # px of the thumbnail: what is between the two Gaussians


def find_typical(thumbnails: Float64[np.ndarray, "N 32 32"]) -> Thumbnail:
    """The median thumbnail; right as long as more than half of the images are of one kind."""
    return np.asarray(np.median(thumbnails, axis=0))


def agree(
    thumbnails: Float64[np.ndarray, "N 32 32"], typical: Thumbnail
) -> tuple[Float64[np.ndarray, " N"], Float64[np.ndarray, " N"]]:
    """Highest and lowest correlation of each thumbnail with the typical one under zooms and shifts.

    An image of the same kind reaches a high value in one of the framings. One that is inverted reaches none,
    and a low one.

    Returns:
        (N) highest, and (N) lowest correlation; 0 for constant thumbnails.
    """
    framings = _normalize(np.stack([_frame(typical, *framing) for framing in _framings()]))
    scores = _normalize(thumbnails) @ framings.T
    return scores.max(axis=1), scores.min(axis=1)


def keep_middle(thumbnails: Float64[np.ndarray, "N 32 32"]) -> Float64[np.ndarray, "N 32 32"]:
    """Thumbnails without their coarsest parts: lungs and heart stay, the body against the air goes.

    The outline of a body is much alike in all views; what is inside it is not.
    """
    fine, coarse = (
        ndimage.gaussian_filter(thumbnails, (0, sigma, sigma), mode="nearest") for sigma in _MIDDLE
    )
    return np.asarray(fine - coarse)


def _framings() -> list[tuple[float, float, float, float]]:
    zooms = [(a, b) for a, b in product(_ZOOMS, _ZOOMS) if max(a, b) / min(a, b) <= _WIDEST]
    return [(*zoom, *shift) for zoom in zooms for shift in product(_SHIFTS, _SHIFTS)]


def _frame(typical: Thumbnail, row_zoom: float, column_zoom: float, down: float, right: float) -> Thumbnail:
    middle = np.full(2, (SIDE_PX - 1) / 2)
    matrix = np.array([1 / row_zoom, 1 / column_zoom])
    offset = middle - matrix * (middle + np.array([down, right]))
    framed: Thumbnail = ndimage.affine_transform(typical, matrix, offset, order=1, mode="nearest")
    return framed


def _normalize(thumbnails: Float64[np.ndarray, "N 32 32"]) -> Float64[np.ndarray, "N 1024"]:
    """Rows of mean 0 and length 1; zeros for constant ones."""
    flat = thumbnails.reshape(len(thumbnails), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(length > 1e-9, flat / np.maximum(length, 1e-9), 0.0)
