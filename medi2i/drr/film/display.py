"""From air kerma to contrast: characteristic response, and multi-scale compression of the latitude."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor

from medi2i.config import Config
from medi2i.drr.film.smoothing import smooth
from medi2i.drr.film.summation import count, total

Gain = Annotated[float, Field(ge=0, le=10)]
_SAMPLES = 16384  # enough for a percentile, and quick to sort
_MOST_MOVED = 5.0  # factor on the odds of a contrast


class DisplayConfig(Config):
    """What the vendor's processing does before the tone curve.

    Attributes:
        response: how the image follows the air kerma K: -ln K, -sqrt K or -K.
        latitude_compression: share of the coarse contrast taken out, 0 for none.
        band_sigmas_mm: rising sigmas that part the image into bands of detail, at the detector; what is
            coarser than the last is compressed.
        band_gains: factor on each band, finest first.
        edge_limit: amplitude, in the response's unit, at which a band's gain has fallen to half: strong edges
            are not overdone.
        lower_percentile, upper_percentile: the patient's values that the tone curve's span is fitted to.
        reserve: share of that span kept free beyond either of them, for what is darker or brighter still.
        middle: contrast that the patient's median gets, as exposure recognition sets it from the histogram;
            None leaves it where the two percentiles put it.
    """

    response: Literal["logarithm", "square_root", "linear"] = "logarithm"
    latitude_compression: float = Field(default=0.45, ge=0, le=1)
    band_sigmas_mm: tuple[PositiveFloat, ...] = (1.2, 5.0, 22.0)
    band_gains: tuple[Gain, ...] = (1.6, 1.4, 1.1)
    edge_limit: float = Field(default=3.0, gt=0)
    lower_percentile: float = Field(default=0.5, ge=0, lt=50)
    upper_percentile: float = Field(default=99.5, gt=50, le=100)
    reserve: float = Field(default=0.08, ge=0, le=0.4)
    middle: float | None = Field(default=0.5, gt=0, lt=1)

    @model_validator(mode="after")
    def _one_gain_a_band(self) -> DisplayConfig:
        if len(self.band_sigmas_mm) != len(self.band_gains):
            raise ValueError("band_sigmas_mm and band_gains have different lengths")
        if list(self.band_sigmas_mm) != sorted(set(self.band_sigmas_mm)):
            raise ValueError("band_sigmas_mm don't rise")
        return self


def respond(
    kerma_ugy: Float[Tensor, "*batch H W"], reference_ugy: float, config: DisplayConfig
) -> Float[Tensor, "*batch H W"]:
    """Bone-bright response to k = K / `reference_ugy`: -ln k, 1 - sqrt k or 1 - k; 0 at the reference."""
    relative = kerma_ugy / reference_ugy
    if config.response == "logarithm":
        return -torch.log(relative)
    return 1 - (torch.sqrt(relative) if config.response == "square_root" else relative)


def compress_latitude(
    image: Float[Tensor, "*batch H W"],
    config: DisplayConfig,
    *,
    counted: Bool[Tensor, "*batch H W"],
    spacing_mm: tuple[float, float],
) -> Float[Tensor, "*batch H W"]:
    """The image with less coarse contrast and more of the fine bands.

    Bands are differences of Gaussians x_i; the result is m + (1 - c)(coarse - m) + Σ g_i x_i / (1 + |x_i| /
    e), the multi-scale amplification of Vuylsteke and Schoeters (SPIE 2167, 1994) on Gaussians without
    subsampling. m is the mean over `counted`, c the compression, g the gains, e the edge limit.
    """
    middle = total(image, counted) / count(counted).clamp(min=1)
    finer, result = image, middle
    for sigma_mm, gain in zip(config.band_sigmas_mm, config.band_gains, strict=True):
        coarser = smooth(image, (sigma_mm / spacing_mm[0], sigma_mm / spacing_mm[1]))
        band = finer - coarser
        result = result + gain * band / (1 + band.abs() / config.edge_limit)
        finer = coarser
    return result + (1 - config.latitude_compression) * (finer - middle)


def scale_to_range(
    image: Float[Tensor, "*batch H W"], config: DisplayConfig, *, counted: Bool[Tensor, "*batch H W"]
) -> Float[Tensor, "*batch H W"]:
    """Contrast in [0, 1]: percentiles of the `counted` pixels at r and 1 - r, their median at `middle`.

    r is the reserve. What lies beyond the percentiles runs into it along an exponential that continues the
    straight line's slope, so that it keeps its gradation; without a reserve it is clipped. The median is then
    moved by logit(x) + constant, which is monotonic and leaves 0 and 1 in place; by ln 5 at most.

    Percentiles are of every n-th row and column, so that some 16,000 are sorted. An image that is constant
    there becomes 0; one without a counted pixel is scaled by all of its own.
    """
    rows, columns = image.shape[-2:]
    step = max(1, int((rows * columns / _SAMPLES) ** 0.5))
    values = image[..., ::step, ::step].flatten(-2)
    use = counted[..., ::step, ::step].flatten(-2)
    use = use | ~use.any(-1, keepdim=True)
    ordered = torch.where(use, values, torch.full_like(values, torch.inf)).sort(-1).values
    last = use.sum(-1, keepdim=True) - 1
    low, median, high = (
        ordered.gather(-1, (last * percent / 100).round().long())[..., None]
        for percent in (config.lower_percentile, 50.0, config.upper_percentile)
    )
    span = (high - low).clamp(min=1e-6)
    contrast = _shoulder((image - low) / span, config.reserve)
    if config.middle is not None:
        contrast = _move_middle(contrast, _shoulder((median - low) / span, config.reserve), config.middle)
    return torch.where(high > low, contrast, torch.zeros_like(contrast))


def _shoulder(share: Float[Tensor, "*shape"], reserve: float) -> Float[Tensor, "*shape"]:
    """r + (1 - 2 r) x for x in [0, 1]; beyond, exponentials of the same slope that end at 0 and 1."""
    inside = reserve + (1 - 2 * reserve) * share.clamp(0, 1)
    if reserve == 0:
        return inside
    fall = (1 - 2 * reserve) / reserve
    above = reserve * -torch.expm1(-fall * (share - 1).clamp(min=0))
    below = reserve * -torch.expm1(-fall * (-share).clamp(min=0))
    return inside + above - below


def _move_middle(
    contrast: Float[Tensor, "*batch H W"], median: Float[Tensor, "*batch 1 1"], middle: float
) -> Float[Tensor, "*batch H W"]:
    """k x / (1 + (k - 1) x), with k, 1/5 to 5, such that `median` becomes `middle`."""
    odds = middle / (1 - middle) * (1 - median) / median.clamp(min=1e-6)
    # an image that is nearly all of one value has no middle worth stretching the rest for
    odds = odds.clamp(1 / _MOST_MOVED, _MOST_MOVED)
    return (odds * contrast / (1 + (odds - 1) * contrast)).clamp(0, 1)
