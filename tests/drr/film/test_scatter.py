import pytest
import torch
from torch.testing import assert_close

from medi2i.drr.film.scatter import GridConfig, ScatterConfig, estimate_scatter, grid_lines, pass_grid

SPACING_MM = (2.0, 2.5)


def chest() -> tuple[torch.Tensor, torch.Tensor]:
    """Primary and attenuation: a thin half, a thick half, open beam below."""
    attenuation = torch.full((96, 80), 1.5)
    attenuation[:, 40:] = 4.0
    attenuation[80:] = 0.0
    return torch.exp(-attenuation), attenuation


@pytest.mark.parametrize("fraction", [0.2, 0.55, 0.8])
def test_the_scatter_fraction_is_the_configured_one_over_the_counted_field(fraction):
    primary, attenuation = chest()
    counted = attenuation > 0.1
    counted[:10] = False
    scatter = estimate_scatter(
        primary, attenuation, ScatterConfig(fraction=fraction), counted=counted, spacing_mm=SPACING_MM
    )
    found = scatter[counted].sum() / (scatter[counted].sum() + primary[counted].sum())
    assert float(found) == pytest.approx(fraction, abs=1e-4)


def test_the_grid_changes_the_fraction_by_its_selectivity():
    primary, attenuation = chest()
    scatter = estimate_scatter(
        primary, attenuation, ScatterConfig(fraction=0.6), counted=attenuation > 0, spacing_mm=SPACING_MM
    )
    grid = GridConfig(primary_transmission=0.7, scatter_transmission=0.1)
    behind = pass_grid(primary, scatter, grid)
    assert_close(behind, 0.7 * primary + 0.1 * scatter)
    field = attenuation > 0
    # 0.6 * 0.1 / (0.6 * 0.1 + 0.4 * 0.7) = 0.17647
    found = 1 - 0.7 * primary[field].sum() / behind[field].sum()
    assert float(found) == pytest.approx(0.17647, abs=1e-3)
    assert_close(pass_grid(primary, scatter, None), primary + scatter)


def test_a_homogeneous_slab_scatters_evenly():
    attenuation = torch.full((40, 30), 2.0)
    primary = torch.exp(-attenuation)
    scatter = estimate_scatter(
        primary,
        attenuation,
        ScatterConfig(fraction=0.5),
        counted=torch.ones(40, 30, dtype=torch.bool),
        spacing_mm=SPACING_MM,
    )
    assert_close(scatter, primary)


def test_thicker_regions_scatter_more_per_primary():
    """Far from the edge between them, scatter over primary is proportional to t ** b: here 4 / 1.5."""
    attenuation = torch.full((8, 400), 1.5)
    attenuation[:, 200:] = 4.0
    primary = torch.exp(-attenuation)
    scatter = estimate_scatter(
        primary,
        attenuation,
        ScatterConfig(narrow_sigma_mm=2.0, wide_sigma_mm=5.0),
        counted=torch.ones(8, 400, dtype=torch.bool),
        spacing_mm=(1.0, 1.0),
    )
    per_primary = scatter / primary
    assert float(per_primary[4, 380] / per_primary[4, 20]) == pytest.approx(4 / 1.5, rel=1e-4)


def test_air_scatters_nothing():
    scatter = estimate_scatter(
        torch.ones(16, 16),
        torch.zeros(16, 16),
        ScatterConfig(fraction=0.7, thickness_exponent=0.0),
        counted=torch.ones(16, 16, dtype=torch.bool),
        spacing_mm=SPACING_MM,
    )
    assert scatter.abs().max() == 0


@pytest.mark.parametrize(("across", "axis"), [(False, 1), (True, 0)])
def test_strips_finer_than_two_pixels_appear_at_the_aliased_frequency(across, axis):
    config = GridConfig(lines_per_mm=4.3, line_modulation=0.02, across=across)
    lines = grid_lines((100, 100), config, spacing_mm=(0.2, 0.2), phase=torch.tensor([[0.4]]))
    spectrum = torch.fft.rfft(lines.select(1 - axis, 7) - 1).abs()
    # 5 samples/mm fold 4.3 to 0.7 cycles/mm: bin 0.7 * 20 mm = 14 of amplitude 0.02 * 100 / 2
    assert int(spectrum.argmax()) == 14
    assert float(spectrum[14]) == pytest.approx(1.0, rel=1e-2)
    assert_close(lines.std(1 - axis), torch.zeros(100), atol=1e-6, rtol=0)
