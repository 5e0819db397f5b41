import math

import numpy as np
import pytest

from medi2i.errors import UsageError
from medi2i.metrics.statistics import bootstrap_mean


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_two_patients_give_the_mean_and_an_interval_between_them():
    # draws of two patients: both 0, both 1, or mixed; 2.5 % and 97.5 % lie in the outer quarters
    result = bootstrap_mean([0, 0, 1, 1], ["a", "a", "b", "b"], rng())
    assert (result.estimate, result.low, result.high) == (0.5, 0.0, 1.0)
    assert (result.n_images, result.n_patients, result.n_undefined) == (4, 2, 0)
    assert not result.patients_unknown


def test_the_mean_is_over_images_and_patients_bring_all_of_theirs():
    result = bootstrap_mean([0, 0, 0, 1], ["a", "a", "a", "b"], rng(), level=0.5)
    assert result.estimate == 0.25
    # draws: aa 0 (1/4), ab 0.25 (1/2), bb 1 (1/4); quartiles of 2000 draws lie at the jumps' edges
    assert result.low in (0.0, 0.25)
    assert result.high in (0.25, 1.0)


def test_undefined_values_are_left_out_and_counted():
    result = bootstrap_mean([1, math.nan, 3, math.nan], ["a", "a", "b", "c"], rng())
    assert (result.estimate, result.n_images, result.n_undefined, result.n_patients) == (2, 2, 2, 2)


def test_unknown_patients_are_said_and_images_are_drawn():
    result = bootstrap_mean([1.0, 2.0, 3.0], None, rng())
    assert result.patients_unknown
    assert result.n_patients is None
    assert result.low is not None and result.high is not None
    assert 1 <= result.low < 2 < result.high <= 3


@pytest.mark.parametrize("groups", [["a", "a", "a"], ["a", "b", "c"]])
def test_a_single_patient_has_no_interval(groups: list[str]):
    result = bootstrap_mean([1.0, math.nan, math.nan], groups, rng())
    assert (result.estimate, result.low, result.high, result.n_patients) == (1, None, None, 1)


def test_nothing_defined_has_no_mean():
    for values in ([], [math.nan]):
        result = bootstrap_mean(values, None, rng())
        assert math.isnan(result.estimate)
        assert (result.low, result.high, result.n_images, result.n_undefined) == (None, None, 0, len(values))


def test_the_interval_of_many_images_is_the_normal_one():
    values = rng().normal(5, 2, 4000)
    result = bootstrap_mean(values, None, rng())
    half = 1.96 * values.std() / math.sqrt(4000)
    assert result.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert result.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_blocks_and_seed_decide_nothing_else(monkeypatch: pytest.MonkeyPatch):
    values = rng().normal(size=50)
    whole = bootstrap_mean(values, None, rng())
    monkeypatch.setattr("medi2i.metrics.statistics._CHUNK_ELEMENTS", 600)
    assert bootstrap_mean(values, None, rng()) == whole


def test_drawing_patients_covers_the_true_mean_and_drawing_images_does_not():
    # 20 patients with 5 images: patients differ with deviation 1, images of one with 0.5; true mean 0
    generator = rng()
    patients = [f"p{index // 5}" for index in range(100)]
    covered = {"patients": 0, "images": 0}
    for _ in range(300):
        values = np.repeat(generator.normal(size=20), 5) + generator.normal(0, 0.5, 100)
        for name, groups in (("patients", patients), ("images", None)):
            result = bootstrap_mean(values, groups, generator, n=300)
            assert result.low is not None and result.high is not None
            covered[name] += result.low <= 0 <= result.high
    assert 0.88 <= covered["patients"] / 300 <= 0.97
    assert covered["images"] / 300 < 0.75


def test_as_many_patients_as_values_are_expected():
    with pytest.raises(UsageError, match="1 patients for 2 values"):
        bootstrap_mean([1.0, 2.0], ["a"], rng())
