import math

import numpy as np
import pytest
from scipy import ndimage

from medi2i.errors import UsageError
from medi2i.metrics.overlap import dice
from medi2i.metrics.topology import betti_error, betti_matching_error, betti_numbers, cl_dice

ROWS, COLUMNS = np.mgrid[:48, :96]
NOTHING = np.zeros((48, 96), dtype=bool)


def disc(column: int, radius: float = 12) -> np.ndarray:
    return np.hypot(ROWS - 24, COLUMNS - column) < radius


def ring(column: int, radius: float = 12) -> np.ndarray:
    return disc(column, radius) & ~disc(column, radius - 4)


def picture(*lines: str) -> np.ndarray:
    return np.array([[character == "#" for character in line] for line in lines])


def compare(measure, predicted: np.ndarray, mask: np.ndarray) -> list[float]:
    return measure(predicted[None], mask[None])[0].tolist()


def test_a_disc_has_a_piece_and_a_ring_has_a_hole_too():
    masks = np.stack([disc(24), ring(24), ring(24) | disc(70), ring(24) | ring(70), NOTHING])
    assert betti_numbers(masks).tolist() == [[1, 0], [1, 1], [2, 1], [2, 2], [0, 0]]


def test_pixels_hang_together_at_corners_and_background_along_sides_only():
    stairs = picture("#..", ".#.", "..#")
    diamond = picture(".#.", "#.#", ".#.")
    assert betti_numbers(np.stack([stairs, diamond])).tolist() == [[1, 0], [1, 1]]


def test_the_border_closes_no_hole():
    open_ring = picture("#.#", "#.#", "###")
    assert betti_numbers(open_ring[None]).tolist() == [[1, 0]]
    assert betti_numbers(np.ones((1, 3, 3), dtype=bool)).tolist() == [[1, 0]]


def test_counts_differ_by_a_lost_piece_and_a_filled_hole():
    assert compare(betti_error, ring(24), ring(24)) == [0, 0]
    assert compare(betti_error, disc(24), ring(24) | disc(70)) == [1, 1]
    assert compare(betti_error, NOTHING, ring(24)) == [1, 1]


def test_matching_sees_where_and_counting_does_not():
    # one piece is lost and one invented elsewhere
    predicted, mask = disc(24) | disc(48, 5), disc(24) | disc(80, 5)
    assert compare(betti_error, predicted, mask) == [0, 0]
    assert compare(betti_matching_error, predicted, mask) == [2, 0]
    assert compare(betti_matching_error, ring(24), ring(70)) == [2, 2]
    assert compare(betti_matching_error, ring(24), ring(27)) == [0, 0]


def test_a_hole_that_is_filled_and_one_that_is_divided_are_one_error_each():
    divided = ring(24) | (disc(24) & (COLUMNS == 24))
    assert compare(betti_matching_error, disc(24), ring(24)) == [0, 1]
    assert compare(betti_matching_error, divided, ring(24)) == [0, 1]


def test_two_bridged_pieces_are_one_error():
    apart = picture("##...##", "##...##")
    bridged = picture("#######", "##...##")
    assert compare(betti_matching_error, bridged, apart) == [1, 0]


def test_a_hole_of_which_only_a_part_is_shared_has_no_partner():
    wide = picture("#######", "#.....#", "#######")
    narrow = picture("####...", "#..#...", "####...")
    # their union has two holes: one in both holes, and one that lies outside the narrow ring
    assert compare(betti_matching_error, wide, narrow) == [0, 2]


def shared_holes_by_rank(found: np.ndarray, true: np.ndarray) -> int:
    """Dimension of the intersection of both images in the holes of the union, by matrix ranks."""

    def regions(mask: np.ndarray) -> np.ndarray:
        return ndimage.label(~np.pad(mask, 1))[0]

    union = regions(found | true)
    holes = [union == number for number in range(2, union.max() + 1)]
    if not holes:
        return 0
    images = []
    for mask in (found, true):
        parts = regions(mask)
        columns = [
            [float((hole & (parts == number)).any()) for hole in holes]
            for number in range(2, parts.max() + 1)
        ]
        images.append(np.array(columns).reshape(-1, len(holes)))
    ranks = [np.linalg.matrix_rank(image) if image.size else 0 for image in (*images, np.vstack(images))]
    return int(ranks[0] + ranks[1] - ranks[2])


