import math

import numpy as np
import pytest
from scipy import ndimage

from medi2i.metrics.edges import edge_displacement, find_edges


def bars(offset: int = 0, size: int = 96) -> np.ndarray:
    """Bright bar between columns 30 and 60, all rows."""
    image = np.full((size, size), -0.5)
    image[:, 30 + offset : 60 + offset] = 0.5
    return image


def disc(radius: float, size: int = 96) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size] - size / 2 + 0.5
    return np.where(np.hypot(rows, columns) < radius, 0.5, -0.5)


def test_a_bar_has_two_edges_of_one_pixel():
    edges = find_edges(bars())
    rows, columns = np.nonzero(edges)
    assert set(columns) <= {29, 30, 59, 60}
    # one edge pixel a row and side
    assert np.bincount(rows, minlength=96).tolist() == [2] * 96


def test_contrast_and_polarity_do_not_change_edges():
    image = disc(25.3)
    np.testing.assert_array_equal(find_edges(image), find_edges(-0.2 * image + 0.1))


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_a_shifted_bar_is_displaced_by_the_shift(shift: int):
    result = edge_displacement(bars(), bars(shift), spacing_mm=None)
    assert result == {"median_px": shift, "p95_px": shift}


def test_millimetres_follow_the_spacing_of_the_axis():
    across = edge_displacement(bars(), bars(2), spacing_mm=(3.0, 0.5))
    assert across == {"median_mm": 1.0, "p95_mm": 1.0}
    along = edge_displacement(bars().T, bars(2).T, spacing_mm=(3.0, 0.5))
    assert along == {"median_mm": 6.0, "p95_mm": 6.0}


def test_a_larger_disc_is_displaced_by_the_difference_of_radii():
    result = edge_displacement(disc(25), disc(29), spacing_mm=(0.5, 0.5))
    assert result["median_mm"] == pytest.approx(2, abs=0.4)
    assert result["p95_mm"] == pytest.approx(2, abs=0.5)


def test_local_changes_of_tone_displace_nothing():
    image = disc(25) + 0.1 * bars()
    field = np.linspace(0.1, 1, 96)[None]
    result = edge_displacement(image, 0.5 * image * field, spacing_mm=None)
    assert result["median_px"] == 0
    assert result["p95_px"] <= 1.5


def test_blur_and_noise_displace_by_less_than_two_pixels():
    image = disc(25)
    noisy = image + np.random.default_rng(0).normal(0, 0.1, image.shape)
    for translated in (noisy, ndimage.gaussian_filter(image, 1)):
        assert edge_displacement(image, translated, spacing_mm=None)["median_px"] <= 1


def test_the_border_of_the_valid_area_is_no_edge():
    image = np.where(np.arange(96) < 50, 0.1 * disc(25), -1.0)
    valid = np.zeros((96, 96), dtype=bool)
    valid[:, :50] = True
    _, columns = np.nonzero(find_edges(image, valid))
    # reach: 3 sigma = 4.5, rounded up, and two pixels for the differences
    assert 0 < columns.max() < 50 - 7
    other = np.where(valid, image, np.random.default_rng(0).normal(size=(96, 96)))
    np.testing.assert_array_equal(find_edges(image, valid), find_edges(other, valid))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_non_finite_translation_is_as_far_as_possible(value: float):
    broken = np.where(np.arange(96) == 40, value, bars())
    assert edge_displacement(bars(), broken, spacing_mm=(3.0, 4.0))["median_mm"] == 480
    assert math.isnan(edge_displacement(broken, bars(), spacing_mm=None)["median_px"])
    valid = np.isfinite(broken)
    assert edge_displacement(bars(), broken, valid, spacing_mm=None)["median_px"] == 0


def test_a_flat_source_is_undefined_and_a_flat_translation_is_as_far_as_possible():
    flat = np.zeros((96, 96))
    nothing = edge_displacement(flat, bars(), spacing_mm=None)
    assert all(math.isnan(value) for value in nothing.values())
    wiped_out = edge_displacement(bars(), flat, spacing_mm=(3.0, 4.0))
    assert wiped_out == {"median_mm": 480.0, "p95_mm": 480.0}
    invalid = np.zeros((96, 96), dtype=bool)
    assert math.isnan(edge_displacement(bars(), bars(), invalid, spacing_mm=None)["median_px"])
