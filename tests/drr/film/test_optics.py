import math

import pytest
import torch
from torch.testing import assert_close

from medi2i.drr.film import FilmConfig, SharpnessConfig
from medi2i.drr.film.detector import ExposureConfig
from medi2i.drr.film.optics import detector_mtf, focal_spot_mtf
from medi2i.drr.film.rendering import detect
from medi2i.drr.film.smoothing import fill, smooth

PITCH_MM = 0.2


def measured_modulation(sharpness: SharpnessConfig, frequency: float, *, rows: bool) -> float:
    """Modulation of a wave behind the detector, over its modulation before: 80 pixels hold whole periods."""
    x_mm = torch.arange(160) * PITCH_MM
    wave = 1 + 0.2 * torch.cos(2 * math.pi * frequency * x_mm + 0.3)
    kerma = (wave[:, None] if rows else wave[None, :]).expand(160, 160)
    config = FilmConfig(sharpness=sharpness, exposure=ExposureConfig(electronic_noise_ugy=0.0))
    read = detect(
        kerma, config, torch.zeros(2, 160, 160), spacing_mm=(PITCH_MM, PITCH_MM), magnification=1.25
    )
    line = (read[40:120, 80] if rows else read[80, 40:120]).double()
    phase = 2 * math.pi * frequency * x_mm[40:120].double()
    amplitude = math.hypot(float((line * torch.cos(phase)).mean()), float((line * torch.sin(phase)).mean()))
    return 2 * amplitude / float(line.mean()) / 0.2


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("frequency", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("shape", ["lorentzian", "gaussian"])
def test_the_measured_mtf_is_the_configured_one(shape, frequency, rows):
    sharpness = SharpnessConfig(focal_spot_mm=1.2, mtf=shape, mtf50_per_mm=1.3)
    light = 2 ** -((frequency / 1.3) ** 2) if shape == "gaussian" else 1 / (1 + (frequency / 1.3) ** 2)
    # the penumbra is 1.2 mm * (1.25 - 1), the aperture a pixel
    spot, pixel = (math.sin(math.pi * frequency * a) / (math.pi * frequency * a) for a in (0.3, PITCH_MM))
    assert measured_modulation(sharpness, frequency, rows=rows) == pytest.approx(
        light * spot * pixel, rel=0.01
    )


def test_half_the_contrast_is_left_at_mtf50_without_aperture():
    one, none = torch.tensor([1.1]), torch.tensor([0.0])
    for shape in ("lorentzian", "gaussian"):
        sharpness = SharpnessConfig(mtf=shape, mtf50_per_mm=1.1, aperture_mm=(0.0, 0.0))
        assert_close(detector_mtf(one, none, sharpness, (0.1, 0.1)), torch.tensor([0.5]))
        assert_close(detector_mtf(none, one, sharpness, (0.1, 0.1)), torch.tensor([0.5]))


def test_a_contact_image_has_no_penumbra():
    f = torch.tensor([0.0, 2.0])
    assert_close(focal_spot_mtf(f, f, 2.0, 1.0), torch.ones(2))
    # the first zero is at one over the penumbra, 1.5 mm * 0.2 = 0.3 mm
    assert float(focal_spot_mtf(torch.tensor(1 / 0.3), torch.tensor(0.0), 1.5, 1.2)) == pytest.approx(
        0, abs=1e-6
    )


@pytest.mark.parametrize("sigma_px", [(0.7, 0.7), (3.0, 9.0), (17.0, 5.5)])
def test_smoothing_spreads_a_point_by_its_sigma_and_does_not_move_it(sigma_px):
    image = torch.zeros(151, 163)
    image[77, 83] = 1.0
    spread = smooth(image, sigma_px).double()
    assert float(spread.sum()) == pytest.approx(1, abs=1e-3)
    for axis, (place, sigma) in enumerate(zip((77, 83), sigma_px, strict=True)):
        profile, position = spread.sum(1 - axis), torch.arange(image.shape[axis], dtype=torch.float64)
        mean = float((profile * position).sum() / profile.sum())
        variance = float((profile * (position - mean) ** 2).sum() / profile.sum())
        # on the coarse grid a single point may lie off its block's middle: less than a tenth of sigma
        assert mean == pytest.approx(place, abs=0.02 if sigma < 2 else 0.25 * sigma)
        assert math.sqrt(variance) == pytest.approx(sigma, rel=0.04)


def test_smoothing_leaves_a_ramp_where_it_is():
    ramp = torch.arange(200.0)[None, :].expand(90, 200)
    assert_close(smooth(ramp, (8.0, 8.0))[:, 60:140], ramp[:, 60:140], atol=0.02, rtol=0)


def test_filling_continues_what_is_known():
    image = torch.full((40, 40), 3.0)
    known = torch.ones(40, 40, dtype=torch.bool)
    known[:, 25:] = False
    image[:, 25:] = 99.0
    assert_close(fill(image, known, 3.0), torch.full((40, 40), 3.0))
    assert fill(image, torch.zeros_like(known), 3.0).abs().max() == 0
