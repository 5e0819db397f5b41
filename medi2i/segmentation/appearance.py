"""Random looks of training crops, so that a segmenter learns anatomy and not one domain's gray levels."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.config import Config

_KNOTS = 6
_BLACK_SHARE = 0.6


class AppearanceConfig(Config):
    """How far the look of an image is changed; 0 turns a change off. Each image of a batch draws its own.

    Attributes:
        gamma: exponent between 1 / (1 + gamma) and 1 + gamma.
        tone: spread of the logarithms of a rising tone curve's slopes, piecewise linear with 6 knots.
        contrast: factor around mid-gray between 1 / (1 + contrast) and 1 + contrast.
        brightness: shift, of the whole range, both ways.
        detail: factor on what a blur takes away, between 0 (for 1) and 1 + detail: below 1 blurs, above
            sharpens.
        blur_px: largest standard deviation of that blur.
        noise: largest standard deviation of white noise, of the whole range.
        inversion: share of images that are inverted; films are stored bone bright, so none by default.
    """

    gamma: float = Field(default=0.8, ge=0, le=4)
    tone: float = Field(default=0.5, ge=0, le=2)
    contrast: float = Field(default=0.3, ge=0, le=4)
    brightness: float = Field(default=0.1, ge=0, le=1)
    detail: float = Field(default=1.0, ge=0, le=8)
    blur_px: float = Field(default=1.5, ge=0, le=8)
    noise: float = Field(default=0.05, ge=0, le=1)
    inversion: float = Field(default=0.0, ge=0, le=1)


def vary_appearance(
    image: Float[Tensor, "B 1 H W"], config: AppearanceConfig, rng: torch.Generator
) -> Float[Tensor, "B 1 H W"]:
    """The same anatomy in another look: tone, detail, noise.

    Args:
        image: in [-1, 1].
        rng: on the image's device.

    Returns:
        in [-1, 1]; no pixel moves.
    """
    fraction = ((image.float() + 1) / 2).clamp(0, 1)
    fraction = _bend_tone(fraction, config, rng)
    fraction = _change_detail(fraction, config, rng)
    sigma = config.noise * _uniform(image, rng)
    fraction = fraction + sigma * torch.randn(image.shape, generator=rng, device=image.device)
    inverted = (_uniform(image, rng) < config.inversion).float()
    fraction = inverted * (1 - fraction) + (1 - inverted) * fraction
    return (2 * fraction - 1).clamp(-1, 1).to(image.dtype)


def cover_outside(
    image: Float[Tensor, "B 1 H W"], valid: Float[Tensor, "B 1 H W"], rng: torch.Generator
) -> Float[Tensor, "B 1 H W"]:
    """Black where nothing is valid, or, in some images, another gray level of the image's own draw.

    Args:
        rng: on the image's device.
    """
    level = torch.where(_uniform(image, rng) < _BLACK_SHARE, 0.0, _uniform(image, rng))
    return torch.where(valid > 0, image, (2 * level - 1).to(image))


def _bend_tone(
    fraction: Float[Tensor, "B 1 H W"], config: AppearanceConfig, rng: torch.Generator
) -> Float[Tensor, "B 1 H W"]:
    """Gamma, a rising curve, contrast and brightness, all monotone."""
    bent = fraction ** _factor(config.gamma, fraction, rng)
    slopes = torch.randn(len(fraction), _KNOTS - 1, generator=rng, device=fraction.device)
    steps = (config.tone * slopes).exp()
    levels = F.pad(torch.cumsum(steps / steps.sum(dim=1, keepdim=True), dim=1), (1, 0))
    place = bent.flatten(1) * (_KNOTS - 1)
    below = place.floor().clamp(max=_KNOTS - 2)
    low, high = (levels.gather(1, below.long() + offset) for offset in (0, 1))
    bent = (low + (place - below) * (high - low)).reshape(fraction.shape)
    shift = config.brightness * (2 * _uniform(fraction, rng) - 1)
    return (bent - 0.5) * _factor(config.contrast, fraction, rng) + 0.5 + shift


def _change_detail(
    fraction: Float[Tensor, "B 1 H W"], config: AppearanceConfig, rng: torch.Generator
) -> Float[Tensor, "B 1 H W"]:
    sigma = config.blur_px * _uniform(fraction, rng)
    # half of the draws blur, half sharpen
    level = 2 * _uniform(fraction, rng) - 1
    gain = torch.where(level < 0, 1 + level * min(config.detail, 1.0), 1 + level * config.detail)
    smooth = _blurred(fraction, sigma, radius=math.ceil(2 * config.blur_px))
    return smooth + gain * (fraction - smooth)


def _blurred(
    fraction: Float[Tensor, "B 1 H W"], sigma: Float[Tensor, "B 1 1 1"], *, radius: int
) -> Float[Tensor, "B 1 H W"]:
    """Gaussian blur with a standard deviation for each image."""
    if not radius:
        return fraction
    offsets = torch.arange(-radius, radius + 1, device=fraction.device, dtype=fraction.dtype)
    kernels = torch.exp(-0.5 * (offsets / sigma.flatten()[:, None].clamp(min=1e-3)) ** 2)
    kernels = kernels / kernels.sum(dim=1, keepdim=True)
    batch = len(fraction)
    grouped = F.pad(fraction.transpose(0, 1), (radius, radius, radius, radius), mode="replicate")
    grouped = F.conv2d(grouped, kernels[:, None, :, None], groups=batch)
    return F.conv2d(grouped, kernels[:, None, None, :], groups=batch).transpose(0, 1)


def _uniform(image: Tensor, rng: torch.Generator) -> Float[Tensor, "B 1 1 1"]:
    return torch.rand(len(image), 1, 1, 1, generator=rng, device=image.device)


def _factor(reach: float, image: Tensor, rng: torch.Generator) -> Float[Tensor, "B 1 1 1"]:
    """Between 1 / (1 + reach) and 1 + reach, evenly in its logarithm."""
    return (math.log1p(reach) * (2 * _uniform(image, rng) - 1)).exp()
