"""From intensity to what the detector reads out: exposure, quantum and electronic noise, saturation."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from medi2i.config import Config
from medi2i.drr.film.summation import count, total

# signal-to-noise ratio squared of the beam per mm² and µGy: IEC 62220-1:2003, Table 2, RQA 3, 5, 7 and 9
_RQA_KVP = (50.0, 70.0, 90.0, 120.0)
_RQA_QUANTA_PER_MM2_UGY = (21759.0, 30174.0, 32362.0, 31077.0)


class ExposureConfig(Config):
    """How much radiation makes the image, and what the detector adds.

    Attributes:
        detector_air_kerma_ugy: mean air kerma at the detector behind the patient, in the middle half of the
            image, as an automatic exposure control's chambers see it. 2.5 µGy is speed class 400.
        detective_efficiency: DQE at zero frequency; absorption and Swank noise are in it.
        noise_through_detector: True if quanta are noisy before the detector blurs them (scintillators: noise
            is coarse-grained), False for white quantum noise (direct conversion).
        electronic_noise_ugy: standard deviation per pixel of the image, as air kerma.
        saturation_ugy: largest air kerma the detector can tell apart.
    """

    detector_air_kerma_ugy: float = Field(default=2.5, gt=0)
    detective_efficiency: float = Field(default=0.62, gt=0, le=1)
    noise_through_detector: bool = True
    electronic_noise_ugy: float = Field(default=0.004, ge=0)
    saturation_ugy: float = Field(default=60.0, gt=0)


def quanta_per_mm2_ugy(kvp: float) -> float:
    """Quanta per mm² and µGy air kerma at the detector behind a patient.

    Interpolated over the tube voltage between the IEC 61267 qualities RQA 3 to RQA 9, whose aluminium stands
    for the patient.
    """
    return float(np.interp(kvp, _RQA_KVP, _RQA_QUANTA_PER_MM2_UGY))


def scale_to_kerma(
    intensity: Float[Tensor, "*batch H W"],
    air_kerma_ugy: float,
    *,
    chambers: Bool[Tensor, "*batch H W"],
) -> Float[Tensor, "*batch H W"]:
    """Air kerma in µGy, whose mean over the middle half (rows and columns) of `chambers` is `air_kerma_ugy`.

    If there is nothing of `chambers` in the middle half, the mean is over all of them, and without any over
    the image.
    """
    rows, columns = intensity.shape[-2:]
    middle = torch.zeros_like(chambers)
    middle[..., rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4] = True
    chosen = chambers & middle
    for wider in (chambers, torch.ones_like(chambers)):
        chosen = torch.where(chosen.any(-1, keepdim=True).any(-2, keepdim=True), chosen, wider)
    mean = total(intensity, chosen) / count(chosen)
    return intensity * (air_kerma_ugy / mean)


def add_quantum_noise(
    kerma_ugy: Float[Tensor, "*batch H W"],
    normal: Float[Tensor, "*batch H W"],
    *,
    quanta_per_ugy: float,
) -> Float[Tensor, "*batch H W"]:
    """K + sqrt(K / n) z: Poisson noise of n K quanta a pixel in its normal limit (n K above some 20).

    Args:
        kerma_ugy: air kerma K.
        normal: independent standard normal numbers z.
        quanta_per_ugy: quanta n that count, per pixel and µGy.
    """
    return kerma_ugy + torch.sqrt(kerma_ugy.clamp(min=0) / quanta_per_ugy) * normal


def read_out(
    kerma_ugy: Float[Tensor, "*batch H W"], normal: Float[Tensor, "*batch H W"], config: ExposureConfig
) -> Float[Tensor, "*batch H W"]:
    """Air kerma as read out: with electronic noise, clipped to the converter's range.

    The smallest value is one step of a 14-bit converter, so that a logarithm can be taken.
    """
    noisy = kerma_ugy + config.electronic_noise_ugy * normal
    return noisy.clamp(config.saturation_ugy / 2**14, config.saturation_ugy)
