"""The small network that looks at a thumbnail of an image and says which tones and gains it gets."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medi2i.config import Config
from medi2i.networks.initialization import initialize_kaiming
from medi2i.networks.tone_map import ToneBounds, ToneGrids, bound_grids
from medi2i.networks.tone_texture import TEXTURES

_SLOPE = 0.2
_QUIET = -3.0  # an untrained predictor asks for a twentieth of the largest texture


class TonePredictorConfig(Config):
    """Size of a tone predictor.

    Attributes:
        width: channels at the thumbnail's resolution; twice and four times as many below.
        seen_px: side of the thumbnail. Gains have a grid of a quarter of it, tone curves of an eighth.
        style_size: numbers that choose among the looks of one image.
    """

    width: int = Field(default=32, gt=0)
    seen_px: int = Field(default=64, ge=16, multiple_of=8)
    style_size: int = Field(default=8, gt=0)

    def build(self, bounds: ToneBounds, *, seed: int) -> TonePredictor:
        """A predictor with weights drawn by `seed` (He's); it starts as the identity."""
        predictor = TonePredictor(self, bounds)
        initialize_kaiming(predictor, slope=_SLOPE, seed=seed)
        quiet = torch.zeros(predictor.detail_head.out_channels)
        quiet[-TEXTURES:] = _QUIET
        for head, bias in ((predictor.tone_head, torch.zeros(bounds.pieces)), (predictor.detail_head, quiet)):
            head.load_state_dict({"weight": torch.zeros_like(head.weight), "bias": bias})
        return predictor


class TonePredictor(nn.Module):
    """Convolutions without norm (tone is what they have to see), modulated by the style at every level."""

    def __init__(self, config: TonePredictorConfig, bounds: ToneBounds) -> None:
        super().__init__()
        self.bounds = bounds
        self.seen_px = config.seen_px
        widths = (config.width, 2 * config.width, 4 * config.width, 4 * config.width)
        self.levels = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=stride, padding=1)
            for before, after, stride in zip((2, *widths[:-1]), widths, (1, 2, 2, 2), strict=True)
        )
        self.style = nn.Sequential(
            nn.Linear(config.style_size, 64), nn.LeakyReLU(_SLOPE), nn.Linear(64, 2 * sum(widths))
        )
        self.everywhere = nn.Linear(widths[-1], widths[-1])
        self.tone = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.detail = nn.Conv2d(widths[-2] + widths[-1], widths[-2], 3, padding=1)
        self.tone_head = nn.Conv2d(widths[-1], bounds.pieces, 1)
        self.detail_head = nn.Conv2d(widths[-2], len(bounds.band_px) + TEXTURES, 1)
        self.widths = widths

    def forward(
        self,
        image: Float[Tensor, "B 1 H W"],
        valid: Float[Tensor, "B 1 H W"],
        style: Float[Tensor, "B S"],
    ) -> ToneGrids:
        """Grids within the bounds for images of any size.

        Args:
            image: in [-1, 1]; what it holds where it isn't valid is not seen.
            valid: 1 where there is an image.
            style: one vector an image.
        """
        features = thumbnail(image, valid, self.seen_px)
        modulation = self.style(style.to(image.dtype)).split([2 * width for width in self.widths], dim=1)
        kept = features
        for number, (level, numbers) in enumerate(zip(self.levels, modulation, strict=True)):
            gain, offset = (part[..., None, None] for part in numbers.chunk(2, dim=1))
            features = F.leaky_relu(level(features) * (1 + gain) + offset, _SLOPE)
            if number == 2:
                kept = features
        features = features + self.everywhere(features.mean(dim=(-2, -1)))[..., None, None]
        features = F.leaky_relu(features, _SLOPE)
        tone = F.leaky_relu(self.tone(features), _SLOPE)
        lifted = F.interpolate(features, kept.shape[-2:], mode="nearest")
        detail = F.leaky_relu(self.detail(torch.cat([kept, lifted], dim=1)), _SLOPE)
        numbers = self.detail_head(detail)
        gain, texture = numbers.split([numbers.shape[1] - TEXTURES, TEXTURES], dim=1)
        return bound_grids(self.tone_head(tone), gain, texture, self.bounds)


def thumbnail(
    image: Float[Tensor, "B 1 H W"], valid: Float[Tensor, "B 1 H W"], side_px: int
) -> Float[Tensor, "B 2 side side"]:
    """Image and validity on the square around the image, averaged down; black where nothing is valid."""
    height, width = image.shape[-2:]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    seen = torch.where(valid > 0, image, torch.full_like(image, -1.0)).clamp(-1, 1)
    planes = torch.cat([seen + 1, valid.to(image.dtype)], dim=1)
    square = F.pad(planes, (left, side - width - left, top, side - height - top))
    small = F.adaptive_avg_pool2d(square, side_px)
    return torch.cat([small[:, :1] - 1, small[:, 1:]], dim=1)
