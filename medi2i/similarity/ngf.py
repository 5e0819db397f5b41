"""Normalised gradient fields (Haber and Modersitzki, "Intensity gradient based registration and fusion of
multi-modal images", MICCAI 2006): edges run the same way, whatever their contrast or polarity.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from medi2i.similarity.applicability import where_counted
from medi2i.similarity.gradients import central_gradient, gradient_weight
from medi2i.similarity.weighting import at_least_float32, masked_mean_per_image


def ngf_distance(
    x: Float[Tensor, "B 1 H W"],
    y: Float[Tensor, "B 1 H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    noise: float = 0.01,
    undefined: float = 0.0,
) -> Float[Tensor, " B"]:
    """1 - 2 s(x, y) / (s(x, x) + s(y, y)) with s(x, y) = mean <n_x, n_y>^2, in [0, 1]; 0 for equal images.

    n = g / sqrt(|g|^2 + noise^2) (eq. 5 of the paper) of central differences g. Departure from the paper: it
    has 1 - s(x, y), which is near 1 for an image and itself when most of it is flat. Here s is divided by
    what it is for equal images, so that 0 is reached, an edge wiped out and an edge drawn in cost alike, and
    a translation without any gradient costs 1. Inversion costs nothing; steeper or flatter edges cost little
    where they are well above the noise. Computed in float32 (float64 stays) under autocast too, without a
    copy to the host.

    Args:
        x, y: images, at least 3 x 3.
        weight: >= 0; a gradient counts with the weight of its pixel, and not at all when one of its 3 x 3
            pixels has weight 0.
        noise: gradient, in image units a pixel, that is no edge.
        undefined: result where no gradient counts.
    """
    g, h = central_gradient(at_least_float32(x)), central_gradient(at_least_float32(y))
    power_g = (g * g).sum(dim=1, keepdim=True)
    power_h = (h * h).sum(dim=1, keepdim=True)
    inner = (g * h).sum(dim=1, keepdim=True)
    # the squared lengths of n_x and n_y; the product below is <n_x, n_y>^2 without a root
    length_g, length_h = power_g / (power_g + noise**2), power_h / (power_h + noise**2)
    agreement = inner**2 / ((power_g + noise**2) * (power_h + noise**2))
    counted = gradient_weight(weight)
    lost = masked_mean_per_image(length_g**2 + length_h**2 - 2 * agreement, counted)
    whole = masked_mean_per_image(length_g**2 + length_h**2, counted)
    # two flat images are equal: the floor, of gradients of a thousandth of the noise, makes 0 / 0 a 0
    return where_counted(lost / (whole + 1e-12), counted, undefined)
