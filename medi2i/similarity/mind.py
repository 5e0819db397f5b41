"""Modality independent neighbourhood descriptor (Heinrich et al., "MIND: Modality independent neighbourhood
descriptor for multi-modal deformable registration", Medical Image Analysis 16, 2012).
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medi2i.similarity.weighting import at_least_float32, erode_weight, masked_mean_per_image

Neighbours = Literal[4, 8]

# The local variance stays within these multiples of its mean over the image, so that flat areas do not turn
# noise into structure.
VARIANCE_RANGE = (0.001, 1000.0)
# Far below the squared difference of neighbouring 16-bit codes (1e-9); keeps a constant image from 0 / 0.
MINIMUM_VARIANCE = 1e-12

_CROSS = ((0, 1), (0, -1), (1, 0), (-1, 0))
_DIAGONALS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


def mind_descriptor(
    x: Float[Tensor, "B 1 H W"],
    patch_radius: int = 1,
    dilation: int = 2,
    neighbours: Neighbours = 4,
    weight: Float[Tensor, "B 1 H W"] | None = None,
) -> Float[Tensor, "B K H W"]:
    """exp(-D_p(x, r) / V(x)) for each neighbour r, scaled so that the largest of a pixel is 1.

    D_p is the mean squared difference of the patches around a pixel and around its neighbour, V its mean over
    the neighbours. Departures from the paper: two dimensions, a box instead of a Gaussian patch, and V over
    the K neighbours of the descriptor. The border is replicated. Unchanged by x -> a*x + b, a != 0.

    Args:
        x: images.
        patch_radius: half the patch's side, in pixels; 0 is a single pixel.
        dilation: distance to the neighbours in rows and columns, in pixels.
        neighbours: K: 4 (rows and columns) or 8 (diagonals too).
        weight: pixels of weight 0 do not count in the image's mean variance.
    """
    x = at_least_float32(x)
    reach = dilation + patch_radius
    padded = nn.functional.pad(x, [reach] * 4, mode="replicate")
    rows, columns = x.shape[-2] + 2 * patch_radius, x.shape[-1] + 2 * patch_radius

    def shifted(row: int, column: int) -> Tensor:
        top, left = dilation * (1 + row), dilation * (1 + column)
        return padded[..., top : top + rows, left : left + columns]

    offsets = _CROSS if neighbours == 4 else _CROSS + _DIAGONALS
    centre = shifted(0, 0)
    differences = torch.cat([(centre - shifted(row, column)) ** 2 for row, column in offsets], dim=1)
    distances = nn.functional.avg_pool2d(differences, 2 * patch_radius + 1, stride=1)
    variance = distances.mean(dim=1, keepdim=True)
    counted = None if weight is None else erode_weight(weight, reach)
    typical = masked_mean_per_image(variance, counted)[:, None, None, None]
    lowest, highest = VARIANCE_RANGE
    variance = variance.clamp(lowest * typical, highest * typical).clamp(min=MINIMUM_VARIANCE)
    nearest = distances.amin(dim=1, keepdim=True)
    return torch.exp((nearest - distances) / variance)


def mind_distance(
    x: Float[Tensor, "B 1 H W"],
    y: Float[Tensor, "B 1 H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    patch_radius: int = 1,
    dilation: int = 2,
    neighbours: Neighbours = 4,
) -> Float[Tensor, " B"]:
    """Mean absolute difference of the two images' descriptors, in [0, 1]; 0 for equal structure.

    Pixels whose descriptor touches a pixel of weight 0 do not count; an image without any pixel that counts
    has distance 0. Computed in float32 (float64 stays) under autocast too, without a copy to the host.
    """
    first = mind_descriptor(x, patch_radius, dilation, neighbours, weight)
    second = mind_descriptor(y, patch_radius, dilation, neighbours, weight)
    difference = (first - second).abs().mean(dim=1, keepdim=True)
    counted = None if weight is None else erode_weight(weight, dilation + patch_radius)
    return masked_mean_per_image(difference, counted)
