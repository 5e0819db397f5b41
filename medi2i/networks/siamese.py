"""The siamese network of OP-GAN (Xie et al., ECCV 2020): what two patches show, and in which look.

The paper gives the size of the codes (11 x 11 x 512 each from a patch of 85 px), the content branch (1 x 1
convolution to one map) and the domain branch (both domain codes to 3 classes). It does not print the layers:
those here are ours. A stride of 8 by kernels of 3 is what takes 85 px to 11.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medi2i.config import Config
from medi2i.networks.initialization import initialize_kaiming, initialize_normal

Norm = Literal["instance", "none"]
_SLOPE = 0.2
SMALLEST_PATCH_PX = 9  # three strides of 2 leave 2 x 2: instance norm needs more than one pixel


class SiameseConfig(Config):
    """Size of the siamese network; the defaults give the paper's codes.

    Attributes:
        width: channels of the first layer; both codes have 8 times as many.
        blocks: residual blocks behind the three strides.
        norm: of the encoder; instance norm takes brightness and contrast away, so that the domain branch has
            only texture to tell domains by; `none` leaves it tone too. The content code is normalised in
            either case.
        classifier_norm: of the domain branch, behind the domain codes; instance norm hides the codes' means
            from the pooling that follows.
    """

    width: int = Field(default=64, gt=0)
    blocks: int = Field(default=2, ge=0)
    norm: Norm = "instance"
    classifier_norm: Norm = "none"

    def build(self, *, seed: int) -> Siamese:
        """A network with weights drawn by `seed`: from N(0, 0.02), or He's without norm."""
        network = Siamese(self)
        if self.norm == "none":
            initialize_kaiming(network, slope=_SLOPE, seed=seed)
        else:
            initialize_normal(network, seed=seed)
        return network


class SiameseReading(NamedTuple):
    """What the network says of N pairs of patches."""

    first_map: Float[Tensor, "N 1 h w"]
    second_map: Float[Tensor, "N 1 h w"]
    domain_logits: Float[Tensor, "N 3"]


class Siamese(nn.Module):
    """One encoder for both patches, a content map of each, and three logits of their domain codes."""

    def __init__(self, config: SiameseConfig) -> None:
        super().__init__()
        width, code = config.width, 8 * config.width
        normed = config.norm == "instance"
        self.encoder = nn.Sequential(
            *_layer(1, width, 7, 1, normed=normed),
            *_layer(width, 2 * width, 3, 2, normed=normed),
            *_layer(2 * width, 4 * width, 3, 2, normed=normed),
            *_layer(4 * width, code, 3, 2, normed=normed),
            *(_ResidualBlock(code, normed=normed) for _ in range(config.blocks)),
        )
        self.content = nn.Sequential(*_layer(code, code, 1, 1, normed=True))
        # no norm at the end of the domain code: it would take away the brightness and contrast that it holds
        self.domain = nn.Sequential(*_layer(code, code, 1, 1, normed=False))
        self.content_head = nn.Conv2d(code, 1, 1)
        self.domain_head = nn.Sequential(
            *_layer(2 * code, code // 2, 3, 1, normed=config.classifier_norm == "instance"),
            _conv(code // 2, code // 4, 3, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(code // 4, 3),
        )

    def forward(self, first: Float[Tensor, "N 1 h w"], second: Float[Tensor, "N 1 h w"]) -> SiameseReading:
        """Content maps, linear and interpolated to the patches' size, and domain logits of each pair."""
        features: Tensor = self.encoder(torch.cat([first, second]))
        small: Tensor = self.content_head(self.content(features))
        maps = F.interpolate(small.to(first.dtype), first.shape[-2:], mode="bilinear", align_corners=False)
        first_map, second_map = maps.chunk(2)
        logits: Tensor = self.domain_head(torch.cat(self.domain(features).chunk(2), dim=1))
        return SiameseReading(first_map, second_map, logits.to(first.dtype))

    def fix(self, branch: Literal["content", "domain"]) -> None:
        """A branch stays as it was drawn: what is never trained asks for no gradient."""
        for module in getattr(self, branch), getattr(self, f"{branch}_head"):
            module.requires_grad_(False)


class _ResidualBlock(nn.Module):
    """Two convolutions and the sum; nothing follows the sum."""

    def __init__(self, channels: int, *, normed: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_layer(channels, channels, 3, 1, normed=normed),
            _conv(channels, channels, 3, 1),
            *([nn.InstanceNorm2d(channels)] if normed else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


def _layer(
    channels_in: int, channels_out: int, kernel: int, stride: int, *, normed: bool
) -> tuple[nn.Module, ...]:
    norm = (nn.InstanceNorm2d(channels_out),) if normed else ()
    return _conv(channels_in, channels_out, kernel, stride), *norm, nn.LeakyReLU(_SLOPE)


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int) -> nn.Conv2d:
    # reflected, because a border of zeros would print the same pattern on every content map
    return nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, padding_mode="reflect")
