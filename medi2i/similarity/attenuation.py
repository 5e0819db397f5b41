"""Whether mass stayed where it was: the coarse brightness of two images, up to a monotone tone curve.

An anchor of physics, ours: a DRR's gray level is a line integral of attenuation. A translation may show it by
another tone curve, but may not move it from one place to another.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medi2i.similarity.applicability import where_counted
from medi2i.similarity.tone_curve import apply_tone_curve, fit_tone_curve
from medi2i.similarity.weighting import at_least_float32, masked_mean_per_image


def blur(
    image: Float[Tensor, "B 1 H W"], weight: Float[Tensor, "B 1 H W"], window_px: int
) -> Float[Tensor, "B 1 H W"]:
    """Weighted mean around each pixel: three boxes of `window_px`, near a Gaussian of half a window.

    Pixels of weight 0 and pixels outside the image count in nothing; 0 where nothing is in reach.

    Args:
        window_px: odd side of a box; the standard deviation is sqrt(window_px^2 - 1) / 2.
    """
    amount = torch.where(weight > 0, image * weight, torch.zeros_like(image))
    both = torch.cat([amount, weight.to(image.dtype)], dim=1)
    for _ in range(3):
        both = nn.functional.avg_pool2d(both, window_px, stride=1, padding=window_px // 2)
    amount, share = both[:, :1], both[:, 1:]
    return amount / torch.where(share > 0, share, torch.ones_like(share))


def attenuation_distance(
    x: Float[Tensor, "B 1 H W"],
    y: Float[Tensor, "B 1 H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    window_px: int = 13,
    knots: int = 16,
    minimum_slope: float = 0.1,
    undefined: float = 0.0,
) -> Float[Tensor, " B"]:
    """Mean |blur(y) - blur(T(x))| with the rising tone curve T that fits best, in image units, in [0, 2].

    T is each image pair's own (`fit_tone_curve`). Both sides are blurred: noise and fine detail that a
    translation adds cost nothing, and neither do those that the source has. Rising changes of tone cost
    little (those that are piecewise linear at T's knots nothing), an inversion costs much. Computed in
    float32 (float64 stays) under autocast too, without a copy to the host.

    Args:
        x: the source, in [-1, 1].
        y: its translation.
        weight: >= 0: how much a pixel counts, in the blur, in the fit, and in the mean.
        window_px: odd; see `blur`.
        knots, minimum_slope: see `fit_tone_curve`.
        undefined: result where no pixel counts.
    """
    x, y = at_least_float32(x), at_least_float32(y)
    counted = torch.ones_like(x) if weight is None else weight.to(x.dtype)
    curve = fit_tone_curve(x, y, counted, knots=knots, minimum_slope=minimum_slope)
    # the blur is linear: of a difference, it is the difference of the blurs
    difference = blur(y - apply_tone_curve(x, curve), counted, window_px)
    return where_counted(masked_mean_per_image(difference.abs(), counted), weight, undefined)
