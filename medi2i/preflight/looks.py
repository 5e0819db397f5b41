"""What an image looks like, free of exposure, tone and matrix: thumbnails and fingerprints."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy import ndimage

from medi2i.framing.appearance import equalize
from medi2i.io.field import fill_outside

SIDE_PX = 32  # of thumbnails
_WORKING_SIDE = 192  # px: every n-th pixel of larger images is looked at
_FINGERPRINT_SCALES = (0.8, 3.0)  # px of the thumbnail: what is between the two Gaussians


def make_thumbnail(
    pixels: Float[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"]
) -> Float64[np.ndarray, "32 32"]:
    """The exposed field as 32 x 32 ranks in [0, 1]: the same for any exposure, monotone tone and matrix.

    What lies outside the field takes the value of the nearest pixel inside. An image without a valid pixel,
    or a constant one, gives 0.5 everywhere.
    """
    if not valid.any():
        return np.full((SIDE_PX, SIDE_PX), 0.5)
    rows, columns = (np.flatnonzero(valid.any(axis=axis)) for axis in (1, 0))
    step = max(1, min(pixels.shape) // _WORKING_SIDE)
    box = np.s_[rows[0] : rows[-1] + 1 : step, columns[0] : columns[-1] + 1 : step]
    small = _resample(fill_outside(pixels[box], valid[box]).astype(np.float64))
    return equalize(small, np.ones(small.shape, dtype=bool))


def make_fingerprint(thumbnail: Float64[np.ndarray, "32 32"]) -> Float64[np.ndarray, " 1024"]:
    """The middle frequencies of a thumbnail, of mean 0 and length 1; zeros for a constant one.

    All chests are alike in their low frequencies, so what tells one from the next is left.
    """
    fine, coarse = (ndimage.gaussian_filter(thumbnail, sigma) for sigma in _FINGERPRINT_SCALES)
    band = (fine - coarse).ravel()
    band = band - band.mean()
    length = float(np.linalg.norm(band))
    return band / length if length > 1e-9 else np.zeros(band.size)


def _resample(image: Float64[np.ndarray, "H W"]) -> Float64[np.ndarray, "32 32"]:
    """Means over 32 x 32 equal blocks, by linear interpolation where an image has fewer pixels."""
    factors = [max(1, length // SIDE_PX) for length in image.shape]
    smooth = ndimage.uniform_filter(image, size=factors, mode="nearest")
    grid = [(np.arange(SIDE_PX) + 0.5) * length / SIDE_PX - 0.5 for length in image.shape]
    places = np.meshgrid(*grid, indexing="ij")
    small: Float64[np.ndarray, "32 32"] = ndimage.map_coordinates(smooth, places, order=1, mode="nearest")
    return small
