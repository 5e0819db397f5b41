"""Soft overlap of probabilities and masks (Milletari et al., "V-Net", 3DV 2016)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medi2i.similarity.weighting import at_least_float32

# Pixels: an area below it is no structure to overlap with.
SMALLEST_AREA = 1e-5


def soft_dice(
    probability: Float[Tensor, "B K H W"],
    mask: Float[Tensor, "B K H W"] | Bool[Tensor, "B K H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
) -> tuple[Float[Tensor, "B K"], Bool[Tensor, "B K"]]:
    """2 sum(p m) / (sum(p) + sum(m)) of each image and structure, in [0, 1], and whether the mask has pixels.

    Without squares in the denominator (MONAI's default, too). Where the mask is empty the overlap is 0 and
    says nothing: leave those out.

    Args:
        probability: in [0, 1].
        mask: in [0, 1] or bool.
        weight: >= 0, e.g. valid mask times structure weight.
    """
    probability = at_least_float32(probability)
    mask = mask.to(probability.dtype)
    if weight is not None:
        # where, not only a product: a NaN in an excluded pixel must not spread
        probability = torch.where(weight > 0, probability * weight, torch.zeros_like(probability))
        shared = (probability * mask).flatten(2).sum(dim=2)
        mask = mask * weight
    else:
        shared = (probability * mask).flatten(2).sum(dim=2)
    area = mask.flatten(2).sum(dim=2)
    total = probability.flatten(2).sum(dim=2) + area
    return 2 * shared / total.clamp(min=SMALLEST_AREA), area > SMALLEST_AREA
