"""Where an image shows anything at all: inside the exposed field, not collimation, padding or black edges."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

_TOLERANCE = 0.002  # of the robust range: JPEG and noise in an edge that is constant to the eye
_SMALLEST_REGION = 0.005  # of the image
_FEWEST_PIXELS = 16  # so that in tiny images a single dark pixel is no edge
_SHARPNESS = 0.1  # of the robust range: what separates a white frame from a dense abdomen
_STRAIGHTNESS = 0.005  # of the image's side: how far half of an edge's points may be from its line


def find_exposed_field(pixels: np.ndarray) -> Bool[np.ndarray, "H W"]:
    """Mark the pixels that can show anatomy.

    A region is outside the field when it touches the border, holds only the smallest or only the largest
    value (within 0.2 % of the robust range), and makes up at least 0.5 % of the image and 16 pixels.
    Bright regions must also end as frames and collimators do, in a step of a tenth of the range or along a
    straight line from border to border: a dense abdomen saturates smoothly and roundly, and stays. Dark
    areas inside the body never touch the border, and stay.

    Args:
        pixels: (H, W) decoded values, bone bright.

    Returns:
        (H, W) True inside the field; all True for a constant image, or if nothing would be left.
    """
    values = np.asarray(pixels, dtype=np.float32)
    low, high = np.percentile(values, [0.5, 99.5])
    smallest, largest = float(values.min()), float(values.max())
    everything = np.ones(values.shape, dtype=bool)
    if smallest == largest:
        return everything
    width = float(high - low) or largest - smallest
    dark = _border_regions(values <= smallest + _TOLERANCE * width)
    bright = _border_regions(values >= largest - _TOLERANCE * width)
    outside = np.logical_or.reduce(dark) if dark else ~everything
    for region in bright:
        if _is_straight(region) or _step_at_edge(values, region, largest) >= _SHARPNESS * width:
            outside |= region
    return everything if outside.all() else ~outside


def _border_regions(candidate: np.ndarray) -> list[np.ndarray]:
    """Connected regions of `candidate` that touch the border and are large enough."""
    from scipy import ndimage

    border = (candidate[0], candidate[-1], candidate[:, 0], candidate[:, -1])
    if not any(side.any() for side in border):
        return []
    labels, _ = ndimage.label(candidate)
    touching = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    sizes = np.bincount(labels.ravel())
    least = max(_FEWEST_PIXELS, _SMALLEST_REGION * candidate.size)
    return [labels == label for label in touching if label and sizes[label] >= least]


def _step_at_edge(values: np.ndarray, region: np.ndarray, level: float) -> float:
    """Median difference between a region's level and the pixels just beyond its edge.

    Beyond means half a per cent of the image away, so that a blurred edge still counts as one.
    """
    from scipy import ndimage

    distance = max(2, round(0.005 * min(values.shape)))
    near = ndimage.binary_dilation(region, iterations=distance)
    ring = ndimage.binary_dilation(near, iterations=2) & ~near
    return float(np.median(np.abs(values[ring] - level))) if ring.any() else 0.0


def _is_straight(region: np.ndarray) -> bool:
    """Whether a region lies along a whole side of the image and its inner edge is a straight line."""
    for side in (region, region[:, ::-1], region.T, region.T[:, ::-1]):
        touching = side[:, 0]
        if touching.mean() < 0.95:
            continue
        depth = np.where(side.all(axis=1), side.shape[1], np.argmin(side, axis=1))[touching]
        position = np.flatnonzero(touching)
        line = np.polynomial.Polynomial.fit(position, depth, 1)(position)
        if np.median(np.abs(depth - line)) <= max(1.0, _STRAIGHTNESS * side.shape[1]):
            return True
    return False


def fill_outside(pixels: np.ndarray, valid: Bool[np.ndarray, "H W"]) -> np.ndarray:
    """The image with every invalid pixel taking the value of the nearest valid one.

    What a network is given has then no edge where the image ends, so it can neither learn field edges nor
    draw ringing along them. An image without a valid pixel is returned as it is.
    """
    if valid.all() or not valid.any():
        return pixels
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    filled: np.ndarray = pixels[tuple(nearest)]
    return filled
