import math

import numpy as np
import pytest
from scipy import stats

from medi2i.errors import UsageError
from medi2i.metrics.statistics import (
    crossed_interval,
    crossed_sums_interval,
    mean_interval,
    studentised_interval,
)
from medi2i.metrics.statistics.crossed import crossed_mean


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def holds(low: np.ndarray, high: np.ndarray, truth: float) -> float:
    return float(((low <= truth) & (truth <= high)).mean())


def test_the_interval_of_one_image_a_patient_is_students():
    values = rng().normal(5, 2, 12)
    result = mean_interval(values, [f"p{n}" for n in range(12)])
    low, high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert (result.low, result.high) == pytest.approx((low, high))
    assert (result.n_images, result.n_patients, result.n_undefined) == (12, 12, 0)


def test_images_of_a_patient_count_as_one_unit():
    # patients' means are 0 and 1: error 0.5, one degree of freedom, t = 12.7062
    result = mean_interval([0, 0, 1, 1], ["a", "a", "b", "b"])
    assert (result.estimate, result.low, result.high) == pytest.approx((0.5, -5.8531, 6.8531), abs=1e-4)
    assert result.n_patients == 2


def test_the_mean_is_over_images_and_patients_bring_all_of_theirs():
    # sums less 0.25 an image: -0.75 and 0.75, variance 1.125, on 2 images a patient: error 0.375
    result = mean_interval([0, 0, 0, 1], ["a", "a", "a", "b"])
    assert (result.estimate, result.high) == pytest.approx((0.25, 0.25 + 12.7062 * 0.375), abs=1e-4)


def test_undefined_values_are_left_out_and_counted():
    result = mean_interval([1, math.nan, 3, math.nan], ["a", "a", "b", "c"])
    assert (result.estimate, result.n_images, result.n_undefined, result.n_patients) == (2, 2, 2, 2)


def test_unknown_patients_are_said_and_images_are_units():
    result = mean_interval([1.0, 2.0, 3.0], None)
    assert result.patients_unknown
    assert result.n_patients is None
    assert result.exploratory
    assert (result.low, result.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))


@pytest.mark.parametrize("groups", [["a", "a", "a"], ["a", "b", "c"]])
def test_a_single_patient_has_no_interval(groups: list[str]):
    result = mean_interval([1.0, math.nan, math.nan], groups)
    assert (result.estimate, result.low, result.high, result.n_patients) == (1, None, None, 1)


def test_nothing_defined_has_no_mean():
    for values in ([], [math.nan]):
        result = mean_interval(values, None)
        assert math.isnan(result.estimate)
        assert (result.low, result.high, result.n_images, result.n_undefined) == (None, None, 0, len(values))
    assert math.isnan(crossed_interval(np.full((3, 2), math.nan)).estimate)


def test_as_many_patients_as_values_are_expected():
    with pytest.raises(UsageError, match="1 patients for 2 values"):
        mean_interval([1.0, 2.0], ["a"])


@pytest.mark.parametrize(("patients", "exploratory"), [(49, True), (50, False)])
def test_fewer_than_50_patients_are_exploratory(patients: int, exploratory: bool):
    assert crossed_interval(rng().normal(size=(patients, 1))).exploratory is exploratory


def test_seeds_that_agree_leave_the_interval_of_patients():
    scores = rng().normal(size=(40, 1))
    one, three = crossed_interval(scores), crossed_interval(np.repeat(scores, 3, axis=1))
    assert (three.low, three.high) == pytest.approx((one.low, one.high))
    assert three.n_images == 120


def test_seeds_that_differ_count_with_their_own_degrees_of_freedom():
    # all patients alike, seeds 0, 1 and 2: error 1 / sqrt(3), two degrees of freedom, t = 4.302653
    result = crossed_interval(np.tile([0.0, 1.0, 2.0], (40, 1)))
    half = 4.302653 / 3**0.5
    assert (result.estimate, result.low, result.high) == pytest.approx((1, 1 - half, 1 + half))


def test_parts_of_patients_and_seeds_add_as_squares():
    # patients -1, 1 and seeds -2, 2 without interaction: errors 1 and 2, t = 12.7062 for both
    result = crossed_interval(np.array([[-3.0, 1.0], [-1.0, 3.0]]))
    assert result.high == pytest.approx(12.7062 * 5**0.5, abs=1e-3)


