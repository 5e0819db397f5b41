"""Agreement with the true image of the target domain, where a pixel-aligned one exists (phantom, cadaver)."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from medi2i.metrics.tensors import to_batch
from medi2i.similarity import ssim as similarity


def mean_absolute_error(
    translated: Float[np.ndarray, "H W"],
    truth: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
) -> float:
    """Mean |translated - truth| over valid pixels, in the images' unit; NaN without a valid pixel."""
    difference = np.abs(np.asarray(translated, dtype=np.float64) - truth)
    counted = difference if valid is None else difference[valid]
    return float(counted.mean()) if counted.size else math.nan


def ssim(
    translated: Float[np.ndarray, "H W"],
    truth: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
) -> float:
    """Structural similarity of two images in [-1, 1], compared in [0, 1] with data range 1.

    Windows of 11 x 11 pixels that touch an invalid pixel do not count; NaN when none is left. The value
    depends on how intensities were normalised (Dohmen et al. 2024), so compare only within one table.

    Raises:
        UsageError: images smaller than the window.
    """
    weight = None if valid is None else to_batch(valid)
    first, second = (to_batch(image).add(1).div(2) for image in (translated, truth))
    return float(similarity.ssim(first, second, 1.0, weight, undefined=math.nan)[0])
