import numpy as np

from medi2i.downstream.dont_care import find_dont_care
from medi2i.metrics.overlap import dice


def test_lungs_leave_out_the_middle_and_what_lies_below_their_own_border():
    lung, heart = np.zeros((2, 5, 4), dtype=bool)
    lung[0:3, 0] = lung[0:2, 1] = True
    heart[1:4, 2] = True
    left_out = find_dont_care(np.stack([lung, heart]), ["left_lung", "heart"])
    expected = np.array(
        [
            [0, 0, 0, 0],
            [0, 0, 1, 0],
            [0, 0, 1, 0],  # column 1: the lung ends in row 1
            [1, 1, 1, 0],
            [1, 1, 0, 0],  # column 3 has no lung: it counts down to its end
        ],
        dtype=bool,
    )
    expected[2, 1] = True
    assert np.array_equal(left_out[0], expected)
    assert not left_out[1].any()


def test_a_lung_that_is_drawn_behind_the_heart_is_not_held_against_one_that_is_not():
    conventional, whole = np.zeros((2, 6, 6), dtype=bool)
    conventional[1:4, 1:3] = True
    whole[1:6, 1:4] = True  # behind the heart in column 3, and below the dome
    heart = np.zeros((6, 6), dtype=bool)
    heart[1:6, 3] = True
    masks = np.stack([conventional, heart])
    cared = ~find_dont_care(masks, ["lung", "cardiomediastinum"])[0]
    assert dice(whole[None], conventional[None])[0] == 12 / 21
    assert dice(whole[None] & cared, conventional[None] & cared)[0] == 1


def test_without_labels_of_heart_and_lung_nothing_is_left_out():
    masks = np.ones((2, 3, 3), dtype=bool)
    masks[0] = False
    assert not find_dont_care(masks, ["left_lung", "ribs"]).any()
