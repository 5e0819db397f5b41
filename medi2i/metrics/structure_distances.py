"""How far a translation's structure is from its source's: the similarities of the structure losses, measured.

One image pair each, in float64, on pixels where both are images; NaN where nothing could be compared. A
method trained with a loss is expected to look well by the same measure: judge it by another one.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from medi2i.metrics.tensors import to_batch
from medi2i.similarity import (
    attenuation,
    edges,
    lncc,
    mind,
    mutual_information,
    ngf,
    patch_nce,
    self_similarity,
)
from medi2i.similarity import multiscale_ssim as multiscale


def ngf_distance(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
    *,
    noise: float = 0.01,
) -> float:
    """Lost agreement of normalised gradient fields in [0, 1], whatever contrast or polarity."""
    x, y, weight = _batches(source, translated, valid)
    return float(ngf.ngf_distance(x, y, weight, noise=noise, undefined=math.nan))


def local_correlation(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
    *,
    window_px: int = 11,
) -> float:
    """Mean correlation in windows, in [-1, 1]; 1 for equal images, near -1 for inverted ones.

    Raises:
        UsageError: images smaller than the window.
    """
    x, y, weight = _batches(source, translated, valid)
    return float(lncc.local_correlation(x, y, weight, window_px=window_px, undefined=math.nan))


def mind_distance(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
) -> float:
    """Mean difference of MIND descriptors in [0, 1], whatever contrast or polarity; 0 when nothing counts."""
    return float(mind.mind_distance(*_batches(source, translated, valid)))


def lost_information(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
    *,
    bins: int = 32,
) -> float:
    """Share of both images' gray-level information that they do not share; 0 when equal, 1 at most."""
    x, y, weight = _batches(source, translated, valid)
    return float(mutual_information.lost_information(x, y, weight, bins=bins, undefined=math.nan))


def self_similarity_distance(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
    *,
    scales: int = 3,
) -> float:
    """Difference of spatially-correlative maps in [0, 2], whatever the polarity or a slow change of gain.

    Raises:
        UsageError: the coarsest scale has room for no place.
    """
    x, y, weight = _batches(source, translated, valid)
    return float(self_similarity.self_similarity_distance(x, y, weight, scales=scales, undefined=math.nan))


def patch_nce_distance(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
    *,
    temperature: float = 0.07,
) -> float:
    """Nats by which patches find their place worse than in the source itself, whatever the polarity; >= 0.

    Raises:
        UsageError: images without room for two places.
    """
    x, y, weight = _batches(source, translated, valid)
    return float(patch_nce.patch_nce_distance(x, y, weight, temperature=temperature, undefined=math.nan))


def edge_distance(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
) -> float:
    """Mean difference of soft edge maps in [0, 1], whatever the polarity or one gain for the image."""
    x, y, weight = _batches(source, translated, valid)
    return float(edges.edge_distance(x, y, weight, undefined=math.nan))


def attenuation_distance(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
    *,
    blur_px: int = 13,
) -> float:
    """Mean difference of coarse brightness, in units of [-1, 1], that no rising tone curve explains."""
    x, y, weight = _batches(source, translated, valid)
    return float(attenuation.attenuation_distance(x, y, weight, window_px=blur_px, undefined=math.nan))


def multiscale_ssim(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
    *,
    scales: int = 3,
) -> float:
    """MS-SSIM in [0, 1] of images in [-1, 1], compared in [0, 1] with data range 1; float32 inside.

    Raises:
        UsageError: the coarsest scale is smaller than SSIM's window.
    """
    x, y, weight = _batches(source, translated, valid)
    x, y = (x + 1) / 2, (y + 1) / 2
    return float(multiscale.multiscale_ssim(x, y, 1.0, weight, scales=scales, undefined=math.nan))


def _batches(
    source: np.ndarray, translated: np.ndarray, valid: np.ndarray | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    return to_batch(source), to_batch(translated), None if valid is None else to_batch(valid)
