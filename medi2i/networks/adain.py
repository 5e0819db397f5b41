"""Adaptive instance norm: a style's mean and spread for every channel (Huang and Belongie, ICCV 2017)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def adaptive_instance_norm(
    x: Float[Tensor, "B C H W"], shift: Float[Tensor, "B C"], scale: Float[Tensor, "B C"]
) -> Float[Tensor, "B C H W"]:
    """scale * (x - mean) / sqrt(variance + 1e-5) + shift, with each image's and channel's mean and variance.

    The variance is the biased one. MUNIT's form (Huang et al., ECCV 2018): `scale` is used raw, not as
    1 + scale.
    """
    normalized = F.instance_norm(x)
    return normalized * scale[:, :, None, None] + shift[:, :, None, None]
