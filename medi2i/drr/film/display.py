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
        lower_percentile, upper_percentile: part of the patient's values that the tone curve spans.
    """

    response: Literal["logarithm", "square_root", "linear"] = "logarithm"
    latitude_compression: float = Field(default=0.45, ge=0, le=1)
    band_sigmas_mm: tuple[PositiveFloat, ...] = (1.2, 5.0, 22.0)
    band_gains: tuple[Gain, ...] = (1.6, 1.4, 1.1)
    edge_limit: float = Field(default=3.0, gt=0)
    lower_percentile: float = Field(default=0.5, ge=0, lt=50)
    upper_percentile: float = Field(default=99.5, gt=50, le=100)

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
    """The image with the configured percentiles of its `counted` pixels at 0 and 1, clipped.

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
    low, high = (
        ordered.gather(-1, (last * percent / 100).round().long())[..., None]
        for percent in (config.lower_percentile, config.upper_percentile)
    )
    return ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
