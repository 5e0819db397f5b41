"""Tone curves and detail gains that change an image's look and cannot move what it shows.

An image is split into a base and bands of detail. The base goes through a monotone curve, each band is
multiplied by a positive gain; curves and gains vary slowly over the image. Nothing is painted, only the
image's own pixels are mapped. Local curves are those of adaptive histogram equalisation (Pizer et al.,
CVGIP 39, 1987) and of the bilateral grid's learnt descendants (Gharbi et al., ACM TOG 36, 2017); gains on
bands are multi-scale processing of radiographs (Vuylsteke and Schoeters, SPIE 2167, 1994). That they are
predicted against a discriminator is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.config import Config

_TRUNCATE = 3.0  # of Gaussians, in sigmas


class ToneBounds(Config):
    """What no weights of any network can exceed, and the scale of the bands.

    Attributes:
        reference_px: longer side of an image on which a band is as wide as `band_px` says; on a larger image
            everything scales with it.
        band_px: sigmas of the Gaussians between the bands, from fine to coarse; one band for each, and what
            the last one leaves is the base.
        pieces: straight pieces of a tone curve.
        least_slope: a curve's slope is at least this share of the identity's, so that no contrast of the base
            is wiped out.
        most_log_bend: logarithms of a curve's slopes in neighbouring pieces differ by no more than this. A
            curve that bends within an edge shifts the edge's apparent place: by about
            sigma^2 (ln T')' for an edge of width sigma.
        local_share: how much of what a curve differs from the image's mean curve, and a band's gain (its
            logarithm) from the image's mean gain, is kept. What differs from place to place shifts edges in
            the same way, by about sigma^2 (ln g)'.
        most_log_gain: logarithms of the bands' gains differ from their mean by no more than this.
        most_log_sharpness: their mean differs from 0 by no more than this. What blurs or sharpens all bands
            together shifts the apparent place of edges that lie close to each other.
        most_texture: largest standard deviation of each of the two textures of noise, in image units of
            [-1, 1]; 0 is none.
    """

    reference_px: int = Field(default=256, ge=32)
    band_px: tuple[float, ...] = Field(default=(1.0, 2.0, 4.0), min_length=1, max_length=6)
    pieces: int = Field(default=8, ge=2, le=64)
    least_slope: float = Field(default=0.3, gt=0, lt=1)
    most_log_bend: float = Field(default=0.25, gt=0, le=2)
    local_share: float = Field(default=0.2, ge=0, le=1)
    most_log_gain: float = Field(default=0.8, ge=0, le=3)
    most_log_sharpness: float = Field(default=0.2, ge=0, le=2)
    most_texture: float = Field(default=0.008, ge=0, le=0.3)


@dataclass(frozen=True)
class ToneGrids:
    """What is done to an image, on coarse grids over the square around it.

    Attributes:
        increments: rise of the tone curve in each of its pieces; >= least_slope / pieces, their sum is 1.
        log_gains: natural logarithms of the bands' gains.
        amplitudes: standard deviations of the textures of noise, in image units.
    """

    increments: Float[Tensor, "B P t t"]
    log_gains: Float[Tensor, "B K g g"]
    amplitudes: Float[Tensor, "B N g g"]


def bound_grids(
    tone: Float[Tensor, "B P t t"],
    gain: Float[Tensor, "B K g g"],
    texture: Float[Tensor, "B N g g"],
    bounds: ToneBounds,
) -> ToneGrids:
    """Any finite numbers as grids within the bounds; zeros of tone and gain are the identity."""
    bend = bounds.most_log_bend * torch.tanh(tone.float() / bounds.most_log_bend)
    share = _hold_together(torch.softmax(bend.cumsum(dim=1), dim=1), bounds.local_share)
    return ToneGrids(
        increments=(1 - bounds.least_slope) * share + bounds.least_slope / tone.shape[1],
        log_gains=_hold_together(_bound_gains(gain.float(), bounds), bounds.local_share),
        amplitudes=bounds.most_texture * torch.sigmoid(texture.float()),
    )


def _bound_gains(gain: Float[Tensor, "B K g g"], bounds: ToneBounds) -> Float[Tensor, "B K g g"]:
    """Logarithms of gains: a bounded mean over the bands, and bounded differences from it."""
    relative = torch.tanh(gain)
    mean = relative.mean(dim=1, keepdim=True)
    bands = gain.shape[1]
    # numbers in [-1, 1] differ from their mean by up to 2 (K - 1) / K
    apart = (relative - mean) * bands / (2 * max(bands - 1, 1))
    return bounds.most_log_gain * apart + bounds.most_log_sharpness * mean


def _hold_together(grid: Float[Tensor, "B C r c"], share: float) -> Float[Tensor, "B C r c"]:
    """The grid's mean, and `share` of what each place differs from it."""
    everywhere = grid.mean(dim=(-2, -1), keepdim=True)
    return everywhere + share * (grid - everywhere)


def split_bands(
    image: Float[Tensor, "B 1 H W"], bounds: ToneBounds
) -> tuple[Float[Tensor, "B 1 H W"], list[Float[Tensor, "B 1 H W"]]]:
    """Base and bands of detail, fine to coarse, all of the image's own matrix; their sum is the image.

    Differences of Gaussians without subsampling: no band is shifted against another.
    """
    scale = max(image.shape[-2:]) / bounds.reference_px
    bands, current, reached = [], image, 0.0
    for sigma in bounds.band_px:
        smooth = blur(current, scale * math.sqrt(max(sigma**2 - reached**2, 0.0)))
        bands.append(current - smooth)
        current, reached = smooth, max(sigma, reached)
    return current, bands


def curve(base: Float[Tensor, "B 1 H W"], increments: Float[Tensor, "B P t t"]) -> Float[Tensor, "B 1 H W"]:
    """The base through its local tone curves: piecewise linear, rising from -1 at -1 to 1 at 1."""
    pieces = increments.shape[1]
    position = pieces * (base.clamp(-1, 1) + 1) / 2
    total = torch.zeros_like(base)
    for piece in range(pieces):  # one full-size plane at a time: large films fit into memory
        rise = spread(increments[:, piece : piece + 1], base.shape[-2:])
        total = total + rise * (position - piece).clamp(0, 1)
    return 2 * total - 1


def apply_tone(
    image: Float[Tensor, "B 1 H W"], grids: ToneGrids, bounds: ToneBounds
) -> Float[Tensor, "B 1 H W"]:
    """Curve of the base plus bands times gains, at the image's own matrix, without texture, not clamped."""
    image = image.float().clamp(-1, 1)
    # under autocast the products with the spline's weights would come in half precision: tones would band
    with torch.autocast(image.device.type, enabled=False):
        base, bands = split_bands(image, bounds)
        result = curve(base, grids.increments)
        for number, band in enumerate(bands):
            log_gain = spread(grids.log_gains[:, number : number + 1], image.shape[-2:])
            result = result + torch.exp(log_gain) * band
    return result


def spread(grid: Float[Tensor, "B C r c"], shape: tuple[int, ...]) -> Float[Tensor, "B C H W"]:
    """A coarse grid over the square around an image of this shape as a smooth plane of the image.

    Uniform cubic B-splines: twice differentiable, and every value is a weighted mean of grid values with
    weights >= 0, so that bounds of the grid are bounds of the plane.
    """
    height, width = shape[-2:]
    side = max(height, width)
    rows = _spline_weights(height, side, grid.shape[-2], grid)
    columns = _spline_weights(width, side, grid.shape[-1], grid)
    return rows @ grid @ columns.T


def blur(image: Float[Tensor, "B C H W"], sigma_px: float) -> Float[Tensor, "B C H W"]:
    """Gaussian mean; beyond its border the image goes on as it ends."""
    radius = math.ceil(_TRUNCATE * sigma_px)
    if radius == 0:
        return image
    offset = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (offset / sigma_px) ** 2)
    kernel = kernel / kernel.sum()
    planes = image.flatten(0, 1)[:, None]
    planes = F.conv2d(F.pad(planes, (0, 0, radius, radius), mode="replicate"), kernel.view(1, 1, -1, 1))
    planes = F.conv2d(F.pad(planes, (radius, radius, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    return planes.view_as(image)


def _spline_weights(count: int, side: int, cells: int, like: Tensor) -> Float[Tensor, "count cells"]:
    """Weight of each cell at each pixel's centre; cells beyond the ends are the last ones again."""
    pixel = torch.arange(count, dtype=torch.float64) + 0.5 + (side - count) / 2
    position = pixel / side * cells - 0.5
    first = position.floor()
    f = position - first
    weights = torch.stack(
        [(1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3], dim=1
    )
    index = (first[:, None].long() + torch.arange(-1, 3)).clamp(0, cells - 1)
    matrix = torch.zeros(count, cells, dtype=torch.float64).scatter_add_(1, index, weights / 6)
    return matrix.to(device=like.device, dtype=like.dtype)
