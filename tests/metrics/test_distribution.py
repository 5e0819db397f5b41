import math

import numpy as np
import pytest

from medi2i.errors import UsageError
from medi2i.metrics.distribution import (
    energy_distance,
    energy_distances,
    split_half_floor,
    split_half_floors,
)
from medi2i.metrics.features import FEATURE_COUNT, FEATURE_GROUPS


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def gaussian_energy_distance(shift: float) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of N(0, 1) and N(shift, 1): differences have variance 2."""
    folded = 2 / math.sqrt(math.pi) * math.exp(-(shift**2) / 4) + shift * math.erf(shift / 2)
    return 2 * folded - 4 / math.sqrt(math.pi)


def test_hand_computed_distances():
    # across: (3 + 5 + 2 + 4) / 4 = 3.5; within: 1 and 2
    assert energy_distance(column(0, 1), column(3, 5)) == pytest.approx(4)
    # across 1, within 2 and 0
    assert energy_distance(column(0, 2), column(1, 1)) == pytest.approx(0)
    # Euclidean: (0, 0) and (3, 4) are 5 apart from each other
    assert energy_distance(np.array([[0.0, 0], [0, 0]]), np.array([[3.0, 4], [3, 4]])) == pytest.approx(10)


def test_pairs_within_a_patient_do_not_count():
    # within x: only |0 - 10| and |1 - 10|, mean 9.5; across: mean of 0, 1, 10 is 11 / 3
    distance = energy_distance(column(0, 1, 10), column(0, 0), x_groups=["a", "a", "b"])
    assert distance == pytest.approx(22 / 3 - 9.5)


def test_too_few_images_or_patients_are_undefined():
    two = column(0, 1)
    assert math.isnan(energy_distance(two, column(1)))
    assert math.isnan(energy_distance(column(1), two))
    assert math.isnan(energy_distance(two, two, x_groups=["a", "a"]))
    assert math.isnan(energy_distance(np.empty((0, 1)), two))
    assert math.isnan(energy_distance(two, column(1, math.nan)))


def test_it_is_symmetric_and_does_not_depend_on_the_order_of_images():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 4)), rng.normal(1, 2, size=(13, 4))
    patients = [str(index // 2) for index in range(9)]
    distance = energy_distance(x, y, x_groups=patients)
    assert energy_distance(y, x, y_groups=patients) == pytest.approx(distance)
    order = rng.permutation(9)
    shuffled = energy_distance(x[order], y[::-1], x_groups=[patients[index] for index in order])
    assert shuffled == pytest.approx(distance)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(11, 3))
    whole = energy_distance(x, y)
    monkeypatch.setattr("medi2i.metrics.distribution._BLOCK_ROWS", 7)
    assert energy_distance(x, y) == pytest.approx(whole)


@pytest.mark.parametrize("shift", [0.0, 1.0])
@pytest.mark.parametrize("n", [2, 6, 40])
def test_the_estimate_is_unbiased_at_any_number_of_images(shift: float, n: int):
    rng = np.random.default_rng(n)
    draws = np.array(
        [energy_distance(rng.normal(size=(n, 1)), rng.normal(shift, 1, (n + 3, 1))) for _ in range(600)]
    )
    error = abs(draws.mean() - gaussian_energy_distance(shift))
    assert error < 4 * draws.std() / math.sqrt(draws.size)


def test_it_grows_with_the_shift():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 3))
    distances = [energy_distance(x, y + shift) for shift in (0.5, 1, 2, 4)]
    assert distances == sorted(distances)
    assert distances[0] > 0.1


def clustered(rng: np.random.Generator, patients: int, images: int) -> tuple[np.ndarray, list[str]]:
    """One-dimensional features: patients differ with deviation 1, images of one with 0.3."""
    centers = np.repeat(rng.normal(size=patients), images)
    names = [f"p{index // images}" for index in range(patients * images)]
    return (centers + rng.normal(0, 0.3, centers.size))[:, None], names


def test_only_between_patient_pairs_keep_clustered_sets_unbiased():
    rng = np.random.default_rng(0)
    by_patient, by_image = [], []
    for _ in range(300):
        (x, x_names), (y, y_names) = clustered(rng, 5, 4), clustered(rng, 6, 3)
        by_patient.append(energy_distance(x, y, x_groups=x_names, y_groups=y_names))
        by_image.append(energy_distance(x, y))
    assert abs(np.mean(by_patient)) < 4 * np.std(by_patient) / math.sqrt(300)
    assert np.mean(by_image) > 8 * np.std(by_image) / math.sqrt(300)


def test_the_floor_is_near_zero_and_its_spread_is_that_of_equal_sets():
    rng = np.random.default_rng(1)
    floors = [split_half_floor(rng.normal(size=(40, 1)), None, rng=rng, repeats=100) for _ in range(20)]
    assert abs(np.mean([floor.mean for floor in floors])) < 0.02
    equal = [energy_distance(rng.normal(size=(20, 1)), rng.normal(size=(20, 1))) for _ in range(500)]
    assert np.mean([floor.sd for floor in floors]) == pytest.approx(np.std(equal), rel=0.25)


def test_the_floor_of_clustered_images_is_near_zero_too():
    rng = np.random.default_rng(2)
    floors = []
    for _ in range(20):
        features, patients = clustered(rng, 12, 4)
        floors.append(split_half_floor(features, patients, rng=rng, repeats=100))
    assert abs(np.mean([floor.mean for floor in floors])) < 0.03
    assert (floors[0].n_images, floors[0].n_patients) == (48, 12)


def test_floor_agrees_with_distances_of_the_same_halves(monkeypatch: pytest.MonkeyPatch):
    features, patients = clustered(np.random.default_rng(3), 5, 2)
    halves = np.array([[True, True, False, True, False], [False, True, True, False, False]])
    members = np.repeat(np.arange(5), 2)
    monkeypatch.setattr("medi2i.metrics.distribution._draw_halves", lambda *_: halves[:, members])
    floor = split_half_floor(features, patients, rng=np.random.default_rng(0), repeats=2)
    names = np.array(patients)
    expected = [
        energy_distance(
            features[half], features[~half], x_groups=names[half].tolist(), y_groups=names[~half].tolist()
        )
        for half in halves[:, members]
    ]
    assert floor.mean == pytest.approx(np.mean(expected))
    assert floor.sd == pytest.approx(np.std(expected, ddof=1))


def test_halves_are_of_patients_and_of_equal_size():
    from medi2i.metrics.distribution import _draw_halves

    members = np.array([0, 0, 1, 2, 2, 2, 3])
    halves = _draw_halves(members, 4, 50, np.random.default_rng(0))
    for half in halves:
        assert len(set(members[half])) == 2
        assert not set(members[half]) & set(members[~half])
    assert len({half.tobytes() for half in halves}) == 6  # all choices of 2 patients of 4


def test_three_patients_have_no_floor_and_the_seed_decides():
    features = np.random.default_rng(0).normal(size=(12, 2))
    assert math.isnan(split_half_floor(features[:3], None, rng=np.random.default_rng(0)).mean)
    first, second = (split_half_floor(features, None, rng=np.random.default_rng(5)) for _ in range(2))
    assert first == second


def test_groups_of_features_are_given_together_and_alone():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 12, FEATURE_COUNT))
    y[:, FEATURE_GROUPS["spectrum"]] += 2
    distances = energy_distances(x, y)
    assert list(distances) == ["all", "intensity", "gradient", "spectrum"]
    assert distances["all"] == energy_distance(x, y)
    columns = FEATURE_GROUPS["spectrum"]
    assert distances["spectrum"] == energy_distance(x[:, columns], y[:, columns])
    assert distances["spectrum"] > 3 > abs(distances["intensity"])
    assert list(split_half_floors(x, None, rng=rng, repeats=3)) == list(distances)


def test_patients_and_images_must_be_as_many():
    with pytest.raises(UsageError, match="1 patients for 2 images"):
        energy_distance(column(0, 1), column(0, 1), y_groups=["a"])
