"""MUNIT's encoders and decoder (Huang et al., ECCV 2018), which UNIT shares without the style.

Every convolution is reflect-padded and has a bias.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medi2i.config import Config
from medi2i.networks.adain import adaptive_instance_norm
from medi2i.networks.initialization import initialize_kaiming
from medi2i.networks.normalization import MapLayerNorm, full_precision

# at a quarter of the resolution; with a skip, a second one at the whole; with a residual output, the image
Content = tuple[Float[Tensor, "B _c _h _w"], ...]


_SKIP_RANGE = 0.97  # the inverse of tanh ends at 1
_FIRST_STROKE = 0.1  # of He's initialisation

NetworkT = TypeVar("NetworkT", bound=nn.Module)


class MUNITGeneratorConfig(Config):
    """Size of one domain's encoders and decoder; the defaults are the paper's.

    Attributes:
        width: channels at full resolution; twice and four times as many after the two halvings.
        blocks: residual blocks of the content encoder, and of the decoder.
        style_size: numbers in a style code.
        mlp_width: of the two hidden layers between style code and adaptive instance norms.
        full_resolution_skip: not in the paper, off by default. The first layer's features, without their mean
            and spread, belong to the content; the style gives them a mean and spread of its own at the other
            end. A small network so keeps fine detail that it can't carry through the bottleneck.
        residual_output: not in the paper, off by default. The image belongs to the content and is added,
            through the inverse of the final tanh, to what the decoder paints, which is little before
            training: tones then start as they are, while the paper's terms do not forbid to invert them.
    """

    width: int = Field(default=64, gt=0)
    blocks: int = Field(default=4, ge=1)
    style_size: int = Field(default=8, gt=0)
    mlp_width: int = Field(default=256, gt=0)
    full_resolution_skip: bool = False
    residual_output: bool = False

    def build_content_encoder(self, *, seed: int, channels: int = 1) -> ContentEncoder:
        """Image to content, weights drawn by `seed` (He et al. 2015, fan in)."""
        return _initialized(ContentEncoder(self, channels), seed)

    def build_style_encoder(self, *, seed: int, channels: int = 1) -> StyleEncoder:
        """Image to style code, weights drawn by `seed`."""
        return _initialized(StyleEncoder(self, channels), seed)

    def build_decoder(
        self, *, seed: int, channels: int = 1, norm: Literal["adaptive", "instance"] = "adaptive"
    ) -> Decoder:
        """Content (and style, where the norm is adaptive) to image, weights drawn by `seed`."""
        decoder = _initialized(Decoder(self, channels, norm), seed)
        if self.residual_output:
            with torch.no_grad():  # not nothing: the style has to be seen from the start, to be learnt
                decoder.paint.weight.mul_(_FIRST_STROKE)
        return decoder


class ContentEncoder(nn.Module):
    """c7s1-64, c4s2-128, c4s2-256, residual blocks; instance norm takes the style out."""

    def __init__(self, config: MUNITGeneratorConfig, channels: int = 1) -> None:
        super().__init__()
        width = config.width
        self.keep_stem, self.keep_image = config.full_resolution_skip, config.residual_output
        self.stem = nn.Sequential(_conv(channels, width, 7), nn.InstanceNorm2d(width), nn.ReLU())
        self.down = nn.Sequential(
            _halving(width, 2 * width),
            nn.InstanceNorm2d(2 * width),
            nn.ReLU(),
            _halving(2 * width, 4 * width),
            nn.InstanceNorm2d(4 * width),
            nn.ReLU(),
        )
        self.blocks = nn.ModuleList(ResidualBlock(4 * width) for _ in range(config.blocks))

    def forward(self, image: Float[Tensor, "B C H W"]) -> Content:
        stem: Tensor = self.stem(image)
        features: Tensor = self.down(stem)
        for block in self.blocks:
            features = block(features)
        kept = [features]
        if self.keep_stem:
            kept.append(stem)
        if self.keep_image:
            kept.append(image)
        return tuple(kept)


class StyleEncoder(nn.Module):
    """c7s1-64, c4s2-128, three c4s2-256, global mean, 1 x 1; no norm, which would erase the style."""

    def __init__(self, config: MUNITGeneratorConfig, channels: int = 1) -> None:
        super().__init__()
        width = config.width
        self.layers = nn.Sequential(
            _conv(channels, width, 7),
            nn.ReLU(),
            _halving(width, 2 * width),
            nn.ReLU(),
            _halving(2 * width, 4 * width),
            nn.ReLU(),
            _halving(4 * width, 4 * width),
            nn.ReLU(),
            _halving(4 * width, 4 * width),
            nn.ReLU(),
        )
        self.code = nn.Conv2d(4 * width, config.style_size, 1)

    def forward(
        self, image: Float[Tensor, "B C H W"], valid: Float[Tensor, "B 1 H W"] | None = None
    ) -> Float[Tensor, "B S"]:
        """The style code; the mean is over what is `valid` (all of it where nothing is), else everything."""
        features = full_precision(self.layers(image))
        if valid is None:
            pooled = features.mean(dim=(2, 3), keepdim=True)
        else:
            rows, columns = features.shape[-2:]
            weight = F.adaptive_avg_pool2d(valid.to(features.dtype), (rows, columns))
            nothing = weight.sum(dim=(2, 3), keepdim=True) == 0
            weight = torch.where(nothing, torch.ones_like(weight), weight)
            pooled = (features * weight).sum(dim=(2, 3), keepdim=True) / weight.sum(dim=(2, 3), keepdim=True)
        return full_precision(self.code(pooled)).flatten(1)


class Decoder(nn.Module):
    """Residual blocks, two doublings with layer norm, c7s1-1, tanh.

    With `adaptive` norm an MLP turns the style into shift and scale of the residual blocks' norms: for each
    norm first all shifts, then all scales. With `instance` norm there is no style (UNIT).
    """

    def __init__(
        self,
        config: MUNITGeneratorConfig,
        channels: int = 1,
        norm: Literal["adaptive", "instance"] = "adaptive",
    ) -> None:
        super().__init__()
        width = config.width
        self.blocks = nn.ModuleList(ResidualBlock(4 * width) for _ in range(config.blocks))
        self.up = nn.Sequential(*_doubling(4 * width, 2 * width), *_doubling(2 * width, width))
        skip = config.full_resolution_skip
        self.join = nn.Sequential(_conv(2 * width, width, 3), nn.ReLU()) if skip else None
        self.paint = _conv(width, channels, 7)
        self.residual_output = config.residual_output
        self.sizes = [4 * width, 4 * width] * config.blocks + ([width] if skip else [])
        self.style_mlp: nn.Module | None = None
        if norm == "adaptive":
            self.style_mlp = nn.Sequential(
                nn.Linear(config.style_size, config.mlp_width),
                nn.ReLU(),
                nn.Linear(config.mlp_width, config.mlp_width),
                nn.ReLU(),
                nn.Linear(config.mlp_width, 2 * sum(self.sizes)),
            )

    def forward(
        self, content: Content, style: Float[Tensor, "B S"] | None = None
    ) -> Float[Tensor, "B _c _h _w"]:
        looks = self._looks(style)
        features = content[0]
        for index, block in enumerate(self.blocks):
            features = block(features, *looks[2 * index : 2 * index + 2])
        features = self.up(features)
        if self.join is not None:
            fine = adaptive_instance_norm(content[1], *looks[-1]) if looks else content[1]
            features = self.join(torch.cat([features, fine.to(features.dtype)], dim=1))
        # under autocast: gray levels in half precision would band
        painted = full_precision(self.paint(features))
        if self.residual_output:
            painted = painted + torch.atanh(_SKIP_RANGE * content[-1].clamp(-1, 1))
        return torch.tanh(painted)

    def _looks(self, style: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        """(shift, scale) of every norm, each (B, C); none without a style."""
        if self.style_mlp is None or style is None:
            return []
        numbers: Tensor = self.style_mlp(style)
        shares = numbers.split([2 * size for size in self.sizes], dim=1)
        return [(share[:, :size], share[:, size:]) for share, size in zip(shares, self.sizes, strict=True)]


class ResidualBlock(nn.Module):
    """Two convolutions with (adaptive) instance norm, ReLU between them, none after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _conv(channels, channels, 3), _conv(channels, channels, 3)

    def forward(
        self,
        x: Float[Tensor, "B C H W"],
        first: tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]] | None = None,
        second: tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]] | None = None,
    ) -> Float[Tensor, "B C H W"]:
        """`first` and `second`: (shift, scale) of the two norms; None is instance norm."""
        out = F.relu(_normalized(self.first(x), first))
        return x + _normalized(self.second(out), second)


def _normalized(x: Tensor, look: tuple[Tensor, Tensor] | None) -> Tensor:
    return F.instance_norm(x) if look is None else adaptive_instance_norm(x, *look)


def _conv(channels_in: int, channels_out: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, padding_mode="reflect")


def _halving(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1, padding_mode="reflect")


def _doubling(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    # layer norm, because instance norm would delete what the style has written
    return (
        nn.Upsample(scale_factor=2),
        _conv(channels_in, channels_out, 5),
        MapLayerNorm(channels_out),
        nn.ReLU(),
    )


def _initialized(network: NetworkT, seed: int) -> NetworkT:
    initialize_kaiming(network, slope=0.0, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, MapLayerNorm):
            module.draw(generator)
    return network
