"""Gaussian smoothing of images at any width, in a time that doesn't grow with it."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.drr.film.summation import count, total

_REACH = 3.5  # kernel radius in sigmas


def smooth(image: Float[Tensor, "*batch H W"], sigma_px: tuple[float, float]) -> Float[Tensor, "*batch H W"]:
    """Gaussian of `sigma_px` along rows and columns; beyond its border the image goes on with its last value.

    Wide Gaussians are computed on a coarser grid: means over blocks of n pixels, a Gaussian, and linear
    interpolation, whose variances n²/12, s² and n²/6 add up to sigma².
    """
    rows, columns = image.shape[-2:]
    block = tuple(max(1, int(sigma / 2)) for sigma in sigma_px)
    planes = image.reshape(-1, 1, rows, columns)
    if block == (1, 1):
        return _convolve(planes, sigma_px).reshape(image.shape)
    padded = F.pad(planes, (0, -columns % block[1], 0, -rows % block[0]), mode="replicate")
    coarse = F.avg_pool2d(padded, block)
    left = tuple(
        math.sqrt((sigma / n) ** 2 - 0.25) if n > 1 else sigma
        for sigma, n in zip(sigma_px, block, strict=True)
    )
    coarse = _convolve(coarse, (left[0], left[1]))
    fine = F.interpolate(coarse, size=padded.shape[-2:], mode="bilinear", align_corners=False)
    return fine[..., :rows, :columns].reshape(image.shape)


def fill(
    image: Float[Tensor, "*batch H W"], known: Bool[Tensor, "*batch H W"], sigma_px: float
) -> Float[Tensor, "*batch H W"]:
    """`image` where it is `known`, elsewhere the smooth continuation of what is known; 0 if nothing is.

    Weighted mean with a Gaussian of `sigma_px`, and far from everything the mean of what is known.
    """
    weight = known.to(image.dtype)
    kept = torch.where(known, image, torch.zeros_like(image))
    sigma = (sigma_px, sigma_px)
    near = smooth(weight, sigma)
    mean = total(kept) / count(known).clamp(min=1)
    faint = 1e-3
    return torch.where(known, image, (smooth(kept, sigma) + faint * mean) / (near + faint))


def _convolve(planes: Float[Tensor, "N 1 H W"], sigma_px: tuple[float, float]) -> Float[Tensor, "N 1 H W"]:
    for axis, sigma in enumerate(sigma_px):
        if sigma <= 0:
            continue
        radius = max(1, math.ceil(_REACH * sigma))
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
        kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
        kernel = (kernel / kernel.sum()).to(planes)
        pad = (0, 0, radius, radius) if axis == 0 else (radius, radius, 0, 0)
        shape = (1, 1, -1, 1) if axis == 0 else (1, 1, 1, -1)
        planes = F.conv2d(F.pad(planes, pad, mode="replicate"), kernel.view(shape))
    return planes
