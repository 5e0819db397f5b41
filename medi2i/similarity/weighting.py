"""Means over the pixels that count: weights are >= 0, and a pixel of weight 0 counts in nothing."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


def at_least_float32(values: Tensor) -> Tensor:
    """float16 and bfloat16 become float32 (autocast hands them over); float32 and float64 stay."""
    return values if values.dtype == torch.float64 else values.float()


def masked_mean(
    values: Float[Tensor, " *shape"], weight: Float[Tensor, " *weights"] | None = None
) -> Float[Tensor, ""]:
    """Weighted mean over all elements, sum(values * weight) / sum(weight); 0 where all weights are 0.

    Args:
        values: any shape.
        weight: >= 0, broadcastable to `values`; None is the plain mean.
    """
    values = at_least_float32(values)
    if weight is None:
        return values.mean()
    return _weighted_mean(values.reshape(1, -1), weight.expand_as(values).reshape(1, -1))[0]


def masked_mean_per_image(
    values: Float[Tensor, "B C H W"], weight: Float[Tensor, "B _ H W"] | None = None
) -> Float[Tensor, " B"]:
    """`masked_mean` of each image of a batch."""
    values = at_least_float32(values)
    if weight is None:
        return values.flatten(1).mean(dim=1)
    return _weighted_mean(values.flatten(1), weight.expand_as(values).flatten(1))


def erode_weight(weight: Float[Tensor, "B 1 H W"], reach_px: int) -> Float[Tensor, "B 1 H W"]:
    """Weight 0 wherever a pixel of weight 0 lies within `reach_px` rows and columns.

    For quantities computed from a neighbourhood: what an invalid pixel touches is invalid too. Pixels outside
    the image do not count as invalid.
    """
    excluded = (weight <= 0).to(weight.dtype)
    touched = nn.functional.max_pool2d(excluded, 2 * reach_px + 1, stride=1, padding=reach_px)
    return weight * (1 - touched)


def _weighted_mean(values: Float[Tensor, "B N"], weight: Float[Tensor, "B N"]) -> Float[Tensor, " B"]:
    weight = weight.to(values.dtype)
    # where, not only a product: an infinite or NaN value in an excluded pixel must not spread
    kept = torch.where(weight > 0, values, torch.zeros_like(values))
    total = weight.sum(dim=1)
    return (kept * weight).sum(dim=1) / torch.where(total > 0, total, torch.ones_like(total))
