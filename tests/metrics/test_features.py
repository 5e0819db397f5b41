import math

import numpy as np
import pytest

from medi2i.metrics.features import (
    FEATURE_COUNT,
    FEATURE_GROUPS,
    FeatureScaler,
    distribution_features,
    is_defined,
    largest_centred_rectangle,
)


def group(features: np.ndarray, name: str) -> np.ndarray:
    return features[..., FEATURE_GROUPS[name]]


def test_a_constant_image_has_one_tone_no_gradient_and_no_power():
    features = distribution_features(np.zeros((32, 32)), feature_size=32)
    assert features.shape == (FEATURE_COUNT,)
    assert group(features, "intensity")[16] == 1
    assert group(features, "gradient")[0] == 1
    np.testing.assert_allclose(group(features, "spectrum"), -8, atol=1e-6)


def test_intensity_shares_are_of_valid_pixels():
    image = np.full((20, 20), -1.0)
    image[:5] = 1
    valid = np.ones((20, 20), dtype=bool)
    valid[15:] = False
    shares = group(distribution_features(image, valid, feature_size=20), "intensity")
    assert shares[0] == pytest.approx(2 / 3)
    assert shares[31] == pytest.approx(1 / 3)


def test_a_ramp_has_one_gradient():
    # 10^-1.9 a pixel: (4 - 1.9) / 4 * 32 = 16.8, so bin 16
    image = np.tile(np.arange(48) * 10**-1.9 - 0.5, (48, 1))
    shares = group(distribution_features(image, feature_size=48), "gradient")
    assert shares[16] == 1


def test_a_wave_peaks_in_its_ring_and_no_gradient_lies_elsewhere():
    # 0.25 cycles a pixel: 0.25 / 0.5 * 24 = ring 12
    image = np.tile(0.5 * np.cos(np.pi / 2 * np.arange(64) + 0.3), (64, 1))
    spectrum = group(distribution_features(image, feature_size=64), "spectrum")
    assert spectrum.argmax() in (11, 12)  # the Hann window spreads one frequency over two rings
    assert np.all(spectrum[[0, 1, 2, 20, 21, 22]] < spectrum.max() - 5)


@pytest.mark.parametrize("side", [48, 96])
def test_white_noise_has_its_variance_as_power_at_any_size(side: int):
    images = np.random.default_rng(0).normal(0, 0.1, (200, side, side))
    features = np.stack([distribution_features(image, feature_size=side) for image in images])
    power = (10 ** group(features, "spectrum")).mean(axis=0)
    np.testing.assert_allclose(power[2:], 0.01, rtol=0.1)


def test_what_invalid_pixels_hold_does_not_matter():
    rng = np.random.default_rng(1)
    image = rng.uniform(-1, 1, (60, 50))
    valid = np.ones((60, 50), dtype=bool)
    valid[:7] = valid[:, 44:] = False
    other = np.where(valid, image, rng.uniform(-1, 1, (60, 50)))
    np.testing.assert_array_equal(
        distribution_features(image, valid, feature_size=40),
        distribution_features(other, valid, feature_size=40),
    )


def test_images_of_any_size_are_compared_at_one_size():
    small = np.add.outer(np.linspace(-0.9, 0.5, 64), np.linspace(0, 0.3, 48))
    large = np.kron(small, np.ones((4, 4)))
    first, second = (distribution_features(image, feature_size=64) for image in (small, large))
    assert np.abs(group(first, "intensity") - group(second, "intensity")).max() < 0.02
    assert np.abs(group(first, "spectrum")[:4] - group(second, "spectrum")[:4]).max() < 0.1


def test_blur_lowers_high_frequencies_only_and_gain_raises_all():
    noise = np.random.default_rng(0).normal(0, 0.1, (64, 64))
    blurred = (noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 0) + np.roll(noise, (1, 1), (0, 1))) / 4
    sharp, soft, strong = (
        group(distribution_features(image, feature_size=64), "spectrum")
        for image in (noise, blurred, 3 * noise)
    )
    assert np.abs(sharp - soft)[1:4].max() < 0.1
    assert (sharp - soft)[-3:].min() > 0.8
    # three times the amplitude is nine times the power
    np.testing.assert_allclose(strong - sharp, math.log10(9), atol=1e-3)


