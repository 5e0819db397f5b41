import pytest

from medi2i.report.comparison import Standing, group_positions, position
from medi2i.report.results import parse_results


def test_position_is_the_share_of_the_gap_that_is_left():
    # floor 1, doing nothing 5: a gap of 4, of which 2 - 1 = 1 is left
    assert position(1.0, 5.0, 2.0) == pytest.approx(0.25)
    assert position(1.0, 5.0, 5.0) == 1.0
    assert position(1.0, 5.0, 1.0) == 0.0


def test_an_unknown_floor_counts_as_zero():
    assert position(None, 4.0, 1.0) == 0.25


@pytest.mark.parametrize("arguments", [(0.0, None, 1.0), (0.0, 4.0, None), (1.0, 1.0, 0.5), (1.0, 0.5, 2.0)])
def test_position_is_undefined_without_a_gap_or_a_distance(arguments):
    assert position(*arguments) is None


def test_a_gap_is_more_than_twice_the_spread_of_real_images():
    assert Standing(0.0, 0.1, 0.21, None, None).gap
    assert not Standing(0.0, 0.1, 0.2, None, None).gap
    assert not Standing(0.0, 0.1, None, None, None).gap


def test_differences_within_the_spread_are_none():
    where = Standing(0.0, 0.1, 4.0, 1.0, 1.0)
    assert where.compare(1.0, 1.05) == "alike"
    assert where.compare(1.0, 1.2) == "nearer"
    assert where.compare(1.2, 1.0) == "further"


def test_each_group_has_a_position_on_its_own_scale_where_it_has_a_gap(results):
    results["floors"]["gradient"] |= {"mean": 0.2, "sd": 0.39}
    results["floors"]["spectrum"] |= {"mean": 0.0, "sd": 0.4}
    # all (1 - 0) / 4; intensity 0.5 / 2; gradient (0.25 - 0.2) / (1 - 0.2); spectrum 0.8 is 2 x 0.4: no gap
    assert group_positions(parse_results(results), "translated") == {
        "all": 0.25,
        "intensity": 0.25,
        "gradient": pytest.approx(0.0625),
        "spectrum": None,
    }
