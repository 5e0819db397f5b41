"""Mutual information of two images' gray levels (Wells et al., "Multi-modal volume registration by
maximization of mutual information", Medical Image Analysis 1, 1996); the soft histogram is MONAI's.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from medi2i.similarity.applicability import where_counted
from medi2i.similarity.weighting import at_least_float32

# Keeps log(0) away; of a joint histogram that sums to 1.
_SMALLEST_PROBABILITY = 1e-12
# Nats: below it, an image shows nothing, and the rest is rounding.
_SMALLEST_INFORMATION = 1e-5


def mutual_information(
    x: Float[Tensor, "B 1 H W"],
    y: Float[Tensor, "B 1 H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    bins: int = 32,
    undefined: float = 0.0,
) -> Float[Tensor, " B"]:
    """Mutual information of each image pair in nats, in [0, log(bins)]; 0 when one image is constant.

    Soft histograms of MONAI's `GlobalMutualInformationLoss` (Gaussian windows of half a bin, `bins` centres
    from -1 to 1), with weights, which MONAI's loss does not have. Computed in float32 (float64 stays) under
    autocast too, without a copy to the host.

    Args:
        x, y: images in [-1, 1]; values beyond count as the ends.
        weight: >= 0: how much a pixel counts in the histograms.
        bins: how many; the memory is 4 * bins bytes a pixel and image.
        undefined: result where no pixel counts.
    """
    levels_x, levels_y = _soft_levels(x, bins), _soft_levels(y, bins)
    return where_counted(_information(levels_x, levels_y, weight), weight, undefined)


def lost_information(
    x: Float[Tensor, "B 1 H W"],
    y: Float[Tensor, "B 1 H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    bins: int = 32,
    undefined: float = 0.0,
) -> Float[Tensor, " B"]:
    """1 - 2 MI(x, y) / (MI(x, x) + MI(y, y)); 0 for y = x, 1 for independent or constant y.

    The symmetric uncertainty of Press et al., "Numerical recipes", section 14.4, with what the soft histogram
    says of each image and itself in place of the entropies, so that 0 is reached. Plain -MI could be lowered
    without end by more contrast; this can't. One-to-one changes of tone, inversion too, cost what falls
    together in a bin. 0 for two constant images.

    Args:
        x, y, weight, bins, undefined: as in `mutual_information`.
    """
    levels_x, levels_y = _soft_levels(x, bins), _soft_levels(y, bins)
    own = _information(levels_x, levels_x, weight) + _information(levels_y, levels_y, weight)
    kept = 2 * _information(levels_x, levels_y, weight)
    informative = own > _SMALLEST_INFORMATION
    share = kept / torch.where(informative, own, torch.ones_like(own))
    lost = torch.where(informative, 1 - share, torch.zeros_like(share))
    return where_counted(lost, weight, undefined)


def _soft_levels(image: Float[Tensor, "B 1 H W"], bins: int) -> Float[Tensor, "B N K"]:
    """How much of each pixel falls into each bin; a pixel's shares sum to 1."""
    # importing MONAI takes seconds, and nothing else here needs it
    from monai.losses import GlobalMutualInformationLoss

    windows = GlobalMutualInformationLoss(kernel_type="gaussian", num_bins=bins)
    shares, _ = windows.parzen_windowing_gaussian((at_least_float32(image) + 1) / 2)
    return shares


def _information(
    first: Float[Tensor, "B N K"], second: Float[Tensor, "B N K"], weight: Float[Tensor, "B 1 H W"] | None
) -> Float[Tensor, " B"]:
    if weight is None:
        weighted = first / first.shape[1]
    else:
        counted = weight.to(first.dtype).flatten(1)
        total = counted.sum(dim=1, keepdim=True)
        counted = counted / torch.where(total > 0, total, torch.ones_like(total))
        # where, not only a product: a NaN in an excluded pixel must not spread
        first = torch.where(counted[..., None] > 0, first, torch.zeros_like(first))
        second = torch.where(counted[..., None] > 0, second, torch.zeros_like(second))
        weighted = first * counted[..., None]
    # autocast would multiply in half precision
    with torch.autocast(first.device.type, enabled=False):
        joint = weighted.transpose(1, 2) @ second
    product = joint.sum(dim=2, keepdim=True) * joint.sum(dim=1, keepdim=True)
    tiny = _SMALLEST_PROBABILITY
    return (joint * ((joint + tiny).log() - (product + tiny).log())).flatten(1).sum(dim=1)
