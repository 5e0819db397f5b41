"""Each step of the film against a value computed by hand."""

import math

import numpy as np
import pytest

from medi2i.drr.film import (
    FilmConfig,
    add_scatter,
    apply_tone,
    collimate,
    compress_latitude,
    expose,
    render_film,
)

RAMP = np.linspace(0.0, 4.0, 64)[None, :].repeat(64, axis=0)
CLEAN = FilmConfig(
    heel_effect=0.0,
    scatter_fraction=0.0,
    blur_px=0.0,
    quanta=1e12,
    electronic_noise=0.0,
    latitude_compression=0.0,
    detail_gain=1.0,
    exposure_variation=0.0,
    tone_variation=0.0,
)


def test_exposure_follows_beer_lambert_and_the_heel_weakens_the_first_row():
    primary = expose(np.full((3, 2), 2.0), 0.5, 0.1)
    np.testing.assert_allclose(primary[:, 0], math.exp(-1.0) * np.array([0.9, 0.95, 1.0]))


def test_scatter_keeps_even_light_and_fills_shadows():
    np.testing.assert_allclose(add_scatter(np.full((32, 32), 0.4), 0.5, 0.1), 0.4)
    shadow = np.ones((64, 64))
    shadow[30:34, 30:34] = 0.0
    # the middle of a shadow much narrower than the blur receives nearly all of its neighbours' scatter
    assert add_scatter(shadow, 0.3, 0.25)[32, 32] == pytest.approx(0.3, abs=0.01)


def test_tone_curve_is_the_logistic_between_the_percentiles():
    film = apply_tone(RAMP, 0.5, 6.0)
    low, high = np.percentile(RAMP, [1, 99])
    x = (RAMP[0, 40] - low) / (high - low)
    logistic = lambda z: 1 / (1 + math.exp(-z))  # noqa: E731
    expected = (logistic(6 * (x - 0.5)) - logistic(-3)) / (logistic(3) - logistic(-3))
    assert film[0, 40] == pytest.approx(expected, abs=1e-12)
    assert film.min() == 0.0
    assert film.max() == 1.0


def test_a_constant_image_has_no_tone():
    assert not apply_tone(np.full((4, 4), 3.0), 0.5, 6.0).any()


def test_latitude_compression_halves_coarse_and_keeps_fine_contrast():
    step = np.zeros((64, 64))
    step[:, 32:] = 2.0
    compressed = compress_latitude(step, 0.5, 0.02, 1.0)
    assert compressed[32, 60] - compressed[32, 4] == pytest.approx(1.0, abs=1e-6)
    # across the edge the blur's two neighbours still differ by more than half the step
    assert compressed[32, 32] - compressed[32, 31] > 1.2


def test_film_without_effects_is_the_tone_curve_of_the_line_integral():
    film = render_film(RAMP, CLEAN, np.random.default_rng(0))
    expected = apply_tone(CLEAN.beam_scale * RAMP, CLEAN.tone_center, CLEAN.tone_slope)
    np.testing.assert_allclose(film, expected, atol=1e-3)


def test_bone_is_bright_and_values_stay_between_zero_and_one():
    film = render_film(RAMP, FilmConfig(), np.random.default_rng(3))
    assert film.dtype == np.float32
    assert film.min() >= 0.0
    assert film.max() <= 1.0
    assert film[:, 50:].mean() > film[:, :14].mean() + 0.3


def test_same_generator_same_film_and_another_seed_other_noise():
    config = FilmConfig(exposure_variation=0.0, tone_variation=0.0)
    first, again, other = (render_film(RAMP, config, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert 0.0 < np.abs(first - other).mean() < 0.05


def test_noise_grows_where_less_light_arrives():
    config = CLEAN.model_copy(update={"quanta": 5_000.0})
    flat = RAMP.copy()
    clean, noisy = (render_film(flat, each, np.random.default_rng(0)) for each in (CLEAN, config))
    # attenuation noise is 1/sqrt(quanta exp(-L)): compare where the tone curve is equally steep (x and 1 - x)
    slope = np.gradient(clean[0])
    deviation = (noisy - clean).std(axis=0) / slope
    expected = math.exp(CLEAN.beam_scale * (RAMP[0, 48] - RAMP[0, 16]) / 2)
    assert deviation[46:51].mean() / deviation[14:19].mean() == pytest.approx(expected, rel=0.3)


def test_collimation_leaves_a_white_border_of_the_given_widths():
    framed = collimate(np.zeros((10, 20)), np.array([0.1, 0.2, 0.1, 0.0]))
    assert framed[0].all()
    assert framed[8:].all()
    assert framed[:, :2].all()
    assert not framed[1:8, 2:].any()


def test_switching_the_border_on_leaves_the_inside_alone():
    config = FilmConfig(collimation_probability=1.0, collimation_fraction=0.1)
    with_border = render_film(RAMP, config, np.random.default_rng(5))
    without = render_film(RAMP, FilmConfig(), np.random.default_rng(5))
    np.testing.assert_array_equal(with_border[8:-8, 8:-8], without[8:-8, 8:-8])
    assert (with_border != without).any()
