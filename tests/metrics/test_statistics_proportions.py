import math

import numpy as np
import pytest
from scipy import stats

from medi2i.errors import UsageError
from medi2i.metrics.statistics import roc_area, wilson_interval


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 10), (8, 10), (97, 100), (30, 30)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilsons_interval_is_that_of_scipy(successes: int, n: int, level: float):
    found = wilson_interval(successes, n, level=level)
    expected = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_failure_in_ten_leaves_room_for_28_per_cent():
    # z^2 / (n + z^2) = 3.8415 / 13.8415
    assert wilson_interval(0, 10) == pytest.approx((0, 0.27754), abs=1e-5)


def test_no_trial_says_nothing():
    assert wilson_interval(0, 0) == (0, 1)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5)])
def test_successes_are_among_the_trials(successes: int, n: int):
    with pytest.raises(UsageError, match=f"{successes} of {n}"):
        wilson_interval(successes, n)


def test_the_area_is_the_share_of_pairs_in_order_and_half_of_ties():
    # positives 3 and 1 against negatives 0, 1 and 2: 3 wins, then 1 win and a tie: 4.5 of 6
    found = roc_area([3, 1, 0, 1, 2], [True, True, False, False, False], list("abcde"))
    assert found.estimate == pytest.approx(4.5 / 6)
    assert (found.n_positive, found.n_negative, found.n_patients) == (2, 3, 5)


def test_the_area_is_the_rank_sum_of_mann_and_whitney():
    generator = np.random.default_rng(0)
    scores, kinds = generator.integers(0, 9, 60).astype(float), generator.random(60) < 0.4
    found = roc_area(scores, kinds, [f"p{n % 7}" for n in range(60)])
    expected = stats.mannwhitneyu(scores[kinds], scores[~kinds]).statistic / (kinds.sum() * (~kinds).sum())
    assert found.estimate == pytest.approx(expected)


def test_copies_of_images_narrow_nothing_when_they_are_of_the_same_patients():
    generator = np.random.default_rng(0)
    scores, kinds = generator.normal(size=20), np.arange(20) % 2 == 0
    groups = [f"p{n // 2}" for n in range(20)]
    once = roc_area(scores, kinds, groups)
    often = roc_area(np.tile(scores, 4), np.tile(kinds, 4), groups * 4)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_an_area_of_one_keeps_the_doubt_of_few_patients():
    kinds = [True, False] * 10
    found = roc_area(np.array(kinds, dtype=float), kinds, [f"p{n // 2}" for n in range(20)])
    assert (found.estimate, found.high) == (1, 1)
    assert found.low == pytest.approx(10 / 13.8415, abs=1e-4)
    flipped = roc_area(-np.array(kinds, dtype=float), kinds, [f"p{n // 2}" for n in range(20)])
    assert (flipped.estimate, flipped.low) == (0, 0)


def test_without_both_kinds_there_is_no_area():
    found = roc_area([1.0, 2.0], [True, True], ["a", "b"])
    assert math.isnan(found.estimate)
    assert (found.low, found.high) == (None, None)
    assert roc_area([1.0, 2.0], [True, False], ["a", "a"]).low is None


def test_the_true_area_is_held_95_times_in_100():
    generator = np.random.default_rng(0)
    kinds, groups = np.tile([True, False], 30), [f"p{n // 2}" for n in range(60)]
    held = 0
    for _ in range(400):
        found = roc_area(generator.normal(size=60) + 1.5 * kinds, kinds, groups)
        held += found.low <= stats.norm.cdf(1.5 / 2**0.5) <= found.high
    # four standard deviations of a share of .95 in 400 are .044
    assert 0.91 <= held / 400 <= 0.99


@pytest.mark.parametrize(
    ("scores", "kinds", "groups"),
    [([1.0], [True, False], ["a"]), ([1.0, math.nan], [True, False], ["a", "b"])],
)
def test_each_image_needs_a_score_a_kind_and_a_patient(scores, kinds, groups):
    with pytest.raises(UsageError, match="roc_area"):
        roc_area(scores, kinds, groups)
