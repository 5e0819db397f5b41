import math

import numpy as np
import pytest

from medi2i.metrics.fcn_score import count_classes, fcn_score


def one_hot(labels: list[list[int]], count: int) -> np.ndarray:
    """Planes 1 to `count` of a label map; 0 is in none of them."""
    return np.stack([np.array(labels) == label for label in range(1, count + 1)])


def test_classes_that_exclude_each_other_have_the_numbers_of_the_paper():
    true, found = one_hot([[0, 0, 1, 1], [0, 2, 2, 1]], 2), one_hot([[0, 1, 1, 1], [0, 2, 1, 0]], 2)
    score = fcn_score([(found, true, None)])
    # n_ii: structure 1: 2 of 3, structure 2: 1 of 2, none: 2 of 3
    assert score.pixel_accuracy == pytest.approx(5 / 8)
    assert score.accuracies.tolist() == pytest.approx([2 / 3, 1 / 2, 2 / 3])
    # unions: 3 + 4 - 2, 2 + 1 - 1, 3 + 2 + ... found none: 2
    assert score.ious.tolist() == pytest.approx([2 / 5, 1 / 2, 2 / 4])
    assert score.class_accuracy == pytest.approx((2 / 3 + 1 / 2 + 2 / 3) / 3)
    assert score.class_iou == pytest.approx((2 / 5 + 1 / 2 + 1 / 2) / 3)


def test_a_pixel_of_two_structures_counts_by_the_share_that_is_right():
    # pixels: both found of both, one of both, both of one, none of one
    true = np.array([[[1, 1, 1, 1]], [[1, 1, 0, 0]]], dtype=bool)
    found = np.array([[[1, 1, 1, 0]], [[1, 0, 1, 0]]], dtype=bool)
    score = fcn_score([(found, true, None)])
    assert score.pixel_accuracy == pytest.approx((1 + 1 / 2 + 1 / 2 + 0) / 4)
    assert score.accuracies[:2].tolist() == pytest.approx([3 / 4, 1 / 2])
    # no pixel shows nothing, but one was answered so
    assert math.isnan(score.accuracies[2])
    assert score.ious.tolist() == pytest.approx([3 / 4, 1 / 3, 0])
    assert score.class_accuracy == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert score.class_iou == pytest.approx((3 / 4 + 1 / 3 + 0) / 3)


def test_images_are_counted_together_and_invalid_pixels_not_at_all():
    right = one_hot([[1, 1, 1]], 1)
    wrong = one_hot([[0, 0, 0]], 1)
    one_pixel = np.array([[True, False, False]])
    score = fcn_score([(right, right, None), (wrong, right, one_pixel)])
    assert score.pixel_accuracy == pytest.approx(3 / 4)
    assert score.accuracies[0] == pytest.approx(3 / 4)


def test_without_a_pixel_nothing_is_defined():
    score = fcn_score([])
    assert math.isnan(score.pixel_accuracy)
    assert math.isnan(score.class_accuracy)
    assert math.isnan(score.class_iou)


def test_counts_of_parts_add_up_to_the_score_of_all():
    parts = [
        (one_hot([[0, 1]], 1), one_hot([[1, 1]], 1), None),
        (one_hot([[1, 0, 0]], 1), one_hot([[1, 0, 1]], 1), np.array([[True, True, False]])),
    ]
    joined = count_classes(*parts[0]) + count_classes(*parts[1])
    assert joined.score().pixel_accuracy == fcn_score(parts).pixel_accuracy == 3 / 4
    assert joined.score().ious.tolist() == [2 / 3, 1 / 2]