def test_without_valid_pixels_or_a_centred_rectangle_features_are_undefined():
    image = np.zeros((32, 32))
    nothing = distribution_features(image, np.zeros((32, 32), dtype=bool), feature_size=32)
    assert np.isnan(nothing).all()
    hollow = np.ones((32, 32), dtype=bool)
    hollow[15:17, 15:17] = False
    features = distribution_features(image, hollow, feature_size=32)
    assert np.isnan(group(features, "spectrum")).all()
    assert np.isfinite(group(features, "intensity")).all()
    assert is_defined(np.stack([nothing, features, np.zeros(FEATURE_COUNT)])).tolist() == [False, False, True]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_non_finite_image_has_no_features_unless_the_pixel_is_invalid(value: float):
    image = np.zeros((32, 32))
    image[0, 5] = value
    assert np.isnan(distribution_features(image, feature_size=32)).all()
    features = distribution_features(image, np.isfinite(image), feature_size=32)
    np.testing.assert_allclose(
        features, distribution_features(np.zeros((32, 32)), feature_size=32), atol=1e-6
    )


def test_the_largest_centred_rectangle_is_found():
    valid = np.ones((10, 8), dtype=bool)
    assert largest_centred_rectangle(valid) == (slice(0, 10), slice(0, 8))
    valid[0, 3] = False  # the top row is lost, and with it the bottom row: 8 x 8
    assert largest_centred_rectangle(valid) == (slice(1, 9), slice(0, 8))
    valid[:, :3] = False  # columns 3 and 4 remain
    assert largest_centred_rectangle(valid) == (slice(1, 9), slice(3, 5))
    valid[5, 4] = False
    assert largest_centred_rectangle(valid) == (slice(0, 0), slice(0, 0))


def test_the_largest_centred_rectangle_of_an_odd_image_is_found():
    valid = np.zeros((5, 7), dtype=bool)
    valid[1:4, 2:7] = True
    assert largest_centred_rectangle(valid) == (slice(1, 4), slice(2, 5))
    valid[2] = True  # 3 x 3 = 9 beats 1 x 7
    assert largest_centred_rectangle(valid) == (slice(1, 4), slice(2, 5))


def test_scaled_groups_weigh_the_same():
    rng = np.random.default_rng(0)
    features = rng.normal(3, rng.uniform(0.5, 2, FEATURE_COUNT), (400, FEATURE_COUNT))
    scaled = FeatureScaler.fit(features).transform(features)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-9)
    for name in FEATURE_GROUPS:
        # each feature has variance 1 / size of its group
        assert group(scaled, name).var(axis=0, ddof=1).sum() == pytest.approx(1)


def test_constant_features_neither_explode_nor_vanish():
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (50, FEATURE_COUNT))
    features[:, 0] = 0.25
    scaler = FeatureScaler.fit(features)
    assert np.all(scaler.transform(features)[:, 0] == 0)
    other = np.zeros((1, FEATURE_COUNT))
    other[0, 0] = 1.25
    # the spread of a constant feature is a tenth of its group's median of about 1
    assert scaler.transform(other)[0, 0] == pytest.approx(10 / math.sqrt(32), rel=0.1)


def test_a_constant_group_contributes_nothing_and_one_image_has_no_spread():
    features = np.random.default_rng(0).normal(0, 1, (50, FEATURE_COUNT))
    features[:, FEATURE_GROUPS["gradient"]] = 0.5
    scaler = FeatureScaler.fit(features)
    assert np.all(group(scaler.transform(features + 1), "gradient") == 0)
    assert np.isnan(FeatureScaler.fit(features[:1]).transform(features)).all()
