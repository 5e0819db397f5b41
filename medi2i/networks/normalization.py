"""Layer norm over a whole feature map, as MUNIT's decoder has it (Huang et al., ECCV 2018)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

_EPSILON = 1e-5


class MapLayerNorm(nn.Module):
    """(x - mean) / (std + 1e-5) over channels, rows, columns of each image; then gain and offset a channel.

    The standard deviation is the unbiased one, and the small number is added to it, not to the variance: the
    authors' code, and not `torch.nn.GroupNorm(1, channels)`. Gains start uniform in [0, 1], offsets at 0;
    `draw` makes the gains depend on a generator alone. Unlike instance norm it keeps the ratios between
    channels, in which adaptive instance norm has written the style.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.offset = nn.Parameter(torch.zeros(channels))

    def draw(self, generator: torch.Generator) -> None:
        """Gains from U(0, 1)."""
        with torch.no_grad():
            self.gain.copy_(torch.rand(self.gain.shape, generator=generator))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        values = full_precision(x)  # a bfloat16 sum over a whole map loses digits
        mean = values.mean(dim=(1, 2, 3), keepdim=True)
        std = values.std(dim=(1, 2, 3), keepdim=True)
        normalized = (values - mean) / (std + _EPSILON)
        return (normalized * self.gain.view(1, -1, 1, 1) + self.offset.view(1, -1, 1, 1)).to(x.dtype)


def full_precision(x: Tensor) -> Tensor:
    """float16 and bfloat16, which autocast hands over, as float32; float32 and float64 as they are."""
    return x if x.dtype == torch.float64 else x.float()
