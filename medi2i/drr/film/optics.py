"""Sharpness: focal spot and detector as modulation transfer functions, applied in the frequency domain.

All transfer functions here are real and even, so that they blur and never move.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.config import Config

_MARGIN_PX = 24  # beyond the border; both kernels have faded there


class SharpnessConfig(Config):
    """Focal spot and detector.

    Attributes:
        focal_spot_mm: side of the square focal spot.
        mtf: shape of the detector's spread of light: `lorentzian` 1 / (1 + (f / f50)²), as scintillators have
            it (Siewerdsen et al., Med. Phys. 24, 1997), or `gaussian` 2 ** -(f / f50)².
        mtf50_per_mm: frequency in cycles/mm where that falls to one half.
        aperture_mm: (row, column) sides of the area that a pixel averages over; None for the whole pixel of
            the image, 0 for points.
    """

    focal_spot_mm: float = Field(default=1.0, ge=0, le=4)
    mtf: Literal["lorentzian", "gaussian"] = "lorentzian"
    mtf50_per_mm: float = Field(default=1.4, gt=0)
    aperture_mm: tuple[float, float] | None = None


def focal_spot_mtf(
    row_per_mm: Float[Tensor, "*shape"],
    column_per_mm: Float[Tensor, "*shape"],
    focal_spot_mm: float,
    magnification: float,
) -> Float[Tensor, "*shape"]:
    """Transfer of a square, even focal spot at the detector: sinc(f w) along both axes, w = a (M - 1).

    w is the geometric penumbra of an object that is magnified M times; frequencies are in cycles/mm at the
    detector.
    """
    penumbra_mm = focal_spot_mm * (magnification - 1)
    return torch.sinc(row_per_mm * penumbra_mm) * torch.sinc(column_per_mm * penumbra_mm)


def detector_mtf(
    row_per_mm: Float[Tensor, "*shape"],
    column_per_mm: Float[Tensor, "*shape"],
    config: SharpnessConfig,
    spacing_mm: tuple[float, float],
) -> Float[Tensor, "*shape"]:
    """Presampled transfer of scintillator and pixel aperture, at frequencies in cycles/mm."""
    squared = (row_per_mm**2 + column_per_mm**2) / config.mtf50_per_mm**2
    light = torch.exp2(-squared) if config.mtf == "gaussian" else 1 / (1 + squared)
    aperture_mm = spacing_mm if config.aperture_mm is None else config.aperture_mm
    return light * torch.sinc(row_per_mm * aperture_mm[0]) * torch.sinc(column_per_mm * aperture_mm[1])


def frequencies(
    shape: tuple[int, int], spacing_mm: tuple[float, float], device: torch.device
) -> tuple[Float[Tensor, "R C"], Float[Tensor, "R C"]]:
    """Frequencies in cycles/mm, along rows and columns, of the transform that `transfer` makes."""
    rows, columns = (_padded_length(n) for n in shape)
    row = torch.fft.fftfreq(rows, spacing_mm[0], device=device)[:, None]
    column = torch.fft.rfftfreq(columns, spacing_mm[1], device=device)[None, :]
    return row.expand(-1, column.shape[1]), column.expand(row.shape[0], -1)


def transfer(image: Float[Tensor, "*batch H W"], mtf: Float[Tensor, "R C"]) -> Float[Tensor, "*batch H W"]:
    """The image with each frequency multiplied by `mtf`, given at the `frequencies` of its shape.

    Beyond its border the image goes on with its last value.
    """
    rows, columns = image.shape[-2:]
    below, right = _padded_length(rows) - rows, _padded_length(columns) - columns
    planes = image.reshape(-1, 1, rows, columns)
    padded = F.pad(planes, (right // 2, right - right // 2, below // 2, below - below // 2), mode="replicate")
    blurred = torch.fft.irfft2(torch.fft.rfft2(padded) * mtf, s=padded.shape[-2:])
    top, left = below // 2, right // 2
    return blurred[..., top : top + rows, left : left + columns].reshape(image.shape)


def _padded_length(length: int) -> int:
    """Smallest product of 2, 3 and 5 that holds the image and its margins: fast to transform."""
    wanted = length + 2 * _MARGIN_PX
    candidates = (
        2**i * 3**j * 5**k
        for i in range(17)
        for j in range(6)
        for k in range(4)
        if 2**i * 3**j * 5**k >= wanted
    )
    return min(candidates)
