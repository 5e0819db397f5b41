"""Tone curves, and the codes they are stored as."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from medi2i.config import Config

CurveName = Literal["balanced", "soft", "hard", "screen_film", "bright_lung", "linear"]
Photometric = Literal["MONOCHROME1", "MONOCHROME2"]
Level = Annotated[float, Field(ge=0, le=1)]

# center c, slope k, asymmetry a of (1 + exp(-k (x - c))) ** -a; a above 1: long toe, below 1: long shoulder
_CURVES: dict[str, tuple[float, float, float]] = {
    "balanced": (0.50, 4.5, 1.0),
    "soft": (0.42, 3.0, 1.0),
    "hard": (0.52, 8.0, 1.0),
    "screen_film": (0.46, 5.5, 1.6),
    "bright_lung": (0.30, 4.0, 0.8),
}


class ToneConfig(Config):
    """The display's curve from contrast to brightness.

    Attributes:
        curve: a vendor-like shape; the sigmoids differ in center, slope and asymmetry.
        brightness: moves the curve so that the film gets brighter; 0.1 is a tenth of the range.
        contrast: factor on the sigmoid's slope.
        lookup: brightness at evenly spaced contrast, as a file's LUT gives it; rising; replaces `curve`.
    """

    curve: CurveName = "balanced"
    brightness: float = Field(default=0.0, ge=-0.4, le=0.4)
    contrast: float = Field(default=1.0, gt=0.1, le=5)
    lookup: tuple[Level, ...] | None = Field(default=None, min_length=2)


class StorageConfig(Config):
    """How the film is stored.

    Attributes:
        bits_stored: bit depth of the codes.
        photometric_interpretation: MONOCHROME1 stores bone dark.
    """

    bits_stored: int = Field(default=12, ge=8, le=16)
    photometric_interpretation: Photometric = "MONOCHROME2"


def apply_tone(contrast: Float[Tensor, "*shape"], config: ToneConfig) -> Float[Tensor, "*shape"]:
    """Brightness in [0, 1] of contrast in [0, 1]; `linear` without changes is the identity.

    0 stays 0 and 1 stays 1. The sigmoids are (s(x) - s(0)) / (s(1) - s(0)) with s(x) = (1 + exp(-k (x - c)))
    ** -a, the logistic family that also fits the characteristic curve of screen-film. `lookup` is
    interpolated linearly.
    """
    if config.lookup is not None:
        return _look_up(contrast, config.lookup)
    if config.curve == "linear":
        return ((contrast - 0.5) * config.contrast + 0.5 + config.brightness).clamp(0, 1)
    center, slope, asymmetry = _CURVES[config.curve]
    center, slope = center - config.brightness, slope * config.contrast

    def sigmoid(x: float) -> float:
        return math.exp(-asymmetry * math.log1p(math.exp(-slope * (x - center))))

    floor, ceiling = sigmoid(0.0), sigmoid(1.0)
    curve = torch.exp(-asymmetry * torch.nn.functional.softplus(-slope * (contrast - center)))
    return ((curve - floor) / (ceiling - floor)).clamp(0, 1)


def quantise(brightness: Float[Tensor, "*shape"], config: StorageConfig) -> Int[Tensor, "*shape"]:
    """Nearest codes 0 .. 2**bits - 1 of bone-bright brightness in [0, 1], int32; inverted for MONOCHROME1."""
    top = 2**config.bits_stored - 1
    codes = (brightness.clamp(0, 1) * top).round().to(torch.int32)
    return top - codes if config.photometric_interpretation == "MONOCHROME1" else codes


def dequantise(codes: Int[Tensor, "*shape"], config: StorageConfig) -> Float[Tensor, "*shape"]:
    """Bone-bright brightness in [0, 1] of stored codes."""
    top = 2**config.bits_stored - 1
    bright = top - codes if config.photometric_interpretation == "MONOCHROME1" else codes
    return bright.to(torch.float32) / top


def _look_up(contrast: Float[Tensor, "*shape"], levels: tuple[float, ...]) -> Float[Tensor, "*shape"]:
    table = torch.tensor(levels, dtype=contrast.dtype, device=contrast.device)
    position = contrast.clamp(0, 1) * (len(levels) - 1)
    lower = position.floor().long().clamp(max=len(levels) - 2)
    return torch.lerp(table[lower], table[lower + 1], position - lower)
