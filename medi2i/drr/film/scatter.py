"""Scattered radiation, and the grid against it."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from medi2i.config import Config
from medi2i.drr.film.smoothing import smooth
from medi2i.drr.film.summation import total


class ScatterConfig(Config):
    """Radiation that reaches the detector on a bent way.

    Attributes:
        fraction: scatter / (scatter + primary) in front of the grid, both summed over the exposed field
            behind the patient. In a chest 0.5 to 0.7: lungs less, mediastinum 0.9 (Niklason et al., Med.
            Phys. 8, 1981).
        narrow_sigma_mm, wide_sigma_mm: the kernel is a sum of two Gaussians at the detector.
        narrow_share: the narrow one's share.
        thickness_exponent: how much faster than the primary scatter grows with attenuation; 0 for not at all.
    """

    fraction: float = Field(default=0.55, ge=0, le=0.95)
    narrow_sigma_mm: float = Field(default=14.0, gt=0)
    wide_sigma_mm: float = Field(default=60.0, gt=0)
    narrow_share: float = Field(default=0.35, ge=0, le=1)
    thickness_exponent: float = Field(default=1.0, ge=0, le=3)


class GridConfig(Config):
    """An anti-scatter grid, as IEC 60627 describes it.

    Attributes:
        primary_transmission, scatter_transmission: what passes; their ratio is the grid's selectivity.
        lines_per_mm: strip density at the detector.
        line_modulation: what is left of the strips in the image, as relative amplitude; 0 for a moving grid.
        across: True if strips run along rows, so that they cross the image's columns.
    """

    primary_transmission: float = Field(default=0.72, gt=0, le=1)
    scatter_transmission: float = Field(default=0.14, ge=0, le=1)
    lines_per_mm: float = Field(default=4.0, gt=0)
    line_modulation: float = Field(default=0.0, ge=0, le=0.5)
    across: bool = False


def estimate_scatter(
    primary: Float[Tensor, "*batch H W"],
    attenuation: Float[Tensor, "*batch H W"],
    config: ScatterConfig,
    *,
    counted: Bool[Tensor, "*batch H W"],
    spacing_mm: tuple[float, float],
) -> Float[Tensor, "*batch H W"]:
    """Scatter at the detector, in the unit of `primary`.

    Kernel superposition with amplitudes that follow the thickness: a source P t^b, with t = -ln(P / P0),
    spread by two Gaussians (form of Sun and Star-Lack, Phys. Med. Biol. 55, 2010, with one kernel width for
    all thicknesses). Scaled so that sum(S) / (sum(S) + sum(P)) is `config.fraction` over the pixels
    `counted`; 0 where the beam passes nothing that scatters.

    Args:
        primary: intensity.
        attenuation: t.
        config: kernel and fraction.
        counted: where the fraction holds: the exposed field behind the patient.
        spacing_mm: (row, column) at the detector.
    """
    source = primary * attenuation.clamp(min=0) ** config.thickness_exponent
    source = torch.where(attenuation > 0, source, torch.zeros_like(source))
    spread = torch.zeros_like(source)
    for share, sigma_mm in (
        (config.narrow_share, config.narrow_sigma_mm),
        (1 - config.narrow_share, config.wide_sigma_mm),
    ):
        if share > 0:
            spread = spread + share * smooth(source, (sigma_mm / spacing_mm[0], sigma_mm / spacing_mm[1]))
    passed, scattered = total(primary, counted), total(spread, counted)
    wanted = config.fraction / (1 - config.fraction) * passed
    return spread * torch.where(scattered > 0, wanted / scattered.clamp(min=1e-30), torch.zeros_like(wanted))


def pass_grid(
    primary: Float[Tensor, "*batch H W"], scatter: Float[Tensor, "*batch H W"], config: GridConfig | None
) -> Float[Tensor, "*batch H W"]:
    """Tp P + Ts S, what the grid lets through of the open beam without grid; P + S without a grid."""
    if config is None:
        return primary + scatter
    return config.primary_transmission * primary + config.scatter_transmission * scatter


def grid_lines(
    shape: tuple[int, int],
    config: GridConfig,
    *,
    spacing_mm: tuple[float, float],
    phase: Float[Tensor, "*batch 1 1"],
) -> Float[Tensor, "*batch H W"]:
    """Factor 1 + m cos(2π f x + phase) at pixel centres; strips finer than two pixels appear aliased.

    Args:
        shape: rows and columns.
        config: strips; `line_modulation` is m as it is in the image, behind the pixel's aperture.
        spacing_mm: (row, column) at the detector.
        phase: in radians, one an image.
    """
    axis = 0 if config.across else 1
    x_mm = torch.arange(shape[axis], device=phase.device, dtype=phase.dtype) * spacing_mm[axis]
    x_mm = x_mm[:, None] if config.across else x_mm[None, :]
    wave = torch.cos(2 * math.pi * config.lines_per_mm * x_mm + phase)
    return (1 + config.line_modulation * wave).expand(*phase.shape[:-2], *shape)
