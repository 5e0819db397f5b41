import math

import numpy as np
import pytest
from scipy import ndimage

from medi2i.metrics.structure import gradient_correlation, sanity_flags, ssim


def anatomy(seed: int = 0, size: int = 64) -> np.ndarray:
    rough = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 3)
    return np.clip(0.9 * rough / np.abs(rough).max(), -1, 1)


def test_gradient_correlation_ignores_contrast_and_sees_inversion():
    image = anatomy()
    assert gradient_correlation(image, 0.5 * image + 0.1) == pytest.approx(1)
    assert gradient_correlation(image, -image) == pytest.approx(-1)
    assert abs(gradient_correlation(image, anatomy(1))) < 0.5


def test_a_wiped_out_translation_scores_zero_and_two_flat_images_are_undefined():
    flat = np.zeros((64, 64))
    assert gradient_correlation(anatomy(), flat) == 0
    assert math.isnan(gradient_correlation(flat, flat))
    assert math.isnan(gradient_correlation(anatomy(), anatomy(), np.zeros((64, 64), dtype=bool)))


def test_structure_ignores_invalid_pixels():
    image, other = anatomy(), anatomy(1)
    valid = np.ones((64, 64), dtype=bool)
    valid[:, 30:] = False
    mixed = np.where(valid, image, other)
    assert gradient_correlation(image, mixed, valid) == pytest.approx(1)
    assert ssim(image, mixed, valid) == pytest.approx(1, abs=1e-5)
    assert ssim(image, mixed) < 0.8


def test_tone_noise_and_blur_raise_no_flag():
    image = anatomy()
    noisy = image + np.random.default_rng(2).normal(0, 0.1, image.shape)
    gamma = 2 * ((image + 1) / 2) ** 2 - 1
    for translated in (image, noisy, gamma, ndimage.gaussian_filter(image, 2), 0.1 * image):
        assert sanity_flags(image, translated) == []


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda image: -image, ["inverted"]),
        (lambda image: -(((image + 1) / 2) ** 0.5), ["inverted"]),
        (lambda image: np.full_like(image, 0.2), ["constant"]),
        (lambda image: np.full_like(image, -1.0), ["constant", "empty"]),
        (
            lambda image: np.where(np.arange(image.size).reshape(image.shape) < 40, image, 1.0),
            ["constant", "empty"],
        ),
        (lambda image: np.where(np.arange(image.size).reshape(image.shape) < 40, 1.0, 0.2), ["constant"]),
        (lambda image: np.where(image > -0.5, 0.99 + image / 100, 0.97), ["empty"]),
        (lambda image: np.where(image > 0.5, np.nan, image), ["nonfinite"]),
        (lambda image: np.where(image > 0.5, np.inf, image), ["nonfinite"]),
    ],
    ids=[
        "inverted",
        "inverted tone",
        "constant",
        "black",
        "white but 1 %",
        "marker on nothing",
        "nearly white",
        "nan",
        "inf",
    ],
)
def test_each_failure_raises_its_flag(make, expected: list[str]):
    image = anatomy()
    assert sanity_flags(image, make(image)) == expected


def test_only_valid_pixels_are_judged():
    image = anatomy()
    valid = np.zeros((64, 64), dtype=bool)
    valid[:, :40] = True
    assert sanity_flags(image, np.where(valid, image, np.nan), valid) == []
    assert sanity_flags(image, np.where(valid, 0.0, image), valid) == ["constant"]
    assert sanity_flags(image, image, np.zeros((64, 64), dtype=bool)) == []


def test_a_constant_source_cannot_be_inverted():
    assert sanity_flags(np.zeros((64, 64)), anatomy()) == []