def test_patients_and_seeds_without_any_score_count_in_nothing():
    scores = rng().normal(size=(6, 3))
    padded = np.full((8, 4), math.nan)
    padded[1:7, :3] = scores
    found, plain = crossed_interval(padded), crossed_interval(scores)
    assert (found.low, found.high, found.n_patients) == (plain.low, plain.high, 6)
    assert (found.n_undefined, plain.n_undefined) == (14, 0)


def test_several_images_a_cell_enter_as_their_sums():
    scores, images = rng().normal(size=(6, 3)), np.full((6, 3), 4.0)
    found, plain = crossed_sums_interval(scores * images, images), crossed_interval(scores)
    assert (found.estimate, found.low, found.high) == pytest.approx((plain.estimate, plain.low, plain.high))
    assert found.n_images == 72


@pytest.mark.parametrize(("patients", "images"), [(20, 5), (50, 1)])
def test_both_intervals_hold_the_mean_of_normal_scores_95_times_in_100(patients: int, images: int):
    generator = rng()
    whole = generator.normal(size=(1500, patients, 1)) + 0.5 * generator.normal(size=(1500, patients, images))
    sums, counts = whole.sum(2), np.full((1500, patients), float(images))
    # four standard deviations of a share of .95 in 1,500 are .0225; percentile falls to .92 with 20 patients
    assert holds(*crossed_mean(sums[..., None], counts[..., None]).interval(0.95), 0) == pytest.approx(
        0.95, abs=0.0225
    )
    studentised = studentised_interval(sums, counts, generator, n=500)
    assert holds(*studentised, 0) == pytest.approx(0.95, abs=0.0225)


def test_images_taken_for_patients_do_not_hold_it():
    generator = rng()
    whole = generator.normal(size=(500, 20, 1)) + 0.5 * generator.normal(size=(500, 20, 5))
    images = whole.reshape(500, 100, 1)
    assert holds(*crossed_mean(images, np.ones_like(images)).interval(0.95), 0) < 0.75


@pytest.mark.parametrize("shares", [(1, 0, 0.5), (1, 0.4, 0.7), (0.3, 1, 0.3)])
def test_three_seeds_beside_patients_are_held_too(shares: tuple[float, float, float]):
    generator = rng()
    whole = sum(
        share * generator.normal(size=size)
        for share, size in zip(shares, ((1500, 30, 1), (1500, 1, 3), (1500, 30, 3)), strict=True)
    )
    held = holds(*crossed_mean(whole, np.ones_like(whole)).interval(0.95), 0)
    assert 0.93 <= held <= 0.985  # it may hold more often, where seeds don't differ


def test_five_per_cent_of_failed_cases_are_not_held_by_20_patients():
    generator = rng()
    whole = np.where(generator.random((1500, 20)) < 0.05, 0, generator.normal(0.9, 0.03, (1500, 20)))
    # without any failure in 20, .36 of the tables, no interval reaches down to .855
    low, high = crossed_mean(whole[..., None], np.ones_like(whole)[..., None]).interval(0.95)
    assert 0.58 <= holds(low, high, 0.9 * 0.95) <= 0.70


def test_the_studentised_interval_leans_to_the_side_of_the_tail():
    scores = rng().exponential(size=30)
    low, high = studentised_interval(scores, np.ones(30), rng())
    assert high - scores.mean() > 1.2 * (scores.mean() - low)


def test_draws_without_spread_leave_the_studentised_interval_without_ends():
    # a ninth of the draws of three patients is one of them three times
    low, high = studentised_interval(np.array([0.0, 1.0, 5.0]), np.ones(3), rng())
    assert (low, high) == (-math.inf, math.inf)
    assert studentised_interval(np.ones(3), np.ones(3), rng()) == (1, 1)


def test_blocks_decide_nothing(monkeypatch: pytest.MonkeyPatch):
    scores = rng().normal(size=50)
    whole = studentised_interval(scores, np.ones(50), rng())
    monkeypatch.setattr("medi2i.metrics.statistics.intervals._CHUNK_ELEMENTS", 600)
    assert studentised_interval(scores, np.ones(50), rng()) == pytest.approx(whole)


def test_an_interval_ends_where_the_mean_can_be():
    found = mean_interval([0.0, 0.0, 3.0], ["a", "b", "c"])
    assert found.low < 0
    bounded = found.within(0, math.inf)
    assert (bounded.low, bounded.high, bounded.estimate) == (0, found.high, 1)
    assert found.within(0, 1).high == 1
    assert mean_interval([1.0], ["a"]).within(0, 1).low is None
