"""The U-Net of pix2pix (Isola, Zhu, Zhou, Efros, "Image-to-image translation with conditional adversarial
networks", CVPR 2017, appendix 6.1.1).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from medi2i.config import Config
from medi2i.networks.initialization import initialize_normal

_WIDEST = 8  # times the first level's channels
_DROPPED_LEVELS = 3


class UNetGeneratorConfig(Config):
    """Size of a U-Net; the defaults are the paper's for 256 px.

    Attributes:
        width: channels of the first level; they double from level to level, up to eight times.
        levels: halvings; images have to be multiples of 2 ** `levels`.
        dropout: share of features left out in the first three levels of the decoder, in training only.
    """

    width: int = Field(default=64, gt=0)
    levels: int = Field(default=8, ge=2, le=9)
    dropout: float = Field(default=0.5, ge=0, lt=1)

    def build(self, *, seed: int) -> UNetGenerator:
        """A generator with weights from N(0, 0.02) drawn by `seed`."""
        generator = UNetGenerator(self)
        initialize_normal(generator, seed=seed)
        return generator


class UNetGenerator(nn.Module):
    """Levels of 4 x 4 convolutions that halve, as many that double, and a skip at each; tanh.

    Departures from the paper: instance norm without affine in place of batch norm, whose statistics the paper
    takes of the one image it translates, which is the same; and dropout that draws from a generator, so that
    a resumed training draws what an uninterrupted one would have.
    """

    def __init__(self, config: UNetGeneratorConfig) -> None:
        super().__init__()
        self.size_multiple = 2**config.levels
        self.dropout = config.dropout
        widths = [config.width * min(2**level, _WIDEST) for level in range(config.levels)]
        self.encoder = nn.ModuleList()
        for level, (before, after) in enumerate(zip([1, *widths], widths, strict=False)):
            halving = nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False)
            # no norm on the first; none on the last, whose map may be a single pixel: it would be 0
            normed = [nn.InstanceNorm2d(after)] if 0 < level < config.levels - 1 else []
            leaky = [nn.LeakyReLU(0.2)] if level else []
            self.encoder.append(nn.Sequential(*leaky, halving, *normed))
        self.decoder = nn.ModuleList()
        for level in reversed(range(1, config.levels)):
            joined = widths[level] * (1 if level == config.levels - 1 else 2)
            doubling = nn.ConvTranspose2d(joined, widths[level - 1], 4, stride=2, padding=1, bias=False)
            self.decoder.append(nn.Sequential(nn.ReLU(), doubling, nn.InstanceNorm2d(widths[level - 1])))
        self.paint = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * widths[0], 1, 4, stride=2, padding=1))

    def forward(
        self, image: Float[Tensor, "B 1 H W"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B 1 H W"]:
        """The translation; with `generator`, which dropout draws from, as in training."""
        features, skips = image, list[Tensor]()
        for halve in self.encoder:
            features = halve(features)
            skips.append(features)
        skips.pop()
        for number, double in enumerate(self.decoder):
            features = double(features)
            # the paper's decoder: CD512-CD512-CD512-C512-...
            if generator is not None and self.dropout and number < _DROPPED_LEVELS:
                features = _dropped(features, self.dropout, generator)
            features = torch.cat([skips.pop(), features], dim=1)
        painted: Tensor = self.paint(features)
        return torch.tanh(painted.to(image.dtype))  # under autocast: gray levels in half precision would band


def _dropped(features: Tensor, share: float, generator: torch.Generator) -> Tensor:
    kept = torch.rand(features.shape, device=features.device, generator=generator) >= share
    return features * kept.to(features.dtype) / (1 - share)
