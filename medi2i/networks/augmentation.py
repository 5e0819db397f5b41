"""Differentiable augmentation of what a discriminator sees (Zhao et al. 2020; Karras et al. 2020).

With a few dozen films a discriminator learns them by heart. Shifting, turning, zooming and cutting both real
and translated images in the same random way prevents that without teaching the generator any of it.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.config import Config


class DiscriminatorAugmentationConfig(Config):
    """Ranges of the random warp; tone is left alone, because tone is what has to be learnt.

    Rotation and zoom are off by default: they interpolate, and a discriminator that sees only smoothed images
    asks for no fine detail.
    """

    probability: float = Field(default=0.8, ge=0, le=1)
    shift: float = Field(default=0.125, ge=0, lt=1)
    rotation_deg: float = Field(default=0.0, ge=0, le=45)
    zoom: float = Field(default=0.0, ge=0, lt=1)
    cutout: float = Field(default=0.3, ge=0, lt=1)


def present(
    image: Float[Tensor, "B C H W"],
    valid: Float[Tensor, "B 1 H W"],
    config: DiscriminatorAugmentationConfig | None,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B 1 H W"]]:
    """What a discriminator is shown: black where nothing is valid, and augmented unless `config` is None."""
    image = blacken(image, valid)
    if config is None:
        return image, valid
    image, valid = augment_pair(image, valid, config, generator)
    return blacken(image, valid), valid


def blacken(image: Float[Tensor, "B C H W"], valid: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B C H W"]:
    """Invalid pixels are black, in both domains."""
    return torch.where(valid > 0, image, torch.full_like(image, -1))


def augment_pair(
    image: Float[Tensor, "B C H W"],
    valid: Float[Tensor, "B 1 H W"],
    config: DiscriminatorAugmentationConfig,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B 1 H W"]]:
    """One random warp and cut-out per image; what is moved in from outside or cut out becomes invalid."""
    batch, _, height, width = image.shape
    device = image.device

    def draw(low: float, high: float) -> Tensor:
        unit = torch.rand(batch, device=device, generator=generator)
        return low + (high - low) * unit

    applied = (draw(0, 1) < config.probability).to(image.dtype)
    angle = draw(-1, 1) * math.radians(config.rotation_deg) * applied
    scale = torch.exp(draw(-1, 1) * math.log1p(config.zoom) * applied)
    # whole pixels: a shift in between would blur like a rotation does
    shift_x, shift_y = (
        (draw(-1, 1) * config.shift * applied * side).round() * (2 / side) for side in (width, height)
    )
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    # affine_grid works in a square [-1, 1]: the aspect ratio keeps a rotation a rotation
    aspect = height / width
    theta = torch.stack(
        [
            torch.stack([cosine, -sine * aspect, shift_x], dim=1),
            torch.stack([sine / aspect, cosine, shift_y], dim=1),
        ],
        dim=1,
    ).to(image.dtype)
    # under autocast the grid would come in half precision: positions off by whole pixels
    with torch.autocast(device.type, enabled=False):
        grid = F.affine_grid(theta, [batch, 1, height, width], align_corners=False)
        warped = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)
        inside = F.grid_sample(valid.to(image.dtype), grid, padding_mode="zeros", align_corners=False)
    inside = (inside > 0.99).to(image.dtype)
    return warped, inside * _cutout(inside, config.cutout * applied, draw(-1, 1), draw(-1, 1))


def _cutout(like: Tensor, side: Tensor, center_x: Tensor, center_y: Tensor) -> Tensor:
    """Ones with a rectangle of zeros; `side` is a fraction of the image's sides."""
    _, _, height, width = like.shape
    y = torch.linspace(-1, 1, height, device=like.device).view(1, 1, height, 1)
    x = torch.linspace(-1, 1, width, device=like.device).view(1, 1, 1, width)
    half, center_x, center_y = (value.view(-1, 1, 1, 1) for value in (side, center_x, center_y))
    in_hole = ((y - center_y).abs() < half) & ((x - center_x).abs() < half)
    return (~in_hole).to(like.dtype)
