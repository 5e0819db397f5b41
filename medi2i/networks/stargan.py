"""StarGAN's generator: one network for all translations, told by a code (Choi et al., CVPR 2018)."""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from medi2i.config import Config
from medi2i.networks.initialization import initialize_kaiming
from medi2i.networks.normalization import full_precision

# He's rule for this slope has the variance of torch's own initialisation, which the authors' code uses
LAYER_DEFAULT_SLOPE = math.sqrt(5)
# tanh saturates at 1: the skip carries the image a little inside, so that its inverse stays finite
_SKIP_RANGE = 0.97


class StarGANGeneratorConfig(Config):
    """Size of the generator and how it is told the code; width and blocks are the paper's.

    Attributes:
        conditioning: `concat` is the paper's: the code as constant planes beside the image. Instance norm
            subtracts what a constant plane adds, all but near the border, so that the code fades with the
            size of the image. `film` instead turns the code into gain and offset of the norms behind the
            encoder (Perez et al., AAAI 2018; Dumoulin et al., ICLR 2017): the same at every pixel.
        upsample, residual_output, full_resolution_skip: as in `networks.resnet`; the last two are not in the
            paper. With `film` the code also scales what comes through the skip.
    """

    width: int = Field(default=64, gt=0)
    blocks: int = Field(default=6, ge=0)
    conditioning: Literal["film", "concat"] = "film"
    upsample: Literal["transposed", "resize_conv"] = "transposed"
    residual_output: bool = False
    full_resolution_skip: bool = False

    def build(self, *, bits: int, seed: int, channels: int = 1) -> StarGANGenerator:
        """A generator for codes of so many bits, with weights drawn by `seed`."""
        generator = StarGANGenerator(self, bits=bits, channels=channels)
        initialize_kaiming(generator, slope=LAYER_DEFAULT_SLOPE, seed=seed)
        if self.residual_output:
            nn.init.zeros_(generator.paint.weight)
        return generator


class StarGANGenerator(nn.Module):
    """c7s1-64, k4 d128, d256, R256 x n, k4 u128, u64, c7s1-1, tanh; zero padding, no biases, instance norm.

    Norms have gain and offset, learnt (`concat`, and the encoder's) or from the code, and no running
    statistics: the authors' code keeps them, and then sees other statistics in use than in training.
    """

    size_multiple = 4

    def __init__(self, config: StarGANGeneratorConfig, *, bits: int, channels: int = 1) -> None:
        super().__init__()
        width, film = config.width, config.conditioning == "film"
        self.concat = not film
        self.residual_output = config.residual_output
        told = bits if film else None
        self.stem = nn.Sequential(
            nn.Conv2d(channels + (0 if film else bits), width, 7, padding=3, bias=False),
            nn.InstanceNorm2d(width, affine=True),
            nn.ReLU(),
        )
        self.encode = nn.Sequential(*_halving(width), *_halving(2 * width))
        self.transform = nn.ModuleList(_ResidualBlock(4 * width, told) for _ in range(config.blocks))
        self.decode = nn.ModuleList(
            _Doubling(inside, told, config.upsample) for inside in (4 * width, 2 * width)
        )
        self.join = _Join(width, told) if config.full_resolution_skip else None
        self.paint = nn.Conv2d(width, channels, 7, padding=3, bias=False)

    def forward(
        self, image: Float[Tensor, "B N H W"], code: Float[Tensor, "B C"]
    ) -> Float[Tensor, "B N H W"]:
        """The images as the codes say; rows and columns are multiples of 4.

        Args:
            image: in [-1, 1].
            code: bits in [0, 1], or below 0 where unknown; an unknown group has no bit set.
        """
        code = code.to(image).clamp(min=0)
        seen = image
        if self.concat:
            seen = torch.cat([image, code[:, :, None, None].expand(-1, -1, *image.shape[-2:])], dim=1)
        stem: Tensor = self.stem(seen)
        features: Tensor = self.encode(stem)
        for layer in [*self.transform, *self.decode]:
            features = layer(features, code)
        if self.join is not None:
            features = self.join(features, stem, code)
        painted: Tensor = self.paint(features)
        painted = painted.to(image.dtype)  # under autocast: gray levels in half precision would band
        if self.residual_output:
            painted = painted + torch.atanh(_SKIP_RANGE * image.clamp(-1, 1))
        return torch.tanh(painted)


class Modulation(nn.Module):
    """x times 1 + gain(code), plus offset(code), for each channel."""

    def __init__(self, channels: int, bits: int) -> None:
        super().__init__()
        self.numbers = nn.Linear(bits, 2 * channels)

    def forward(self, x: Float[Tensor, "B F h w"], code: Float[Tensor, "B C"]) -> Float[Tensor, "B F h w"]:
        gain, offset = full_precision(self.numbers(code))[:, :, None, None].chunk(2, dim=1)
        return ((1 + gain) * full_precision(x) + offset).to(x.dtype)


class _Norm(nn.Module):
    """Instance norm with learnt gain and offset, or (with `bits`) with those of the code."""

    def __init__(self, channels: int, bits: int | None) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels, affine=bits is None)
        self.modulation = None if bits is None else Modulation(channels, bits)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        x = self.norm(x)
        return x if self.modulation is None else cast(Tensor, self.modulation(x, code))


class _ResidualBlock(nn.Module):
    """Two convolutions with norm; no activation after the sum."""

    def __init__(self, channels: int, bits: int | None) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = _Norm(channels, bits)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = _Norm(channels, bits)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        hidden = torch.relu(self.first_norm(self.first(x), code))
        out: Tensor = x + self.second_norm(self.second(hidden), code)
        return out


class _Doubling(nn.Module):
    """Twice the size with half of the channels, norm, ReLU."""

    def __init__(self, channels: int, bits: int | None, kind: str) -> None:
        super().__init__()
        half = channels // 2
        self.widen: nn.Module
        if kind == "transposed":
            self.widen = nn.ConvTranspose2d(channels, half, 4, stride=2, padding=1, bias=False)
        else:  # no checkerboard (Odena et al. 2016)
            self.widen = nn.Sequential(
                nn.Upsample(scale_factor=2), nn.Conv2d(channels, half, 3, padding=1, bias=False)
            )
        self.norm = _Norm(half, bits)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return torch.relu(self.norm(self.widen(x), code))


class _Join(nn.Module):
    """The first layer's features beside the last ones: fine detail that is scaled where it is."""

    def __init__(self, channels: int, bits: int | None) -> None:
        super().__init__()
        self.merge = nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False)
        self.modulation = None if bits is None else Modulation(channels, bits)

    def forward(self, features: Tensor, stem: Tensor, code: Tensor) -> Tensor:
        merged = self.merge(torch.cat([features, stem], dim=1))
        return torch.relu(merged if self.modulation is None else self.modulation(merged, code))


def _halving(channels: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1, bias=False),
        nn.InstanceNorm2d(2 * channels, affine=True),
        nn.ReLU(),
    )
