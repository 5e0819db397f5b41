"""Structural similarity over valid pixels (Wang et al., "Image quality assessment: from error visibility to
structural similarity", IEEE TIP 2004); the map is MONAI's, the weighted mean is ours.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from medi2i.errors import UsageError
from medi2i.similarity.weighting import at_least_float32, erode_weight, masked_mean_per_image

WINDOW = 11
SIGMA = 1.5


def ssim(
    x: Float[Tensor, "B 1 H W"],
    y: Float[Tensor, "B 1 H W"],
    data_range: float,
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    undefined: float = 0.0,
) -> Float[Tensor, " B"]:
    """Mean SSIM of each image over the windows that lie wholly in the image and on pixels of weight > 0.

    Gaussian window of 11 px with sigma 1.5 px, K1 .01, K2 .03; a window counts with its centre's weight.
    Float32 inside, under autocast too (float64 becomes float32).

    Args:
        x, y: images of values >= 0: SSIM's luminance term has no meaning for negative values, so map
            [-1, 1] to [0, 1] first.
        data_range: largest possible value minus smallest.
        weight: >= 0, e.g. valid mask times structure weight.
        undefined: result where no window counts: 0 suits a loss, NaN a metric.

    Raises:
        UsageError: the images are smaller than the window.
    """
    if min(x.shape[-2:]) < WINDOW:
        raise UsageError(
            "SSIM",
            found=f"images of {x.shape[-2]} x {x.shape[-1]} pixels",
            expected=f"at least {WINDOW} x {WINDOW}, the size of its window",
            remedy="use larger images, or the plain L1 distance",
        )
    # importing MONAI takes seconds, and nothing else here needs it
    from monai.metrics.regression import compute_ssim_and_cs

    # autocast would build the window and convolve in half precision
    with torch.autocast(x.device.type, enabled=False):
        similarity, _ = compute_ssim_and_cs(
            at_least_float32(x),
            at_least_float32(y),
            spatial_dims=2,
            kernel_size=(WINDOW, WINDOW),
            kernel_sigma=(SIGMA, SIGMA),
            data_range=data_range,
        )
    if weight is None:
        return masked_mean_per_image(similarity)
    rim = WINDOW // 2
    counted = erode_weight(weight, rim)[..., rim:-rim, rim:-rim]
    mean = masked_mean_per_image(similarity, counted)
    return torch.where(counted.flatten(1).sum(dim=1) > 0, mean, torch.full_like(mean, undefined))
