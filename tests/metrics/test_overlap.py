import numpy as np
import pytest

from medi2i.metrics.overlap import dice


def planes(*areas: tuple[slice, slice]) -> np.ndarray:
    masks = np.zeros((len(areas), 4, 4), dtype=bool)
    for mask, area in zip(masks, areas, strict=True):
        mask[area] = True
    return masks


NOTHING = (slice(0), slice(0))


def test_two_squares_that_share_a_column_overlap_by_half():
    found = planes((slice(0, 2), slice(0, 2)))
    true = planes((slice(0, 2), slice(1, 3)))
    assert dice(found, true).tolist() == [0.5]


def test_misses_and_inventions_are_0_and_what_is_in_neither_is_undefined():
    square = (slice(0, 2), slice(0, 2))
    scores = dice(planes(NOTHING, square, NOTHING, square), planes(square, NOTHING, NOTHING, square))
    assert scores[[0, 1, 3]].tolist() == [0, 0, 1]
    assert np.isnan(scores[2])


def test_pixels_that_are_invalid_count_in_neither():
    found, true = planes((slice(0, 2), slice(0, 4))), planes((slice(0, 2), slice(0, 2)))
    valid = np.ones((4, 4), dtype=bool)
    assert dice(found, true, valid)[0] == pytest.approx(2 * 4 / (8 + 4))
    valid[:, 2:] = False
    assert dice(found, true, valid)[0] == 1
