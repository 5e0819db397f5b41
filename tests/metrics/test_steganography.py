import math

import numpy as np
import pytest
from scipy import ndimage

from medi2i.errors import UsageError
from medi2i.metrics.steganography import SteganographyConfig, steganography_gap

SIZE = 96
CHECKERBOARD = np.indices((SIZE, SIZE)).sum(axis=0) % 2 * 2 - 1


def anatomy(seed: int = 0) -> np.ndarray:
    rough = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(SIZE, SIZE)), 3)
    return 0.9 * rough / np.abs(rough).max()


def measure(image: np.ndarray, translated: np.ndarray, back, **options):
    return steganography_gap(image, translated, back, rng=np.random.default_rng(0), **options)


def test_an_exact_inverse_of_a_gain_hands_disturbances_on_as_they_came():
    image = anatomy()
    found = measure(image, 0.3 * image + 0.2, lambda translated: (translated - 0.2) / 0.3)
    assert found.cycle_error == pytest.approx(0, abs=1e-12)
    assert list(found.amplification.values()) == pytest.approx([1, 1, 1], abs=0.02)
    # mean |normal| is 0.798 of its deviation
    low, high = np.percentile(image, [0.5, 99.5])
    assert found.gap["noise"] == pytest.approx(0.02 * (high - low) * math.sqrt(2 / math.pi), rel=0.05)


def test_an_inversion_is_no_suspect_either():
    found = measure(anatomy(), -anatomy(), np.negative)
    assert found.worst == pytest.approx(1, abs=0.02)


def test_a_code_in_high_frequencies_is_exposed_by_every_disturbance():
    image, other = anatomy(), anatomy(1)
    translated = other + 0.01 * CHECKERBOARD * image

    def back(disturbed: np.ndarray) -> np.ndarray:
        return (disturbed - other) * CHECKERBOARD / 0.01

    found = measure(image, translated, back)
    assert found.cycle_error == pytest.approx(0, abs=1e-12)
    assert min(found.amplification.values()) > 5
    # the noise is magnified 100 times, and both images' ranges are much alike
    assert found.amplification["noise"] == pytest.approx(100, rel=0.3)
    # the eye sees nothing of it
    assert np.abs(translated - other).max() < 0.01


def test_a_way_back_that_was_never_exact_has_less_to_lose():
    image = anatomy() + 0.05 * CHECKERBOARD
    honest = measure(image, 0.5 * ndimage.gaussian_filter(image, 2), lambda translated: 2 * translated)
    assert honest.cycle_error > 0.04
    assert honest.worst < 1


def test_a_way_back_that_does_not_look_has_no_gap():
    image = anatomy()
    found = measure(image, anatomy(1), lambda translated: np.zeros_like(translated))
    assert list(found.gap.values()) == [0, 0, 0]
    assert found.cycle_error == pytest.approx(np.abs(image).mean())


def test_stronger_disturbances_leave_larger_gaps():
    image = anatomy()
    weak = measure(
        image, image, np.copy, config=SteganographyConfig(blur_px=0.5, noise=0.01, jpeg_quality=95)
    )
    strong = measure(image, image, np.copy, config=SteganographyConfig(blur_px=3, noise=0.1, jpeg_quality=10))
    for name in ("blur", "noise", "jpeg"):
        assert strong.gap[name] > 2 * weak.gap[name] > 0


def test_only_valid_pixels_count_and_none_of_the_others_is_blurred_in():
    image = anatomy()
    valid = np.zeros(image.shape, dtype=bool)
    valid[:, :60] = True
    found = measure(
        np.where(valid, image, np.nan), np.where(valid, image, 9), lambda translated: translated, valid=valid
    )
    assert found.cycle_error == 0
    assert found.worst == pytest.approx(1)
    beside = measure(np.where(valid, image, 5), np.where(valid, image, -7), np.copy, valid=valid)
    assert beside == found


def test_a_way_back_may_write_into_what_it_is_given():
    image = anatomy()
    translated = 0.5 * image
    kept = translated.copy()

    def back(disturbed: np.ndarray) -> np.ndarray:
        disturbed *= 2
        return disturbed

    first, second = measure(image, translated, back), measure(image, translated, back)
    assert first == second
    assert first.worst == pytest.approx(1, abs=0.02)
    assert np.array_equal(translated, kept)


def test_what_is_undefined_is_nan():
    image = anatomy()
    broken = np.where(image > 0.5, np.nan, image)
    cases = [
        (broken, image, np.copy, None),
        (image, broken, np.copy, None),
        (image, np.zeros_like(image), np.copy, None),
        (np.ones_like(image), image, np.copy, None),
        (image, image, lambda translated: np.full_like(translated, np.nan), None),
        (image, image, np.copy, np.zeros(image.shape, dtype=bool)),
    ]
    for first, second, back, valid in cases:
        found = measure(first, second, back, valid=valid)
        assert math.isnan(found.cycle_error) and math.isnan(found.worst)
        assert all(math.isnan(gap) for gap in found.gap.values())


def test_shapes_that_differ_are_refused():
    image = anatomy()
    with pytest.raises(UsageError, match="translated image"):
        measure(image, image[:-1], np.copy)
    with pytest.raises(UsageError, match="way back"):
        measure(image, image, lambda translated: translated[:-1])
    with pytest.raises(UsageError, match="valid pixels"):
        measure(image, image, np.copy, valid=np.ones((3, 3), dtype=bool))
