import math

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from medi2i.drr.film import DisplayConfig
from medi2i.drr.film.display import compress_latitude, respond, scale_to_range

ALL = torch.ones(64, 64, dtype=torch.bool)
PLAIN = DisplayConfig(
    latitude_compression=0.0, band_sigmas_mm=(2.0, 6.0), band_gains=(1.0, 1.0), edge_limit=1e9
)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("logarithm", [0.0, -math.log(4), math.log(2)]),
        ("square_root", [0.0, -1.0, 1 - math.sqrt(0.5)]),
        ("linear", [0.0, -3.0, 0.5]),
    ],
)
def test_the_response_is_bone_bright_and_0_at_the_reference(response, expected):
    found = respond(torch.tensor([2.0, 8.0, 1.0]), 2.0, DisplayConfig(response=response))
    assert_close(found, torch.tensor(expected))


def test_without_gains_and_compression_nothing_changes():
    image = noise(64, 64)
    assert_close(compress_latitude(image, PLAIN, counted=ALL, spacing_mm=(1.0, 1.0)), image)


def test_full_compression_without_detail_leaves_the_mean():
    image = noise(64, 64)
    config = PLAIN.model_copy(update={"latitude_compression": 1.0, "band_gains": (0.0, 0.0)})
    counted = ALL.clone()
    counted[:, 32:] = False
    found = compress_latitude(image, config, counted=counted, spacing_mm=(1.0, 1.0))
    assert_close(found, image[:, :32].mean().expand(64, 64))


def test_a_wave_is_amplified_by_its_bands_gains():
    """A Gaussian of sigma s passes exp(-2 (π s f)²) of a wave of frequency f; bands share the rest."""
    x_mm = torch.arange(240) * 0.5
    wave = 0.1 * torch.cos(2 * math.pi * x_mm / 15)[None, :].expand(240, 240)
    config = DisplayConfig(
        latitude_compression=0.6, band_sigmas_mm=(2.0, 6.0), band_gains=(3.0, 2.0), edge_limit=1e9
    )
    found = compress_latitude(wave, config, counted=wave < 9, spacing_mm=(0.5, 0.5))
    two, six = (math.exp(-2 * (math.pi * sigma / 15) ** 2) for sigma in (2.0, 6.0))
    gain = 3.0 * (1 - two) + 2.0 * (two - six) + 0.4 * six
    assert_close(found[120, 60:180], gain * wave[120, 60:180], atol=0.004, rtol=0)


def test_the_edge_limit_halves_the_gain_of_strong_detail():
    image = torch.zeros(64, 64)
    image[32, 32] = 2.0
    config = PLAIN.model_copy(
        update={"edge_limit": 2.0, "band_gains": (1.0, 0.0), "latitude_compression": 1.0}
    )
    found = compress_latitude(image, config, counted=ALL, spacing_mm=(1.0, 1.0))
    band = 2.0 - 2.0 / (2 * math.pi * 4.0)  # the point less its Gaussian of sigma 2
    assert float(found[32, 32]) == pytest.approx(band / (1 + band / 2) + 2 / 4096, rel=0.01)


def test_the_range_is_that_of_the_counted_pixels():
    image = torch.arange(101.0).repeat(101, 1)
    image[50:] = 1000.0
    counted = image < 999
    config = DisplayConfig(lower_percentile=10.0, upper_percentile=90.0, reserve=0.0, middle=None)
    found = scale_to_range(image, config, counted=counted)
    assert_close(found[0, [5, 10, 50, 90, 95]], torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]))
    assert found[60, 60] == 1


def test_what_lies_beyond_the_range_keeps_its_gradation():
    """A reserve of 0.1: percentiles at 0.1 and 0.9; d ranges beyond, 0.1 exp(-8 d) is left to the end."""
    image = torch.arange(101.0).repeat(101, 1)
    config = DisplayConfig(lower_percentile=10.0, upper_percentile=90.0, reserve=0.1, middle=None)
    found = scale_to_range(image, config, counted=image >= 0)[0]
    assert_close(found[[10, 50, 90]], torch.tensor([0.1, 0.5, 0.9]))
    fall = 0.1 * math.exp(-8 * 8 / 80)
    assert_close(found[[2, 98]], torch.tensor([fall, 1 - fall]))
    assert (found.diff() > 0).all()
    # the slope goes on over the percentile
    assert float(found[91] - found[90]) == pytest.approx(float(found[90] - found[89]), rel=0.06)


@pytest.mark.parametrize("middle", [0.4, 0.5, 0.7])
def test_the_median_of_a_skewed_patient_gets_the_stated_contrast(middle):
    """Two thirds of the pixels are dense: without it their contrast is 0.75."""
    image = torch.zeros(60, 60)
    image[20:] = 3.0
    image[40:, 30:] = 4.0
    config = DisplayConfig(lower_percentile=0.0, upper_percentile=100.0, reserve=0.0, middle=None)
    everywhere = image >= 0
    assert float(scale_to_range(image, config, counted=everywhere)[30, 30]) == pytest.approx(0.75)
    config = config.model_copy(update={"middle": middle})
    found = scale_to_range(image, config, counted=everywhere)
    assert float(found[30, 30]) == pytest.approx(middle)
    assert (float(found[0, 0]), float(found[50, 50])) == (0.0, pytest.approx(1.0))
    assert found.max() <= 1
    # k x / (1 + (k - 1) x) with k = middle / (1 - middle) / 3, at x = 0.25
    odds = middle / (1 - middle) / 3
    image[0, 0] = 1.0
    found = scale_to_range(image, config, counted=everywhere)
    assert float(found[0, 0]) == pytest.approx(odds * 0.25 / (1 + (odds - 1) * 0.25))


def test_the_median_is_moved_by_a_factor_of_5_on_its_odds_at_most():
    image = torch.zeros(64, 64)
    image[:4] = 1.0
    image[4:60] = 0.9
    config = DisplayConfig(lower_percentile=0.0, upper_percentile=100.0, reserve=0.0, middle=0.1)
    # odds of 9 : 1 become 9 : 5
    assert float(scale_to_range(image, config, counted=ALL)[30, 0]) == pytest.approx(9 / 14, rel=1e-4)


def test_images_of_a_batch_have_ranges_of_their_own_and_flat_ones_become_0():
    image = torch.stack([noise(64, 64), 100 * noise(64, 64), torch.full((64, 64), 7.0)])
    config = DisplayConfig(lower_percentile=0.0, upper_percentile=100.0)
    found = scale_to_range(image, config, counted=ALL.expand(3, 64, 64))
    assert_close(found[0], found[1])
    assert found[2].max() == 0
    nothing = scale_to_range(image, config, counted=~ALL.expand(3, 64, 64))
    assert_close(nothing, found)


@pytest.mark.parametrize(
    ("sigmas", "gains"), [((1.0, 5.0), (1.0,)), ((5.0, 1.0), (1.0, 1.0)), ((2.0, 2.0), (1.0, 1.0))]
)
def test_bands_that_contradict_themselves_are_refused(sigmas, gains):
    with pytest.raises(ValidationError, match="band_sigmas_mm"):
        DisplayConfig(band_sigmas_mm=sigmas, band_gains=gains)
