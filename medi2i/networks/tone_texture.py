"""Zero-mean noise in two bands: the grain that films have and projections of a CT have not."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.networks.tone_map import blur, spread

TEXTURES = 2
_FINE_PX, _COARSE_PX = 1.0, 2.0  # sigmas between which the second texture lies; the first is finer


def draw_texture(
    shape: tuple[int, ...], reference_px: int, batch: int, generator: torch.Generator
) -> Float[Tensor, "B 2 H W"]:
    """Two textures of mean 0 and standard deviation 1 for each image, fine and less fine.

    The grain has the size of a pixel of an image whose longer side has `reference_px`, also on larger images:
    that is the size at which a discriminator judged it.

    Args:
        shape: (..., rows, columns) of the images.
        reference_px: longer side at which noise is drawn; smaller images get noise of their own matrix.
        batch: number of images.
        generator: decides the noise and the device.
    """
    height, width = shape[-2:]
    factor = min(1.0, reference_px / max(height, width))
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    noise = torch.randn(batch, TEXTURES, *size, generator=generator, device=generator.device)
    smooth = blur(noise, _FINE_PX)
    fine, less = (noise - smooth)[:, :1], (smooth - blur(noise, _COARSE_PX))[:, 1:]
    texture = torch.cat([fine, less], dim=1)
    if size != (height, width):
        texture = F.interpolate(texture, (height, width), mode="bicubic", align_corners=False)
    texture = texture - texture.mean(dim=(-2, -1), keepdim=True)
    spread_out = texture.square().mean(dim=(-2, -1), keepdim=True).sqrt()
    return texture / spread_out.clamp(min=1e-6)


def weigh_texture(
    texture: Float[Tensor, "B 2 H W"], amplitudes: Float[Tensor, "B 2 g g"]
) -> Float[Tensor, "B 1 H W"]:
    """Sum of the textures, each times its local amplitude."""
    with torch.autocast(texture.device.type, enabled=False):
        weighted = texture * spread(amplitudes, texture.shape[-2:])
    return weighted.sum(dim=1, keepdim=True)
