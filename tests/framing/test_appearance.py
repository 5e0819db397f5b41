import numpy as np
import pytest

from medi2i.framing.appearance import equalize, local_contrast, reduce_film

ALL = np.ones((40, 50), dtype=bool)


def test_reducing_averages_what_is_valid():
    pixels = np.array([[1.0, 3.0, 10.0, 0.0], [5.0, 7.0, 20.0, 0.0]])
    reduced, kept = reduce_film(np.kron(pixels, np.ones((20, 20))), np.ones((40, 80), dtype=bool), 2)
    np.testing.assert_allclose(reduced, [[4.0, 7.5]])
    assert kept.all()
    valid = np.ones((40, 80), dtype=bool)
    valid[:, 60:] = False  # half of the right block: its mean is of the rest, and it is not well covered
    reduced, kept = reduce_film(np.kron(pixels, np.ones((20, 20))), valid, 2)
    np.testing.assert_allclose(reduced, [[4.0, 15.0]])
    np.testing.assert_array_equal(kept, [[True, False]])


def test_blocks_may_cut_through_pixels():
    # three columns onto two: (1 * 1 + 0.5 * 4) / 1.5 = 2 and (0.5 * 4 + 1 * 7) / 1.5 = 6
    film = np.tile([1.0, 4.0, 7.0], (2, 1))
    np.testing.assert_allclose(reduce_film(film, np.ones((2, 3), dtype=bool), 2)[0], [[2.0, 6.0]])


def test_small_films_keep_their_pixels():
    pixels = np.random.default_rng(0).random((30, 20))
    np.testing.assert_allclose(reduce_film(pixels, np.ones((30, 20), dtype=bool), 64)[0], pixels)


def test_writing_is_invalid_and_smooth_bright_anatomy_is_not():
    rows, columns = np.mgrid[:96, :128]
    pixels = np.exp(-((rows - 60) ** 2 + (columns - 80) ** 2) / 800.0)
    assert reduce_film(pixels, np.ones(pixels.shape, dtype=bool), 128)[1].all()
    pixels[8:13, 10:12] = pixels[8:13, 16:18] = 1.0
    kept = reduce_film(pixels, np.ones(pixels.shape, dtype=bool), 128)[1]
    assert not kept[8:13, 10:12].any()
    assert not kept[8:13, 16:18].any()
    assert kept[20:].all()


def test_equalizing_takes_any_tone_curve_away():
    pixels = np.random.default_rng(0).normal(size=(40, 50))
    np.testing.assert_allclose(equalize(np.exp(2 * pixels), ALL), equalize(pixels, ALL))
    np.testing.assert_allclose(equalize(-pixels, ALL), 1 - equalize(pixels, ALL))
    # four valid values 1 1 2 5: the middle of the ranks 0..2, of 2..3, and of 3..4, by four
    few = np.array([[1.0, 1.0, 2.0, 5.0, 9.0]])
    valid = np.array([[True, True, True, True, False]])
    np.testing.assert_allclose(equalize(few, valid), [[0.25, 0.25, 0.625, 0.875, 1.0]])


def test_local_contrast_ignores_gain_and_offset_and_is_zero_where_invalid():
    pixels = np.random.default_rng(0).normal(size=(40, 50))
    valid = ALL.copy()
    valid[:, 45:] = False
    contrast = local_contrast(pixels, valid, fine_px=(1, 1), coarse_px=(6, 6))
    np.testing.assert_allclose(
        local_contrast(3 * pixels + 7, valid, fine_px=(1, 1), coarse_px=(6, 6)), contrast, atol=1e-9
    )
    spoilt = np.where(valid, pixels, 1e6)
    np.testing.assert_allclose(local_contrast(spoilt, valid, fine_px=(1, 1), coarse_px=(6, 6)), contrast)
    assert (contrast[:, 45:] == 0).all()
    assert np.abs(contrast).max() <= 2.5


def test_local_contrast_of_a_wave_is_its_shape():
    # far from the borders a fine wave is its own deviation; divided by its spread it reaches sqrt 2
    wave = 5 + 0.2 * np.sin(2 * np.pi * np.arange(128) / 8)
    pixels = np.tile(wave, (128, 1))
    contrast = local_contrast(pixels, np.ones((128, 128), dtype=bool), fine_px=(0, 0), coarse_px=(12, 12))
    assert contrast[64, 40:88].max() == pytest.approx(np.sqrt(2), abs=0.01)
    assert contrast[64, 40:88].min() == pytest.approx(-np.sqrt(2), abs=0.01)


def test_a_constant_film_has_no_contrast():
    assert (local_contrast(np.full((40, 50), 3.0), ALL, fine_px=(1, 1), coarse_px=(6, 6)) == 0).all()
