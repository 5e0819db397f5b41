"""Coarser scales of images and of what counts in them."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


def halve(image: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 h w"]:
    """Means of 2 x 2 pixels; an odd last row or column is dropped."""
    return nn.functional.avg_pool2d(image, 2)


def halve_weight(weight: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 h w"]:
    """Means of 2 x 2 weights, and 0 where one of the four is 0, so that an invalid pixel reaches nothing."""
    whole = -nn.functional.max_pool2d(-(weight > 0).to(weight.dtype), 2)
    return nn.functional.avg_pool2d(weight, 2) * whole
