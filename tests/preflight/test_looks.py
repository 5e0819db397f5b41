"""Thumbnails, fingerprints, agreement, writing, and what masks show, with answers by hand."""

import numpy as np
import pytest

from medi2i.preflight.looks import make_fingerprint, make_thumbnail
from medi2i.preflight.masks import measure_masks
from medi2i.preflight.typical import agree
from medi2i.preflight.writing import Writing, find_writing


def scene(side: int = 64) -> np.ndarray:
    """A smooth picture without symmetry, in [0, 1]."""
    row, column = np.mgrid[0:side, 0:side] / side
    image = np.sin(5 * row + 2) + np.cos(7 * column * row) + 2 * column**2
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


def everywhere(image: np.ndarray) -> np.ndarray:
    return np.ones(image.shape, dtype=bool)


def test_a_thumbnail_is_free_of_a_monotone_tone():
    image = scene(32)
    np.testing.assert_array_equal(
        make_thumbnail(image, everywhere(image)), make_thumbnail(np.exp(3 * image), everywhere(image))
    )


def test_a_thumbnail_holds_the_ranks_of_its_pixels():
    image = np.arange(32 * 32, dtype=np.float32).reshape(32, 32)
    expected = (np.arange(1024) + 0.5) / 1024
    np.testing.assert_allclose(make_thumbnail(image, everywhere(image)).ravel(), expected)


def test_a_thumbnail_shows_the_exposed_field_only():
    image, bordered = scene(), np.zeros((96, 80), dtype=np.float32)
    bordered[16:80, 8:72] = image
    valid = np.zeros(bordered.shape, dtype=bool)
    valid[16:80, 8:72] = True
    np.testing.assert_array_equal(make_thumbnail(bordered, valid), make_thumbnail(image, everywhere(image)))


def test_a_constant_image_has_no_fingerprint():
    image = np.full((40, 40), 3.0, dtype=np.float32)
    assert not make_fingerprint(make_thumbnail(image, everywhere(image))).any()


def test_an_image_agrees_with_itself_and_its_inverse_disagrees():
    thumbnail = make_thumbnail(scene(), everywhere(scene()))
    best, worst = agree(np.stack([thumbnail, 1 - thumbnail]), thumbnail)
    assert best[0] == pytest.approx(1)
    assert worst[1] == pytest.approx(-1)


def test_a_letter_is_a_mark_and_five_strokes_in_a_row_are_text():
    image = np.full((200, 200), 0.3, dtype=np.float32)
    image[:, 100:] = 0.8  # so that the range does not come from the writing alone
    image[20:30, 20:22] = image[28:30, 20:27] = 1.0
    assert find_writing(image) == Writing(marks=1, lines=0)
    for column in range(20, 60, 5):
        image[50:60, column : column + 2] = 1.0
    assert find_writing(image) == Writing(marks=9, lines=1)


def test_a_smooth_bright_spot_is_no_mark():
    row, column = np.mgrid[0:200, 0:200]
    spot = np.exp(-((row - 60) ** 2 + (column - 60) ** 2) / (2 * 4.0**2))
    image = (0.2 + 0.3 * (column > 150) + 0.5 * spot).astype(np.float32)
    assert find_writing(image) == Writing(0, 0)


def test_lungs_are_measured_by_their_gap_and_their_shape():
    masks = np.zeros((2, 40, 50), dtype=bool)
    masks[0, 10:30, 5:15] = True  # 10 px
    masks[1, 10:30, 25:45] = True  # a gap of 10 in an outer width of 40, a height of 20
    facts = measure_masks(masks, ("right_lung", "left_lung"))
    assert facts.lung_gap == pytest.approx(10 / 40)
    assert facts.lung_shape == pytest.approx(20 / 40)
    assert facts.areas == (200 / 2000, 400 / 2000)
    assert facts.left_out is None


def test_lungs_that_overlap_have_no_gap():
    masks = np.zeros((2, 40, 50), dtype=bool)
    masks[0, 10:30, 5:30] = masks[1, 10:30, 20:45] = True
    assert measure_masks(masks, ("lung_left", "lung_right")).lung_gap == 0


def test_film_lungs_beside_projected_ones_say_what_is_left_out():
    masks = np.zeros((2, 20, 20), dtype=bool)
    masks[0, 0:10] = True
    masks[1, 0:7] = True
    facts = measure_masks(masks, ("left_lung", "left_lung_film"))
    assert facts.left_out == pytest.approx(0.3)
    assert facts.lung_gap is None
