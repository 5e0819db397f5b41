"""What film and DRR have in common once exposure, tone and writing on the film are taken away."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage

Image = Float64[np.ndarray, "H W"]
Valid = Bool[np.ndarray, "H W"]

_SATURATED = 0.01  # of the range below the largest value: burned-in characters and metal
_CHARACTER = 0.05  # of the longer side: what is narrower may be a stroke of a character
_STEP = 0.25  # of the range: how far writing stands out
_LARGEST_WRITING = 0.01  # of the image: one connected character or marker block
_FLATTEST = 0.3  # of the median local contrast: noise is not raised above this
_LARGEST_CONTRAST = 2.5  # local standard deviations, so that an edge of the field doesn't outweigh the body
_WELL_COVERED = 0.95  # of a reduced pixel


def reduce_film(pixels: np.ndarray, valid: Valid, longest_side: int) -> tuple[Image, Valid]:
    """A film averaged down to `longest_side` pixels, its writing marked as invalid.

    Args:
        pixels: (H, W) bone bright, of any scale.
        valid: (H, W) where the film shows anything.
        longest_side: of the result; smaller films stay as they are.

    Returns:
        (h, w) means of the valid pixels, and where nearly all pixels of a mean are valid.
    """
    factor = max(1.0, max(pixels.shape) / longest_side)
    shape = (max(1, round(pixels.shape[0] / factor)), max(1, round(pixels.shape[1] / factor)))
    weight = valid.astype(np.float64)
    values = np.where(valid, pixels, 0).astype(np.float64)
    share = _block_sums(weight, shape) / _block_sums(np.ones(pixels.shape), shape)
    mean = _block_sums(values, shape) / np.maximum(_block_sums(weight, shape), 1e-12)
    kept = share > _WELL_COVERED
    return mean, kept & ~_find_writing(mean, kept)


def equalize(pixels: np.ndarray, valid: Valid) -> Image:
    """Share of the valid pixels that are darker: free of exposure and of any monotone tone curve."""
    ordered = np.sort(pixels[valid])
    # the middle of equal values: whichever way ties fall, inverting an image mirrors its ranks
    low, high = (np.searchsorted(ordered, pixels, side=side) for side in ("left", "right"))
    return (low + high) / (2.0 * max(ordered.size, 1))


def local_contrast(
    pixels: Image, valid: Valid, *, fine_px: tuple[float, float], coarse_px: tuple[float, float]
) -> Image:
    """Deviation from the surroundings in units of their spread, at structures between two sizes.

    (G_fine x - G_coarse G_fine x) / sqrt(G_coarse (...)^2), every blur normalised by the valid area under it
    (Knutsson and Westin, 1993, Normalized convolution), limited to +-2.5; 0 where invalid.

    Args:
        pixels: (H, W).
        valid: (H, W).
        fine_px, coarse_px: standard deviations (row, column) of the two Gaussians.
    """
    weight = valid.astype(np.float64)
    smooth = _blur(pixels, weight, fine_px)
    deviation = smooth - _blur(smooth, weight, coarse_px)
    spread = np.sqrt(np.maximum(_blur(deviation**2, weight, coarse_px), 0))
    typical = float(np.median(spread[valid])) if valid.any() else 0.0
    spread = np.maximum(spread, _FLATTEST * typical)
    # what is below rounding of the values themselves is no contrast
    rounding = 1e-9 * float(np.abs(smooth[valid]).max(initial=0.0))
    contrast = np.where(spread > rounding, deviation / np.maximum(spread, np.finfo(float).tiny), 0.0)
    return np.clip(contrast, -_LARGEST_CONTRAST, _LARGEST_CONTRAST) * weight


def _blur(values: Image, weight: Image, sigma: tuple[float, float]) -> Image:
    total = ndimage.gaussian_filter(weight, sigma, mode="constant")
    blurred: Image = ndimage.gaussian_filter(values * weight, sigma, mode="constant") / np.maximum(
        total, 1e-3
    )
    return blurred


def _block_sums(values: Image, shape: tuple[int, int]) -> Image:
    """Sums over equal blocks, whose edges may cut through pixels."""
    return _sums_along_rows(_sums_along_rows(values, shape[0]).T, shape[1]).T


def _sums_along_rows(values: Image, count: int) -> Image:
    edges = np.arange(count + 1) * (len(values) / count)
    whole = np.minimum(edges.astype(int), len(values) - 1)
    up_to = np.vstack([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    sums: Image = np.diff(up_to[whole] + (edges - whole)[:, None] * values[whole], axis=0)
    return sums


def _find_writing(pixels: Image, valid: Valid) -> Valid:
    """Small saturated regions, with a margin: characters, markers and small metal parts."""
    if not valid.any():
        return np.zeros_like(valid)
    low, high = float(pixels[valid].min()), float(pixels[valid].max())
    # saturated anatomy rises smoothly from its surroundings, and stays
    size = max(3, round(_CHARACTER * max(pixels.shape)))
    raised = pixels - ndimage.grey_opening(np.where(valid, pixels, low), size=(size, size))
    saturated = valid & (pixels >= high - _SATURATED * (high - low)) & (raised > _STEP * (high - low))
    labels, _ = ndimage.label(saturated)
    small = np.bincount(labels.ravel()) < _LARGEST_WRITING * pixels.size
    small[0] = False
    return ndimage.binary_dilation(small[labels], iterations=2)
