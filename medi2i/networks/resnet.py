"""The residual generator of CycleGAN (Zhu et al. 2017, appendix 7.2; Johnson et al. 2016), and CUT's."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from medi2i.config import Config
from medi2i.networks.initialization import initialize_normal, initialize_xavier
from medi2i.networks.resampling import BlurDown, BlurUp

# tanh saturates at 1: the skip carries the image a little inside, so that its inverse stays finite
_SKIP_RANGE = 0.97


class ResNetGeneratorConfig(Config):
    """Size of a residual generator; the defaults are the paper's for images of 256 px and more.

    Not in the paper, and off by default:

    Attributes:
        downsample, upsample: `antialiased` both are CUT's (Park et al. 2020, after Zhang, ICML 2019): a
            convolution of stride 1 and a blur that halves or doubles.
        initialization: `normal` is N(0, 0.02); `xavier` with gain 0.02 is CUT's.
        residual_output: the input is added, through the inverse of the final tanh, to what the network
            paints: the untrained generator is then the identity, full-resolution detail can't be lost in the
            bottleneck, and a small network learns only the difference between the domains.
        full_resolution_skip: the first layer's features join the last ones, so that fine detail can be
            sharpened or softened where it is; a small network can't do that through a bottleneck at a quarter
            of the resolution.
    """

    width: int = Field(default=64, gt=0)
    blocks: int = Field(default=9, ge=0)
    downsample: Literal["strided", "antialiased"] = "strided"
    upsample: Literal["transposed", "resize_conv", "antialiased"] = "transposed"
    initialization: Literal["normal", "xavier"] = "normal"
    residual_output: bool = False
    full_resolution_skip: bool = False

    def build(self, *, seed: int, channels: int = 1) -> ResNetGenerator:
        """A generator with weights drawn by `seed`."""
        generator = ResNetGenerator(self, channels)
        if self.initialization == "xavier":
            initialize_xavier(generator, seed=seed)
        else:
            initialize_normal(generator, seed=seed)
        if self.residual_output:
            nn.init.zeros_(generator.paint[-1].weight)  # type: ignore[arg-type]
        return generator


class ResNetGenerator(nn.Module):
    """c7s1-64, d128, d256, R256 x n, u128, u64, c7s1-1; instance norm without affine; tanh."""

    size_multiple = 4

    def __init__(self, config: ResNetGeneratorConfig, channels: int = 1) -> None:
        super().__init__()
        width = config.width
        self.residual_output = config.residual_output
        self.stem = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7), *_norm_relu(width))
        self.encode = nn.Sequential(
            *_downsampling(width, 2 * width, config.downsample),
            *_downsampling(2 * width, 4 * width, config.downsample),
        )
        self.transform = nn.Sequential(*(_ResidualBlock(4 * width) for _ in range(config.blocks)))
        self.decode = nn.Sequential(
            *_upsampling(4 * width, 2 * width, config.upsample),
            *_norm_relu(2 * width),
            *_upsampling(2 * width, width, config.upsample),
            *_norm_relu(width),
        )
        self.join = (
            nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(2 * width, width, 3), nn.ReLU())
            if config.full_resolution_skip
            else None
        )
        self.paint = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7))

    def forward(self, image: Float[Tensor, "B N H W"]) -> Float[Tensor, "B N H W"]:
        stem: Tensor = self.stem(image)
        features: Tensor = self.decode(self.transform(self.encode(stem)))
        if self.join is not None:
            features = self.join(torch.cat([features, stem], dim=1))
        painted: Tensor = self.paint(features)
        painted = painted.to(image.dtype)  # under autocast: gray levels in half precision would band
        if self.residual_output:
            painted = painted + torch.atanh(_SKIP_RANGE * image.clamp(-1, 1))
        return torch.tanh(painted)


class _ResidualBlock(nn.Module):
    """Two reflect-padded convolutions with instance norm; no activation after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            *_norm_relu(channels),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


def _norm_relu(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(channels), nn.ReLU()


def _downsampling(channels_in: int, channels_out: int, kind: str) -> tuple[nn.Module, ...]:
    if kind == "strided":
        return nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1), *_norm_relu(channels_out)
    return nn.Conv2d(channels_in, channels_out, 3, padding=1), *_norm_relu(channels_out), BlurDown()


def _upsampling(channels_in: int, channels_out: int, kind: str) -> tuple[nn.Module, ...]:
    if kind == "transposed":
        return (nn.ConvTranspose2d(channels_in, channels_out, 3, stride=2, padding=1, output_padding=1),)
    if kind == "antialiased":
        return BlurUp(), nn.Conv2d(channels_in, channels_out, 3, padding=1)
    # resize-convolution has no checkerboard (Odena et al. 2016)
    return nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(channels_in, channels_out, 3)
