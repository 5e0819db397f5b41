"""What the beam is before and behind the patient: attenuation, heel effect, collimation."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from medi2i.config import Config
from medi2i.drr.film.smoothing import smooth
from medi2i.drr.spectrum import (
    SpectrumConfig,
    make_spectrum,
    mu_bone_per_mm,
    mu_water_per_mm,
    polyenergetic_attenuation,
)
from medi2i.errors import UsageError

Border = Annotated[float, Field(ge=0, lt=0.5)]


class HeelConfig(Config):
    """The anode absorbs part of its own beam, most towards its own side.

    Attributes:
        fall: share of the intensity lost at the anode's edge of the image. Gain calibration takes most of the
            heel out of a digital film; what is configured here is what is left.
        anode: edge of the image on the anode's side.
    """

    fall: float = Field(default=0.04, ge=0, lt=1)
    anode: Literal["top", "bottom", "left", "right"] = "top"


class CollimationConfig(Config):
    """The rectangle that the collimator leaves open.

    Attributes:
        border: covered share of the image at top, bottom, left, right.
        rotation_deg: clockwise turn of the rectangle about the image's middle, as seen on a screen.
        edge_mm: width over which the intensity falls, at the detector.
        leakage: share of the beam that passes the blades.
        shutter: what the display shows outside: what the detector saw, or black or white.
    """

    border: tuple[Border, Border, Border, Border] = (0.03, 0.03, 0.03, 0.03)
    rotation_deg: float = Field(default=0.0, ge=-45, le=45)
    edge_mm: float = Field(default=3.0, ge=0)
    leakage: float = Field(default=0.003, ge=0, lt=0.5)
    shutter: Literal["none", "black", "white"] = "none"


def attenuate(
    paths: Float[Tensor, "*batch M H W"], spectrum: SpectrumConfig, line_integral_kev: float
) -> Float[Tensor, "*batch H W"]:
    """-ln(I / I0) along each ray, hardened by what the beam has passed.

    Args:
        paths: M = 2: mm of water and of cortical bone; M = 1: a line integral without unit, of unknown
            materials.
        spectrum: the beam.
        line_integral_kev: photon energy that a line integral was computed for; it is taken as that of water,
            so that another tube voltage changes and hardens it as it does water.

    Raises:
        UsageError: `paths` has neither one nor two planes.
    """
    beam = make_spectrum(spectrum)
    planes = paths.shape[-3] if paths.ndim >= 3 else 0
    if planes == 2:
        return polyenergetic_attenuation(paths[..., 0, :, :], paths[..., 1, :, :], beam)
    if planes == 1:
        water_mm = paths[..., 0, :, :] / float(mu_water_per_mm(line_integral_kev)[0])
        return polyenergetic_attenuation(water_mm, torch.zeros_like(water_mm), beam)
    raise UsageError(
        "paths of a film",
        found=f"shape {tuple(paths.shape)}",
        expected="(..., 1, H, W) line integrals, or (..., 2, H, W) mm of water and of bone",
        remedy="give the planes of materials as the third dimension from the end",
    )


def split_materials(
    line_integral: Float[Tensor, "*batch H W"],
    *,
    bone_share: float,
    line_integral_kev: float,
    sigma_px: float,
) -> Float[Tensor, "*batch 2 H W"]:
    """A guess at mm of water and of bone in a line integral, for images whose materials nobody knows.

    What stands out of its surroundings (a Gaussian of `sigma_px`) is taken as bone by `bone_share`. At
    `line_integral_kev` the two give the line integral again; at another tube voltage what stands out gains or
    loses contrast as bone does. It is no measurement: vessels stand out too.
    """
    surroundings = smooth(line_integral, (sigma_px, sigma_px))
    bone = bone_share * torch.minimum((line_integral - surroundings).clamp(min=0), line_integral.clamp(min=0))
    water_mm = (line_integral - bone) / float(mu_water_per_mm(line_integral_kev)[0])
    return torch.stack([water_mm, bone / float(mu_bone_per_mm(line_integral_kev)[0])], dim=-3)


def heel_profile(shape: tuple[int, int], config: HeelConfig, device: torch.device) -> Float[Tensor, "H W"]:
    """Intensity of the open beam, 1 at the cathode's edge, falling linearly to 1 - fall at the anode's.

    Linear over a film at 1.8 m: the anode angle's nonlinear part matters only beyond some 10 degrees.
    """
    along_rows = config.anode in ("top", "bottom")
    profile = 1 - config.fall * torch.linspace(1.0, 0.0, shape[0 if along_rows else 1], device=device)
    profile = profile.flip(0) if config.anode in ("bottom", "right") else profile
    return (profile[:, None] if along_rows else profile[None, :]).expand(shape)


def collimate(
    shape: tuple[int, int],
    config: CollimationConfig | None,
    *,
    spacing_mm: tuple[float, float],
    device: torch.device,
) -> tuple[Float[Tensor, "H W"], Bool[Tensor, "H W"]]:
    """Transmission of the collimator, and the exposed field: where nothing of the edge's fall is left."""
    if config is None:
        return torch.ones(shape, device=device), torch.ones(shape, dtype=torch.bool, device=device)
    height_mm, width_mm = shape[0] * spacing_mm[0], shape[1] * spacing_mm[1]
    down = ((torch.arange(shape[0], device=device) + 0.5) * spacing_mm[0] - height_mm / 2)[:, None]
    right = ((torch.arange(shape[1], device=device) + 0.5) * spacing_mm[1] - width_mm / 2)[None, :]
    angle = math.radians(config.rotation_deg)
    v = math.cos(angle) * down - math.sin(angle) * right
    u = math.cos(angle) * right + math.sin(angle) * down
    top, bottom, left, side = config.border
    inside_mm = torch.minimum(
        torch.minimum(v + (0.5 - top) * height_mm, (0.5 - bottom) * height_mm - v),
        torch.minimum(u + (0.5 - left) * width_mm, (0.5 - side) * width_mm - u),
    )
    # an edge narrower than a pixel would be a staircase
    edge_mm = max(config.edge_mm, *spacing_mm)
    is_open = (inside_mm / edge_mm + 0.5).clamp(0, 1)
    return config.leakage + (1 - config.leakage) * is_open, is_open >= 1
