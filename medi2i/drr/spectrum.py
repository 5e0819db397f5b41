"""Polyenergetic Beer-Lambert: what a tungsten beam of a given tube voltage leaves behind water and bone.

Attenuation is tabulated in NISTIR 5632 (Hubbell and Seltzer 1995, Tables 3 and 4; bone is cortical, ICRU-44)
and interpolated in log-log. Energies are in keV, path lengths in mm, coefficients in 1/mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float64
from pydantic import Field
from torch import Tensor

from medi2i.config import Config

_ENERGIES_KEV = (10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0)
# mass attenuation in cm²/g at these energies
_WATER = (5.329, 1.673, 0.8096, 0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505)
_BONE = (28.51, 9.032, 4.001, 1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480)
_ALUMINIUM = (26.23, 7.955, 3.441, 1.128, 0.5685, 0.3681, 0.2778, 0.2018, 0.1704, 0.1378)
# caesium iodide has its K edges in between: iodine at 33.17 keV, caesium at 35.98 keV
_IODIDE_KEV = (10.0, 15.0, 20.0, 30.0, 33.169, 33.170, 35.984, 35.985, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0)
_IODIDE = (171.1, 58.15, 26.86, 9.045, 6.923, 21.22, 17.19, 30.27, 22.97, 12.87, 7.921, 3.677, 2.035, 0.729)
_WATER_DENSITY, _BONE_DENSITY, _ALUMINIUM_DENSITY, _IODIDE_DENSITY = 1.0, 1.92, 2.699, 4.51  # g/cm³

_LOWEST_KEV = 12  # below, nothing passes the tube's own filtration
_TYPICAL_WATER_MM = 100.0  # where images are made: a lung and its chest wall


class SpectrumConfig(Config):
    """The beam of a tungsten anode, as an energy-integrating detector weighs it.

    Attributes:
        kvp: tube voltage (largest photon energy in keV).
        bins: energies that stand for the spectrum; 1 is a monoenergetic beam.
        filtration_mm_al: total filtration in mm aluminium equivalent; IEC 60601-1-3 asks for 2.5 at least,
            0.1 mm of copper adds about 3.
        scintillator_mm: thickness of caesium iodide, whose absorption weighs the energies.
    """

    kvp: float = Field(default=120.0, ge=40, le=150)
    bins: int = Field(default=4, ge=1, le=12)
    filtration_mm_al: float = Field(default=3.5, ge=0.5, le=60)
    scintillator_mm: float = Field(default=0.45, gt=0, le=2)


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Energies in keV in rising order, and their shares of the detector's signal in the open beam (sum 1)."""

    energies_kev: tuple[float, ...]
    weights: tuple[float, ...]


def mu_water_per_mm(energies_kev: Float64[np.ndarray, " N"] | float) -> Float64[np.ndarray, " N"]:
    """Linear attenuation of water, density 1 g/cm³; 10 to 150 keV."""
    return _interpolate(energies_kev, _ENERGIES_KEV, _WATER) * _WATER_DENSITY / 10


def mu_bone_per_mm(energies_kev: Float64[np.ndarray, " N"] | float) -> Float64[np.ndarray, " N"]:
    """Linear attenuation of cortical bone (ICRU-44), density 1.92 g/cm³; 10 to 150 keV."""
    return _interpolate(energies_kev, _ENERGIES_KEV, _BONE) * _BONE_DENSITY / 10


def photon_fluence(
    kvp: float, filtration_mm_al: float
) -> tuple[Float64[np.ndarray, " N"], Float64[np.ndarray, " N"]]:
    """Energies in steps of 1 keV, and relative numbers of photons behind the filter.

    Kramers' thick-target law (Phil. Mag. 46, 1923): the number at energy E is proportional to (kVp - E) / E,
    times the transmission of aluminium. The anode's own absorption counts as filtration; characteristic lines
    are left out.
    """
    energies_kev = np.arange(_LOWEST_KEV, int(np.ceil(kvp)), dtype=np.float64) + 0.5
    energies_kev = energies_kev[energies_kev < kvp]
    aluminium = _interpolate(energies_kev, _ENERGIES_KEV, _ALUMINIUM) * _ALUMINIUM_DENSITY / 10
    return energies_kev, (kvp - energies_kev) / energies_kev * np.exp(-aluminium * filtration_mm_al)


@lru_cache(maxsize=256)
def make_spectrum(config: SpectrumConfig) -> Spectrum:
    """A few energies and weights that attenuate as the whole spectrum does.

    Each photon counts with its energy and the scintillator's chance to absorb it. Bins hold equal shares of
    the signal behind 100 mm of water. A bin weighs what it has in the open beam, and its energy is the one
    whose attenuation gives the bin's exact signal behind 100 mm, so that both ends are right.
    """
    energies_kev, fluence = photon_fluence(config.kvp, config.filtration_mm_al)
    iodide = _interpolate(energies_kev, _IODIDE_KEV, _IODIDE) * _IODIDE_DENSITY / 10
    signal = fluence * energies_kev * (1 - np.exp(-iodide * config.scintillator_mm))
    signal /= signal.sum()
    behind = signal * np.exp(-mu_water_per_mm(energies_kev) * _TYPICAL_WATER_MM)
    share = (np.cumsum(behind) - behind / 2) / behind.sum()
    index = np.minimum((share * config.bins).astype(int), config.bins - 1)
    weights = np.bincount(index, signal, config.bins)
    effective_per_mm = -np.log(np.bincount(index, behind, config.bins) / weights) / _TYPICAL_WATER_MM
    # attenuation falls with energy, and interp wants it rising
    means_kev = np.interp(-effective_per_mm, -mu_water_per_mm(energies_kev), energies_kev)
    return Spectrum(tuple(map(float, means_kev)), tuple(map(float, weights)))


def polyenergetic_attenuation(
    water_mm: Float[Tensor, "*batch H W"], bone_mm: Float[Tensor, "*batch H W"], spectrum: Spectrum
) -> Float[Tensor, "*batch H W"]:
    """-ln(I / I0) = -ln Σ w(E) exp(-μ_water(E) L_water - μ_bone(E) L_bone) / Σ w(E), along each ray.

    Finite for any path length: the most penetrating energy is factored out.
    """
    energies_kev = np.array(spectrum.energies_kev)
    water, bone = mu_water_per_mm(energies_kev), mu_bone_per_mm(energies_kev)
    hardest = int(np.argmax(energies_kev))
    transmitted = torch.zeros_like(water_mm)
    for weight, more_water, more_bone in zip(
        spectrum.weights, water - water[hardest], bone - bone[hardest], strict=True
    ):
        exponent = float(more_water) * water_mm + float(more_bone) * bone_mm
        transmitted += weight / sum(spectrum.weights) * torch.exp(-exponent)
    return float(water[hardest]) * water_mm + float(bone[hardest]) * bone_mm - torch.log(transmitted)


def _interpolate(
    energies_kev: Float64[np.ndarray, " N"] | float, table_kev: tuple[float, ...], values: tuple[float, ...]
) -> Float64[np.ndarray, " N"]:
    wanted = np.log(np.atleast_1d(np.asarray(energies_kev, dtype=np.float64)))
    return np.exp(np.interp(wanted, np.log(table_kev), np.log(values)))
