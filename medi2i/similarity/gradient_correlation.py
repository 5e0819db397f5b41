"""Gradient correlation of two images (Hiasa et al., "Cross-modality image synthesis from unpaired data using
CycleGAN", SASHIMI 2018, gradient-consistency loss; after Penney et al., IEEE TMI 1998).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from medi2i.similarity.weighting import at_least_float32, erode_weight, masked_mean_per_image

# Variance of a gradient, in squared image units a pixel, below which it is rounding and not structure: a
# thousandth of the variance that one 16-bit code of the range [-1, 1] makes.
MINIMUM_GRADIENT_VARIANCE = 1e-12


def gradient_correlation(
    x: Float[Tensor, "B 1 H W"],
    y: Float[Tensor, "B 1 H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    undefined: float = 0.0,
) -> Float[Tensor, " B"]:
    """0.5 * (NCC(dx x, dx y) + NCC(dy x, dy y)) of each image, in [-1, 1]; 1 for x and a*x + b with a > 0.

    NCC is the global, mean-free, weighted correlation of central differences, which exist in all but the
    outermost rows or columns. A difference counts with the weight of its centre pixel, and not at all when
    one of its three pixels has weight 0. Computed in float32 (float64 stays) under autocast too, without a
    copy to the host.

    When only one of the two images varies along an axis, that axis scores 0, without a gradient: no direction
    is better than another there. An axis along which neither varies is left out.

    Args:
        x, y: images, at least 3 x 3.
        weight: >= 0, e.g. valid mask times structure weight.
        undefined: result where neither image has a gradient: 0 suits a loss, NaN a metric.
    """
    x, y = at_least_float32(x), at_least_float32(y)
    total = torch.zeros(x.shape[0], dtype=x.dtype, device=x.device)
    axes = torch.zeros_like(total)
    for dim in (-1, -2):
        correlation, counted = _correlate(
            _central_difference(x, dim), _central_difference(y, dim), _stencil_weight(weight, dim)
        )
        total = total + correlation
        axes = axes + counted.to(total.dtype)
    return torch.where(axes > 0, total / axes.clamp(min=1), torch.full_like(total, undefined))


def local_gradient_correlation(
    x: Float[Tensor, "B 1 H W"],
    y: Float[Tensor, "B 1 H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    window_px: int = 16,
    noise: float = 0.004,
    undefined: float = 0.0,
) -> Float[Tensor, " B"]:
    """Mean over windows of the cosine between two images' gradient fields, in [-1, 1]; 1 for equal images.

    Every window counts the same, so that a small structure turned dark, or one drawn where there was none,
    costs as much as an inverted image does in its window; the global correlation hardly sees either. A gain
    that varies slowly over the image costs nothing. With g, h the gradients and n the noise level, a window
    scores (<g, h> + n^2) / sqrt((<g, g> + n^2) (<h, h> + n^2)): flat on both sides is 1, flat on one side
    near 0. Windows overlap by half (this measure is ours, no paper).

    Args:
        x, y: images, at least `window_px` + 2 a side.
        weight: >= 0; a window counts with its mean weight, its pixels with theirs.
        window_px: side of a window.
        noise: gradient, in image units a pixel, that is no structure.
        undefined: result where no window counts.
    """
    x, y = at_least_float32(x), at_least_float32(y)
    inner = [
        _central_difference(i, dim).narrow(other, 1, i.shape[other] - 2)
        for i in (x, y)
        for dim, other in ((-1, -2), (-2, -1))
    ]
    g_columns, g_rows, h_columns, h_rows = inner
    counted = torch.ones_like(x) if weight is None else weight.to(x.dtype)
    counted = erode_weight(counted, 1)[..., 1:-1, 1:-1]

    def pool(values: Tensor) -> Tensor:
        kept = torch.where(counted > 0, values * counted, torch.zeros_like(values))
        return nn.functional.avg_pool2d(kept, window_px, max(1, window_px // 2))

    share = pool(torch.ones_like(counted))
    scale = 1 / torch.where(share > 0, share, torch.ones_like(share))
    power = noise**2
    agreement = pool(g_columns * h_columns + g_rows * h_rows) * scale + power
    strength_x = pool(g_columns**2 + g_rows**2) * scale + power
    strength_y = pool(h_columns**2 + h_rows**2) * scale + power
    score = agreement / (strength_x * strength_y).sqrt()
    mean = masked_mean_per_image(score, share)
    return torch.where(share.flatten(1).sum(dim=1) > 0, mean, torch.full_like(mean, undefined))


def _central_difference(image: Tensor, dim: int) -> Tensor:
    inner = image.shape[dim] - 2
    return (image.narrow(dim, 2, inner) - image.narrow(dim, 0, inner)) / 2


def _stencil_weight(weight: Tensor | None, dim: int) -> Tensor | None:
    if weight is None:
        return None
    inner = weight.shape[dim] - 2
    both_ends = (weight.narrow(dim, 0, inner) > 0) & (weight.narrow(dim, 2, inner) > 0)
    return weight.narrow(dim, 1, inner) * both_ends


def _correlate(g: Tensor, h: Tensor, weight: Tensor | None) -> tuple[Float[Tensor, " B"], Bool[Tensor, " B"]]:
    """NCC of two gradients, and whether at least one of them varies."""
    g = g - masked_mean_per_image(g, weight)[:, None, None, None]
    h = h - masked_mean_per_image(h, weight)[:, None, None, None]
    variance_g = masked_mean_per_image(g * g, weight)
    variance_h = masked_mean_per_image(h * h, weight)
    covariance = masked_mean_per_image(g * h, weight)
    # not "greater than": a NaN must come out as NaN, not as an image without gradients
    varies_g = ~(variance_g <= MINIMUM_GRADIENT_VARIANCE)
    varies_h = ~(variance_h <= MINIMUM_GRADIENT_VARIANCE)
    # where before the root: its derivative at 0 is infinite, and infinity times 0 would be NaN
    product = torch.where(varies_g & varies_h, variance_g * variance_h, torch.ones_like(covariance))
    correlation = torch.where(varies_g & varies_h, covariance / product.sqrt(), torch.zeros_like(covariance))
    return correlation, varies_g | varies_h