def test_partners_among_holes_are_the_rank_of_both_images_in_the_union():
    rng = np.random.default_rng(0)
    partners = []
    for _ in range(60):
        common = ndimage.gaussian_filter(rng.normal(size=(24, 24)), 1)
        found, true = (
            common + 0.6 * ndimage.gaussian_filter(rng.normal(size=(24, 24)), 1) > -0.15 for _ in range(2)
        )
        holes = betti_numbers(np.stack([found, true]))[:, 1].sum()
        expected = shared_holes_by_rank(found, true)
        assert compare(betti_matching_error, found, true)[1] == holes - 2 * expected
        partners.append(expected)
    assert min(partners) == 0 and max(partners) > 3


def test_the_error_is_symmetric_and_never_below_the_difference_of_counts():
    rng = np.random.default_rng(1)
    masks = ndimage.gaussian_filter(rng.normal(size=(20, 24, 24)), (0, 1, 1)) > 0
    forward, backward = (
        betti_matching_error(masks[:10], masks[10:]),
        betti_matching_error(masks[10:], masks[:10]),
    )
    assert forward.tolist() == backward.tolist()
    assert (forward >= betti_error(masks[:10], masks[10:])).all()


def test_centre_lines_by_hand():
    line = NOTHING.copy()
    line[20, 10:30] = True
    half = line & (COLUMNS < 20)
    # all of the half lies in the line, half of the line in the half
    assert compare(lambda p, m: cl_dice(p, m)[:, None], half, line) == pytest.approx([2 / 3])
    thick = NOTHING.copy()
    thick[18:23, 8:32] = True
    assert cl_dice(thick[None], line[None]).tolist() == [1]
    assert dice(thick[None], line[None])[0] < 0.3


def test_a_broken_rib_costs_more_centre_line_than_a_swollen_one():
    arc = ring(24, 16) & (ROWS < 24)
    swollen = ndimage.binary_dilation(arc, iterations=2)
    broken = arc & ~((COLUMNS > 18) & (COLUMNS < 30))
    scores = cl_dice(np.stack([swollen, broken]), np.stack([arc, arc]))
    assert scores[0] > 0.95 > 0.9 > scores[1]
    overlap = dice(np.stack([swollen, broken]), np.stack([arc, arc]))
    assert overlap[0] < overlap[1]


def test_a_centre_line_at_the_border_is_thinned_from_both_sides():
    band = NOTHING.copy()
    band[:5, 20:60] = True
    middle = NOTHING.copy()
    middle[2, 20:60] = True
    assert cl_dice(band[None], middle[None]).tolist() == [1]


@pytest.mark.parametrize("measure", [betti_error, betti_matching_error, cl_dice])
def test_what_is_in_neither_mask_is_undefined_and_invalid_pixels_count_in_neither(measure):
    assert np.isnan(measure(NOTHING[None], NOTHING[None])).all()
    assert measure(np.zeros((0, 4, 4), dtype=bool), np.zeros((0, 4, 4), dtype=bool)).shape[0] == 0
    best = 1.0 if measure is cl_dice else 0.0
    predicted, mask = disc(24) | ring(70), disc(24)
    assert (measure(predicted[None], mask[None], COLUMNS < 48) == best).all()
    assert (measure(predicted[None], mask[None]) != best).all()
    with pytest.raises(UsageError, match="one shape"):
        measure(predicted[None], mask[None, :-1])


def test_a_centre_line_that_is_missed_or_invented_has_0():
    arc = ring(24)
    assert cl_dice(np.stack([arc, NOTHING]), np.stack([NOTHING, arc])).tolist() == [0, 0]
    assert cl_dice(ring(24)[None], ring(70)[None]).tolist() == [0]
    assert math.isclose(cl_dice(arc[None], arc[None])[0], 1)
