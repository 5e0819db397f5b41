"""Structural similarity at several scales (Wang, Simoncelli, Bovik, "Multiscale structural similarity for
image quality assessment", Asilomar 2003) over valid pixels; maps are MONAI's, weighted means ours.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from medi2i.similarity.applicability import require_size, where_counted
from medi2i.similarity.pyramid import halve, halve_weight
from medi2i.similarity.ssim import SIGMA, WINDOW
from medi2i.similarity.weighting import at_least_float32, erode_weight, masked_mean_per_image

# Section 3.2 of the paper; fewer scales take the first ones, scaled to the sum 1.
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# The root of a contrast at or below 0 has no finite derivative.
_SMALLEST_FACTOR = 1e-4


def scales_that_fit(rows: int, columns: int) -> int:
    """How many of the five scales have room for a window in an image; 1 at least."""
    fitting = [scale for scale in range(1, 6) if min(rows, columns) >= WINDOW * 2 ** (scale - 1)]
    return max(fitting, default=1)


def multiscale_ssim(
    x: Float[Tensor, "B 1 H W"],
    y: Float[Tensor, "B 1 H W"],
    data_range: float,
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    scales: int = 5,
    undefined: float = 0.0,
) -> Float[Tensor, " B"]:
    """Product over scales of mean contrast-structure, times luminance at the coarsest (eq. 7), in [0, 1].

    Halving averages 2 x 2 pixels. Window, K1 and K2 are those of `ssim`. A coarse pixel has weight 0 when one
    of its four has, so that an invalid pixel reaches nothing at any scale. As in MONAI, a factor below 0
    counts as (almost) 0, and has no gradient then: it does not lead back from an inversion. Float32 inside,
    under autocast too (float64 becomes float32).

    Args:
        x, y: images of values >= 0: map [-1, 1] to [0, 1] first.
        data_range: largest possible value minus smallest.
        weight: >= 0, e.g. valid mask times structure weight.
        scales: 1 to 5; 1 is SSIM.
        undefined: result where a scale has no window that counts.

    Raises:
        UsageError: the coarsest images are smaller than the window, 11 px.
    """
    require_size(x, WINDOW * 2 ** (scales - 1), f"MS-SSIM of {scales} scales")
    # importing MONAI takes seconds, and nothing else here needs it
    from monai.metrics.regression import compute_ssim_and_cs

    x, y = at_least_float32(x), at_least_float32(y)
    exponents = [value / sum(SCALE_WEIGHTS[:scales]) for value in SCALE_WEIGHTS[:scales]]
    product = torch.ones(x.shape[0], dtype=torch.float32, device=x.device)
    counted = weight
    for scale, exponent in enumerate(exponents):
        if scale:
            x, y = halve(x), halve(y)
            weight = None if weight is None else halve_weight(weight)
        # autocast would build the window and convolve in half precision
        with torch.autocast(x.device.type, enabled=False):
            whole, contrast = compute_ssim_and_cs(
                x, y, 2, (WINDOW, WINDOW), (SIGMA, SIGMA), data_range=data_range
            )
        rim = WINDOW // 2
        counted = None if weight is None else erode_weight(weight, rim)[..., rim:-rim, rim:-rim]
        factor = masked_mean_per_image(whole if scale == scales - 1 else contrast, counted)
        product = product * factor.clamp(min=_SMALLEST_FACTOR) ** exponent
    return where_counted(product, counted, undefined)
