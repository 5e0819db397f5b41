import math

import pytest
import torch
from torch.testing import assert_close

from medi2i.drr.film import ExposureConfig, FilmConfig, SharpnessConfig
from medi2i.drr.film.detector import add_quantum_noise, quanta_per_mm2_ugy, read_out, scale_to_kerma
from medi2i.drr.film.rendering import detect
from medi2i.drr.spectrum import SpectrumConfig

SPACING_MM = (0.3, 0.4)
POINT = SharpnessConfig(focal_spot_mm=0.0, mtf50_per_mm=1e6, aperture_mm=(0.0, 0.0))


def relative_noise(kerma_ugy: float) -> float:
    config = FilmConfig(
        spectrum=SpectrumConfig(kvp=70.0),
        sharpness=POINT,
        exposure=ExposureConfig(electronic_noise_ugy=0.0, detective_efficiency=0.5, saturation_ugy=1e3),
    )
    normal = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(3))
    read = detect(torch.full((256, 256), kerma_ugy), config, normal, spacing_mm=SPACING_MM, magnification=1.1)
    return float(read.std() / read.mean())


def test_doubling_the_exposure_divides_the_relative_noise_by_the_root_of_two():
    assert relative_noise(2.0) / relative_noise(4.0) == pytest.approx(math.sqrt(2), rel=0.005)


def test_the_noise_is_that_of_the_standards_quanta():
    # RQA 5: 30174 quanta per mm² and µGy, half of them count, 0.12 mm² a pixel
    assert relative_noise(2.0) == pytest.approx(1 / math.sqrt(30174 * 0.5 * 0.12 * 2.0), rel=0.02)


def test_quanta_are_interpolated_between_beam_qualities():
    assert quanta_per_mm2_ugy(80.0) == pytest.approx((30174 + 32362) / 2)
    assert quanta_per_mm2_ugy(125.0) == pytest.approx(31077)


def test_one_quantum_number_by_hand():
    noisy = add_quantum_noise(torch.tensor([4.0]), torch.tensor([-2.0]), quanta_per_ugy=100.0)
    assert_close(noisy, torch.tensor([4.0 - 2 * 0.2]))


@pytest.mark.parametrize("through", [True, False])
def test_noise_is_blurred_as_the_detector_does_or_is_white(through):
    """Noise power over that of low frequencies is the squared MTF, or 1."""
    config = FilmConfig(
        sharpness=SharpnessConfig(
            focal_spot_mm=0.0, mtf="gaussian", mtf50_per_mm=1.0, aperture_mm=(0.0, 0.0)
        ),
        exposure=ExposureConfig(electronic_noise_ugy=0.0, noise_through_detector=through),
    )
    normal = torch.randn(2, 24, 256, 256, generator=torch.Generator().manual_seed(5))
    read = detect(torch.full((24, 256, 256), 3.0), config, normal, spacing_mm=(0.25, 0.25), magnification=1.0)
    power = torch.fft.rfft(read - read.mean(), dim=-1).abs().square().mean((0, 1))
    # bins are 1 / 64 mm wide; rows are summed over, which is the same factor for both
    ratio = float(power[60:69].mean() / power[1:10].mean())
    assert ratio == pytest.approx(0.25 if through else 1.0, rel=0.1)


def test_electronic_noise_is_added_and_the_converter_clips():
    config = ExposureConfig(electronic_noise_ugy=0.1, saturation_ugy=10.0)
    read = read_out(torch.tensor([2.0, 50.0, 0.05]), torch.tensor([3.0, 0.0, -1.0]), config)
    assert_close(read, torch.tensor([2.3, 10.0, 10 / 2**14]))


def test_the_chambers_see_the_stated_air_kerma():
    intensity = torch.rand(40, 32, generator=torch.Generator().manual_seed(0)) + 0.1
    chambers = torch.ones(40, 32, dtype=torch.bool)
    chambers[:20] = False
    kerma = scale_to_kerma(intensity, 2.5, chambers=chambers)
    assert float(kerma[20:30, 8:24].mean()) == pytest.approx(2.5, rel=1e-5)
    assert_close(kerma / intensity, (kerma / intensity)[0, 0].expand(40, 32))
    outside = torch.zeros(40, 32, dtype=torch.bool)
    outside[0, 0] = True
    assert float(scale_to_kerma(intensity, 2.5, chambers=outside)[0, 0]) == pytest.approx(2.5)
    nowhere = torch.zeros(40, 32, dtype=torch.bool)
    assert float(scale_to_kerma(intensity, 2.5, chambers=nowhere).mean()) == pytest.approx(2.5)
