"""Images with structure, and what may be done to them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def anatomy(size: int = 64, count: int = 1, seed: int = 0) -> Tensor:
    """Smooth blobs and bands in (-0.9, 0.9), float64, (count, 1, size, size): something a warp displaces."""
    generator = torch.Generator().manual_seed(seed)
    rough = torch.randn(count, 1, size + 12, size + 12, generator=generator, dtype=torch.float64)
    fine = rough
    for _ in range(2):
        fine = nn.functional.avg_pool2d(fine, 7, stride=1)
    coarse = nn.functional.avg_pool2d(rough, 13, stride=1)
    return (6 * fine + 6 * coarse).clamp(-2, 2).mul(0.45)


def warped(image: Tensor, amplitude_px: float) -> Tensor:
    """The image moved smoothly by up to `amplitude_px` rows and columns; the border is repeated."""
    size = image.shape[-1]
    at = torch.linspace(-1, 1, size, dtype=image.dtype)
    row, column = torch.meshgrid(at, at, indexing="ij")
    scale = 2 * amplitude_px / (size - 1)
    moved = torch.stack(
        [column + scale * torch.cos(4 * row), row + scale * torch.sin(3 * column + 1)], dim=-1
    )
    return nn.functional.grid_sample(
        image, moved.expand(image.shape[0], -1, -1, -1), align_corners=True, padding_mode="border"
    )


def half_valid(image: Tensor) -> Tensor:
    """1 in the left half of the columns, 0 in the right half."""
    valid = torch.ones_like(image)
    valid[..., image.shape[-1] // 2 :] = 0
    return valid
