import numpy as np
import pytest

from medi2i.framing.matching import correlate_shifts, correlation


def correlate_directly(film, film_valid, template, template_valid, shift):
    """Pearson correlation of the overlap, pixel pairs collected one by one."""
    pairs = [
        (film[i + shift[0], j + shift[1]], template[i, j])
        for i, j in np.ndindex(*template.shape)
        if 0 <= i + shift[0] < film.shape[0]
        and 0 <= j + shift[1] < film.shape[1]
        and template_valid[i, j]
        and film_valid[i + shift[0], j + shift[1]]
    ]
    first, second = np.array(pairs).T
    return np.corrcoef(first, second)[0, 1], len(pairs)


def test_correlation_at_every_shift_is_that_of_the_overlapping_valid_pixels():
    rng = np.random.default_rng(0)
    film, template = rng.normal(size=(14, 11)), rng.normal(size=(9, 12))
    film_valid, template_valid = rng.random(film.shape) > 0.2, rng.random(template.shape) > 0.2
    agreement, count = correlate_shifts(film, film_valid, template, template_valid)
    for shift in [(0, 0), (4, -3), (-5, 2), (7, 3), (-2, -6)]:
        expected, pixels = correlate_directly(film, film_valid, template, template_valid, shift)
        assert agreement[shift] == pytest.approx(expected, abs=1e-9)
        assert count[shift] == pixels


def test_a_part_of_an_image_is_found_where_it_was_cut():
    film = np.random.default_rng(1).normal(size=(40, 40))
    part = film[12:30, 7:31]
    agreement, count = correlate_shifts(
        film, np.ones((40, 40), dtype=bool), 3 * part + 5, np.ones(part.shape, dtype=bool)
    )
    best = np.where(count > 200, agreement, 0)
    assert np.unravel_index(best.argmax(), best.shape) == (12, 7)
    assert best.max() == pytest.approx(1)


def test_correlation_by_hand():
    weight = np.array([1.0, 1.0, 1.0, 0.0])
    # deviations (-1, 0, 1) and (-1, 2, -1) / ...: sum of products 0
    assert correlation(np.array([1.0, 2, 3, 9]), np.array([0.0, 3, 0, 7]), weight) == pytest.approx(0)
    assert correlation(np.array([1.0, 2, 3, 9]), np.array([2.0, 4, 6, 0]), weight) == pytest.approx(1)
    assert correlation(np.array([1.0, 1, 1, 9]), np.array([2.0, 4, 6, 0]), weight) == 0
    assert correlation(np.ones(2), np.ones(2), np.zeros(2)) == 0
