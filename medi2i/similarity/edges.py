"""Soft edge maps from Sobel's gradients (Sobel and Feldman 1968, as in Gonzalez and Woods, "Digital image
processing", section 10.2), and how far two of them differ.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from medi2i.similarity.applicability import where_counted
from medi2i.similarity.gradients import gradient_weight, sobel_gradient
from medi2i.similarity.weighting import at_least_float32, masked_mean_per_image


def edge_map(
    image: Float[Tensor, "B 1 H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    noise: float = 0.004,
) -> Float[Tensor, "B 1 H-2 W-2"]:
    """|g|^2 / (|g|^2 + mean |g|^2 + noise^2) of each pixel but the border, in [0, 1); 0.5 at a typical edge.

    g is Sobel's gradient. Dividing by the image's own mean takes contrast out; the map has no sign, so that
    polarity is out, too. This map is ours: it is smooth, where a threshold has no gradient.

    Args:
        image: any tone.
        weight: pixels of weight 0 count neither in a gradient nor in the mean.
        noise: gradient, in image units a pixel, that is no edge even in a flat image.
    """
    g = sobel_gradient(at_least_float32(image))
    power = (g * g).sum(dim=1, keepdim=True)
    typical = masked_mean_per_image(power, gradient_weight(weight))[:, None, None, None]
    return power / (power + typical + noise**2)


def edge_distance(
    x: Float[Tensor, "B 1 H W"],
    y: Float[Tensor, "B 1 H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    noise: float = 0.004,
    undefined: float = 0.0,
) -> Float[Tensor, " B"]:
    """Mean absolute difference of two edge maps, in [0, 1]; 0 for equal images and for inverted ones.

    Computed in float32 (float64 stays) under autocast too, without a copy to the host.

    Args:
        x, y: images, at least 3 x 3.
        weight: >= 0; a pixel whose 3 x 3 neighbourhood holds a weight of 0 does not count.
        noise: see `edge_map`.
        undefined: result where no pixel counts.
    """
    counted = gradient_weight(weight)
    difference = (edge_map(x, weight, noise=noise) - edge_map(y, weight, noise=noise)).abs()
    return where_counted(masked_mean_per_image(difference, counted), counted, undefined)
