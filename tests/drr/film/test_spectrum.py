"""The beam against NIST's values, the IEC's beam qualities, and slabs computed by hand."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from medi2i.drr.spectrum import (
    Spectrum,
    SpectrumConfig,
    make_spectrum,
    mu_bone_per_mm,
    mu_water_per_mm,
    photon_fluence,
    polyenergetic_attenuation,
)

# mass energy-absorption of dry air in cm²/g (NISTIR 5632, Table 4)
AIR_KEV = (10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0)
AIR = (4.742, 1.334, 0.5389, 0.1537, 0.06833, 0.04098, 0.03041, 0.02407, 0.02325, 0.02496)


def lengths(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float32)


def test_coefficients_are_the_tables_at_its_energies():
    assert mu_water_per_mm(60.0)[0] == pytest.approx(0.02059)
    assert mu_bone_per_mm(100.0)[0] == pytest.approx(0.1855 * 1.92 / 10)
    # halfway in log-log between 60 and 80 keV
    assert mu_water_per_mm(math.sqrt(4800))[0] == pytest.approx(math.sqrt(0.02059 * 0.01837))


def test_two_energies_behind_a_slab_are_the_mean_of_their_transmissions():
    found = polyenergetic_attenuation(lengths(100.0), lengths(20.0), Spectrum((60.0, 80.0), (0.25, 0.75)))
    soft = 0.02059 * 100 + 0.3148 * 1.92 / 10 * 20
    hard = 0.01837 * 100 + 0.2229 * 1.92 / 10 * 20
    expected = -math.log(0.25 * math.exp(-soft) + 0.75 * math.exp(-hard))
    assert_close(found, lengths(expected))


def test_one_energy_gives_attenuation_times_length():
    found = polyenergetic_attenuation(lengths(0.0, 300.0), lengths(0.0, 10.0), Spectrum((100.0,), (1.0,)))
    assert_close(found, lengths(0.0, 0.01707 * 300 + 0.035616 * 10))


def test_the_beam_hardens_and_never_overflows():
    water_mm = lengths(10.0, 50.0, 100.0, 200.0, 400.0, 20000.0)
    spectrum = make_spectrum(SpectrumConfig(kvp=100.0))
    per_mm = polyenergetic_attenuation(water_mm, torch.zeros_like(water_mm), spectrum) / water_mm
    assert (per_mm.diff() < 0).all()
    # in the end only the hardest energy is left
    assert per_mm[0, -1] == pytest.approx(float(mu_water_per_mm(spectrum.energies_kev[-1])[0]), rel=1e-2)


def test_bone_stands_out_more_at_a_lower_voltage():
    contrast = []
    for kvp in (60.0, 120.0):
        spectrum = make_spectrum(SpectrumConfig(kvp=kvp))
        values = polyenergetic_attenuation(lengths(150.0, 150.0), lengths(0.0, 10.0), spectrum)
        contrast.append(float(values[0, 1] - values[0, 0]))
    assert contrast[0] > 1.3 * contrast[1]


@pytest.mark.parametrize("kvp", [60.0, 90.0, 125.0])
def test_four_energies_stand_for_all(kvp):
    water_mm, bone_mm = lengths(50, 100, 150, 250, 350, 150), lengths(0, 0, 0, 0, 0, 20)
    few = polyenergetic_attenuation(water_mm, bone_mm, make_spectrum(SpectrumConfig(kvp=kvp)))
    many = polyenergetic_attenuation(water_mm, bone_mm, make_spectrum(SpectrumConfig(kvp=kvp, bins=12)))
    assert_close(few, many, rtol=0.012, atol=0)


@pytest.mark.parametrize("bins", [1, 3, 5])
def test_weights_share_out_the_signal_over_rising_energies(bins):
    spectrum = make_spectrum(SpectrumConfig(kvp=80.0, bins=bins))
    assert sum(spectrum.weights) == pytest.approx(1)
    assert list(spectrum.energies_kev) == sorted(set(spectrum.energies_kev))
    assert len(spectrum.weights) == bins
    assert spectrum.energies_kev[-1] < 80


@pytest.mark.parametrize(
    ("kvp", "filtration_mm_al", "per_mm2_ugy"),
    [(70.0, 23.5, 30174), (90.0, 32.5, 32362), (120.0, 42.5, 31077)],
)
def test_quanta_per_air_kerma_are_the_standards(kvp, filtration_mm_al, per_mm2_ugy):
    """The tube's 2.5 mm and the added aluminium of RQA 5, 7 and 9; Kramers' law is good to some 5 %."""
    energies_kev, fluence = photon_fluence(kvp, filtration_mm_al)
    air = np.exp(np.interp(np.log(energies_kev), np.log(AIR_KEV), np.log(AIR)))
    gray_mm2 = np.sum(fluence * energies_kev * 1.602e-16 * air * 0.1) / fluence.sum() * 1e6
    assert 1e-6 / gray_mm2 == pytest.approx(per_mm2_ugy, rel=0.06)
