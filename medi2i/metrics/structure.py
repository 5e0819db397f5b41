"""Whether a translation kept the structure of its source, and whether it is an image at all."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from medi2i.metrics import paired
from medi2i.metrics.tensors import to_batch
from medi2i.similarity import gradient_correlation as similarity

# Range, in units of [-1, 1], within which EMPTY_SHARE of the pixels of an image that shows nothing lie.
CONSTANT_RANGE = 0.02
# An image is empty when this share of its valid pixels lies within END_WIDTH of -1, or of 1.
EMPTY_SHARE = 0.98
END_WIDTH = 0.04
# A change of tone keeps both correlations above 0; an inverted image has both near -1.
INVERTED_RANK_CORRELATION = -0.5
INVERTED_GRADIENT_CORRELATION = -0.3
_RANKED_PIXELS = 250_000


def gradient_correlation(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
) -> float:
    """Gradient correlation in [-1, 1] (`medi2i.similarity.gradient_correlation`).

    NaN when neither image has a gradient; 0 when only one has, e.g. a translation that was wiped out.
    """
    weight = None if valid is None else to_batch(valid)
    value = similarity.gradient_correlation(
        to_batch(source), to_batch(translated), weight, undefined=math.nan
    )
    return float(value[0])


def ssim(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
) -> float:
    """Structural similarity of an image and its translation; falls with every change of tone, too.

    For images in [-1, 1]; see `medi2i.metrics.paired.ssim`.

    Raises:
        UsageError: images smaller than SSIM's window.
    """
    return paired.ssim(translated, source, valid)


def sanity_flags(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
) -> list[str]:
    """What is wrong with a translation at first sight; empty for a usable image or without a valid pixel.

    - `nonfinite`: NaN or infinite values (nothing else is then judged);
    - `constant`: 98 % of the pixels within 1 % of [-1, 1], so that a marker on nothing is nothing;
    - `empty`: 98 % of the pixels at one end of the range;
    - `inverted`: rank correlation with the source below -0.5, or gradient correlation below -0.3.

    Args:
        source, translated: images in [-1, 1] on the same pixel grid.
        valid: where both are images; None: everywhere.
    """
    counted = np.ones(translated.shape, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    values = np.asarray(translated, dtype=np.float64)[counted]
    if values.size == 0:
        return []
    if not np.isfinite(values).all():
        return ["nonfinite"]
    flags = []
    if _shortest_range(values, EMPTY_SHARE) < CONSTANT_RANGE:
        flags.append("constant")
    if max(np.mean(values <= -1 + END_WIDTH), np.mean(values >= 1 - END_WIDTH)) >= EMPTY_SHARE:
        flags.append("empty")
    if not flags and _is_inverted(source, translated, counted):
        flags.append("inverted")
    return flags


def _shortest_range(values: Float[np.ndarray, " N"], share: float) -> float:
    """Width of the narrowest interval that holds a share of the values."""
    count = math.ceil(share * values.size)
    ascending = np.sort(values)
    return float((ascending[count - 1 :] - ascending[: values.size - count + 1]).min())


def _is_inverted(source: np.ndarray, translated: np.ndarray, valid: np.ndarray) -> bool:
    ranks = _rank_correlation(np.asarray(source)[valid], np.asarray(translated)[valid])
    gradients = gradient_correlation(source, translated, valid)
    # comparisons with NaN (a constant source) are false: nothing to invert
    return bool(ranks < INVERTED_RANK_CORRELATION or gradients < INVERTED_GRADIENT_CORRELATION)


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's correlation on a regular subset of at most 250,000 pixels; NaN when one side is constant."""
    step = math.ceil(x.size / _RANKED_PIXELS)
    first, second = rankdata(x[::step]), rankdata(y[::step])
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])
