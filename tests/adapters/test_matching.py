import itertools

import pytest

from medi2i.adapters.matching import count_groups, deal_targets, list_groups, make_pairs, regroup

# (classes, images of each): k groups of 16 // k, the domain alone in small batches, and odd ones
LAYOUTS = [(2, 8), (3, 5), (4, 4), (2, 4), (3, 4), (4, 6)]


def test_four_groups_of_four_give_the_eight_and_eight_pairs_of_the_paper():
    # by hand: groups a to d hold 0-3, 4-7, 8-11, 12-15; anchors are the first and the third of each
    pairs = make_pairs(list_groups(4, 4))
    assert set(pairs.positive) == {(0, 1), (2, 1), (4, 5), (6, 5), (8, 9), (10, 9), (12, 13), (14, 13)}
    assert set(pairs.negative) == {
        (2, 7),  # third of a, fourth of b
        (0, 11),  # first of a, fourth of c
        (6, 11),
        (4, 15),
        (10, 15),
        (8, 3),
        (14, 3),
        (12, 7),
    }
    assert len(pairs.positive) == len(pairs.negative) == 8


def test_two_groups_of_eight_give_eight_and_eight_all_with_the_other_group():
    pairs = make_pairs(list_groups(2, 8))
    assert pairs.positive == [
        *[(0, 1), (2, 1), (8, 9), (10, 9)],
        *[(4, 5), (6, 5), (12, 13), (14, 13)],
    ]
    assert pairs.negative == [
        *[(2, 11), (0, 11), (10, 3), (8, 3)],
        *[(6, 15), (4, 15), (14, 7), (12, 7)],
    ]


def test_three_groups_of_five_give_six_and_six_and_leave_the_fifth_out():
    pairs = make_pairs(list_groups(3, 5))
    assert pairs.positive == [(0, 1), (2, 1), (5, 6), (7, 6), (10, 11), (12, 11)]
    assert pairs.negative == [(2, 8), (0, 13), (7, 13), (5, 3), (12, 3), (10, 8)]


@pytest.mark.parametrize(("groups", "images"), LAYOUTS)
def test_pairs_match_within_and_never_across_classes(groups: int, images: int):
    pairs = make_pairs(list_groups(groups, images))
    assert len(pairs.positive) == len(pairs.negative) == 2 * groups * (images // 4)
    assert all(a // images == b // images and a != b for a, b in pairs.positive)
    assert all(a // images != b // images for a, b in pairs.negative)


def test_one_group_has_nothing_to_be_compared_with():
    with pytest.raises(ValueError, match="one group has nothing"):
        make_pairs(list_groups(1, 16))


@pytest.mark.parametrize(("groups", "images"), LAYOUTS)
def test_each_source_group_gets_every_target_and_targets_are_equally_frequent(groups: int, images: int):
    dealt = deal_targets(groups * images, groups)
    for group in list_groups(groups, images):
        assert {dealt[place] for place in group} == set(range(groups))
    assert {dealt.count(target) for target in range(groups)} == {images}


def test_regrouping_four_by_four_is_the_transpose():
    assert deal_targets(16, 4) == [0, 1, 2, 3] * 4
    assert regroup(list_groups(4, 4), 4) == [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]


def test_regrouping_alternates_the_sources():
    assert regroup(list_groups(2, 8), 2)[0] == [0, 8, 2, 10, 4, 12, 6, 14]
    assert regroup(list_groups(3, 5), 3) == [[0, 6, 12, 3, 9], [1, 7, 10, 4, 13], [2, 5, 11, 8, 14]]


@pytest.mark.parametrize(("groups", "images"), LAYOUTS)
@pytest.mark.parametrize("targets", [2, 3, 4])
def test_regrouped_images_have_one_target_and_none_is_lost(groups: int, images: int, targets: int):
    dealt = deal_targets(groups * images, targets)
    regrouped = regroup(list_groups(groups, images), targets)
    assert sorted(itertools.chain(*regrouped)) == list(range(groups * images))
    for target, places in enumerate(regrouped):
        assert {dealt[place] for place in places} == {target}
        assert len({place // images for place in places[:2]}) == 2  # the first pair is of two sources


def test_so_many_images_are_dealt_so_many_targets():
    counts = {(16, 9): 4, (16, 3): 3, (16, 2): 2, (15, 3): 3, (8, 4): 2, (7, 4): 1, (16, 1): 1}
    assert {key: count_groups(*key) for key in counts} == counts
