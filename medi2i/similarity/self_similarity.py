"""Spatially-correlative maps (Zheng, Cham, Cai, "The spatially-correlative loss for various image translation
tasks", CVPR 2021, FSeSim): what a place resembles around it stays, whatever its look.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medi2i.similarity.applicability import require_size, where_counted
from medi2i.similarity.pyramid import halve, halve_weight
from medi2i.similarity.weighting import at_least_float32, erode_weight, masked_mean_per_image


def self_similarity(
    image: Float[Tensor, "B 1 H W"],
    *,
    patch_radius: int = 2,
    reach_px: int = 6,
    spacing_px: int = 2,
    stride_px: int = 4,
    noise: float = 0.01,
) -> Float[Tensor, "B K h w"]:
    """Cosine of each place's patch with the K patches around it, in (-1, 1) (eq. 1 of the paper).

    Departures from the paper, whose features are VGG's: a patch of the image itself, its mean taken out, so
    that no weights have to be had from anywhere; and a regular grid of places instead of 256 drawn ones, so
    that nothing is random. A patch whose contrast is far below `noise` resembles nothing.

    Args:
        image: any tone; places are `stride_px` apart and at least `patch_radius + reach_px` from the border.
        patch_radius: half the side of a patch, in pixels.
        reach_px, spacing_px: patches up to `reach_px` rows and columns away, `spacing_px` apart, of
            which it is a multiple.
        noise: standard deviation, in image units, that is no structure.
    """
    features = _patches(at_least_float32(image), patch_radius, noise)
    count, channels = features.shape[:2]
    side = 2 * (reach_px // spacing_px) + 1
    rows, columns = ((length - 2 * reach_px - 1) // stride_px + 1 for length in features.shape[-2:])
    # one operation for all offsets: a slice for each would write a whole image in the backward pass
    around = nn.functional.unfold(features, side, dilation=spacing_px, stride=stride_px)
    around = around.view(count, channels, side**2, -1)
    middle = side**2 // 2
    similarity = (around[:, :, middle : middle + 1] * around).mean(dim=1)
    others = torch.cat([similarity[:, :middle], similarity[:, middle + 1 :]], dim=1)
    return others.view(count, side**2 - 1, rows, columns)


def self_similarity_distance(
    x: Float[Tensor, "B 1 H W"],
    y: Float[Tensor, "B 1 H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    scales: int = 3,
    patch_radius: int = 2,
    reach_px: int = 6,
    noise: float = 0.01,
    undefined: float = 0.0,
) -> Float[Tensor, " B"]:
    """1 - cosine of the two images' maps (eq. 3), averaged over places and scales, in [0, 2]; 0 when equal.

    A slowly varying gain or offset and an inversion cost (almost) nothing: a patch and its surroundings
    change alike. Places that resemble nothing in both images agree. Scales halve the image; places are 4
    pixels of the finest apart where the scale allows. Computed in float32 (float64 stays) under autocast
    too, without a copy to the host.

    Args:
        x, y: images.
        weight: >= 0; a place counts with its weight, and not at all when a pixel of weight 0 is within reach.
        scales: 1 or more; the mean over those scales that have a place that counts.
        patch_radius, reach_px: see `self_similarity`, in pixels of each scale.
        noise: see `self_similarity`.
        undefined: result where no place counts.

    Raises:
        UsageError: the coarsest image has room for no place.
    """
    border = patch_radius + reach_px
    require_size(x, (2 * border + 1) * 2 ** (scales - 1), f"self-similarity of {scales} scales")
    x, y = at_least_float32(x), at_least_float32(y)
    weight = torch.ones_like(x) if weight is None else weight.to(x.dtype)
    total, defined = torch.zeros_like(x[:, 0, 0, 0]), torch.zeros_like(x[:, 0, 0, 0])
    for scale in range(scales):
        if scale:
            x, y, weight = halve(x), halve(y), halve_weight(weight)
        stride = max(1, 4 >> scale)
        options = {"patch_radius": patch_radius, "reach_px": reach_px, "stride_px": stride}
        first = self_similarity(x, noise=noise, **options)
        second = self_similarity(y, noise=noise, **options)
        counted = erode_weight(weight, border)[..., border:-border:stride, border:-border:stride]
        distance = masked_mean_per_image(1 - _cosine(first, second), counted)
        total = total + distance
        defined = defined + (counted > 0).flatten(1).any(dim=1).to(total.dtype)
    mean = total / defined.clamp(min=1)
    return where_counted(mean, defined[:, None, None, None], undefined)


def _patches(image: Tensor, radius: int, noise: float) -> Float[Tensor, "B P h w"]:
    """The patch around each pixel as channels, without its mean, of mean square 1 (less near the noise)."""
    side = 2 * radius + 1
    rows, columns = image.shape[-2] - 2 * radius, image.shape[-1] - 2 * radius
    patch = nn.functional.unfold(image, side).view(image.shape[0], side**2, rows, columns)
    patch = patch - patch.mean(dim=1, keepdim=True)
    return patch / ((patch * patch).mean(dim=1, keepdim=True) + noise**2).sqrt()


def _cosine(first: Tensor, second: Tensor) -> Float[Tensor, "B 1 h w"]:
    # mean squares of a map that says nothing: a tenth of a similarity of 1, squared
    floor = 0.01
    product = (first * second).mean(dim=1, keepdim=True) + floor
    power_first = (first * first).mean(dim=1, keepdim=True) + floor
    power_second = (second * second).mean(dim=1, keepdim=True) + floor
    return product / (power_first * power_second).sqrt()
