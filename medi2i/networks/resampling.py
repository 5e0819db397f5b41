"""Halving and doubling with a fixed blur (Zhang, "Making convolutional networks shift-invariant again",
ICML 2019), as CUT's generator has them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class BlurDown(nn.Module):
    """Half the rows and columns: every second pixel of a [1, 2, 1] / 4 blur, the border reflected."""

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        channels = x.shape[1]
        tap = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
        kernel = (tap[:, None] * tap).expand(channels, 1, 3, 3)
        padded = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
        return nn.functional.conv2d(padded, kernel, stride=2, groups=channels)


class BlurUp(nn.Module):
    """Twice the rows and columns: spread pixels under [1, 3, 3, 1] / 4, which is bilinear enlarging."""

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        return nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
