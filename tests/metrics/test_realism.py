import math

import numpy as np
import pytest
from scipy.linalg import sqrtm

from medi2i.errors import UsageError
from medi2i.metrics.realism import (
    frechet_distance,
    frechet_floor,
    median_bandwidth,
    polynomial_floor,
    polynomial_mmd,
    rbf_floor,
    rbf_mmd,
)


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_hand_computed_kernel_distances():
    # (a b + 1)^3: within 1 and 27; across 1, 1, 8, 27
    assert polynomial_mmd(column(0, 1), column(1, 2)) == pytest.approx(1 + 27 - 2 * 37 / 4)
    # two features: a.b is divided by 2
    assert polynomial_mmd(np.zeros((2, 2)), np.full((2, 2), 2.0)) == pytest.approx(1 + 5**3 - 2)
    expected = 2 - 2 * math.exp(-(3**2) / (2 * 2**2))
    assert rbf_mmd(column(0, 0), column(3, 3), bandwidth=2) == pytest.approx(expected)


def test_hand_computed_bandwidths():
    # distances 1, 4 and 3; without the pair of one patient 4 and 3
    assert median_bandwidth(column(0, 1, 4)) == 3
    assert median_bandwidth(column(0, 1, 4), ["a", "a", "b"]) == 3.5
    assert math.isnan(median_bandwidth(column(0)))


def test_hand_computed_frechet_distances():
    # means 1 and 5, variances 2 and 8
    assert frechet_distance(column(0, 2), column(3, 7)) == pytest.approx(16 + 2 + 8 - 2 * 4)
    # drawn half way to the identity: diag(4, 0) becomes diag(3, 1), diag(0, 4) becomes diag(1, 3)
    x, y = np.array([[-1.0, 0], [1, 0], [-1, 0], [1, 0]]), np.array([[0.0, -1], [0, 1], [0, -1], [0, 1]])
    variance = 4 / 3
    assert frechet_distance(x, y) == pytest.approx(2 * variance)
    assert frechet_distance(x, y, shrinkage=0.5) == pytest.approx(variance * (2 - math.sqrt(3)))
    assert frechet_distance(x, y, shrinkage=1) == pytest.approx(0)


def test_frechet_distance_is_that_of_the_matrix_square_root():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 5)), rng.normal(1, 2, size=(20, 5)) @ rng.normal(size=(5, 5))
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    shared = np.trace(sqrtm(first @ second)).real
    shift = np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2)
    expected = shift + np.trace(first) + np.trace(second) - 2 * shared
    assert frechet_distance(x, y) == pytest.approx(expected)
    assert frechet_distance(y, x) == pytest.approx(expected)


def polynomial_distance(shift: float) -> float:
    """Of N(0, 1) and N(shift, 1): (a b + 1)^3 has the features 1, sqrt3 a, sqrt3 a^2 and a^3."""
    return 3 * shift**2 + 3 * shift**4 + (shift**3 + 3 * shift) ** 2


def gaussian_distance(shift: float) -> float:
    """Of N(0, 1) and N(shift, 1) with bandwidth 1: differences have variance 2."""
    return 2 / math.sqrt(3) * (1 - math.exp(-(shift**2) / 6))


@pytest.mark.parametrize("shift", [0.0, 0.5])
@pytest.mark.parametrize("n", [3, 20])
def test_kernel_estimates_are_unbiased_at_any_number_of_images(shift: float, n: int):
    rng = np.random.default_rng(n)
    sets = [(rng.normal(size=(n, 1)), rng.normal(shift, 1, (n + 3, 1))) for _ in range(800)]
    for measured, expected in (
        (np.array([polynomial_mmd(x, y) for x, y in sets]), polynomial_distance(shift)),
        (np.array([rbf_mmd(x, y, bandwidth=1) for x, y in sets]), gaussian_distance(shift)),
    ):
        assert abs(measured.mean() - expected) < 4 * measured.std() / math.sqrt(measured.size)


def test_frechet_distance_of_equal_sets_is_0_and_that_of_few_images_biased():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 6))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    few, many = (
        np.mean([frechet_distance(*rng.normal(size=(2, n, 6))) for _ in range(20)]) for n in (8, 200)
    )
    assert few > 5 * many


def clustered(rng: np.random.Generator, patients: int, images: int) -> tuple[np.ndarray, list[str]]:
    centers = np.repeat(rng.normal(size=patients), images)
    return (centers + rng.normal(0, 0.3, centers.size))[:, None], [
        f"p{index // images}" for index in range(patients * images)
    ]


def test_pairs_within_a_patient_do_not_count():
    # within x only (0, 2) and (1, 2): 1 and 27; across with 0: 1
    distance = polynomial_mmd(column(0, 1, 2), column(0, 0), x_groups=["a", "a", "b"])
    assert distance == pytest.approx((1 + 27) / 2 + 1 - 2)
    rng = np.random.default_rng(0)
    by_patient, by_image = [], []
    for _ in range(300):
        (x, x_names), (y, y_names) = clustered(rng, 5, 4), clustered(rng, 6, 3)
        by_patient.append(rbf_mmd(x, y, bandwidth=1, x_groups=x_names, y_groups=y_names))
        by_image.append(rbf_mmd(x, y, bandwidth=1))
    assert abs(np.mean(by_patient)) < 4 * np.std(by_patient) / math.sqrt(300)
    assert np.mean(by_image) > 8 * np.std(by_image) / math.sqrt(300)


def test_floors_of_kernels_are_near_0_and_spread_as_equal_sets_do():
    rng = np.random.default_rng(1)
    floors = [rbf_floor(rng.normal(size=(30, 1)), None, bandwidth=1, rng=rng, repeats=60) for _ in range(20)]
    equal = [rbf_mmd(*rng.normal(size=(2, 15, 1)), bandwidth=1) for _ in range(400)]
    assert abs(np.mean([floor.mean for floor in floors])) < 0.01
    assert np.mean([floor.sd for floor in floors]) == pytest.approx(np.std(equal), rel=0.3)
    floor = polynomial_floor(*clustered(rng, 12, 3), rng=rng, repeats=20)
    assert (floor.n_images, floor.n_patients, floor.repeats) == (36, 12, 20)
    assert floor.sd > 0


def test_the_frechet_floor_is_the_bias_at_half_the_images():
    rng = np.random.default_rng(2)
    floor = frechet_floor(rng.normal(size=(40, 4)), None, rng=rng)
    equal = np.mean([frechet_distance(*rng.normal(size=(2, 20, 4))) for _ in range(50)])
    assert floor.mean == pytest.approx(equal, rel=0.4)
    assert floor.mean > 5 * frechet_distance(*rng.normal(size=(2, 400, 4)))


def test_a_patient_is_in_one_half_only():
    # two images a patient, the same twice: halves of images would share them, and be nearer
    features = np.repeat(np.eye(6), 2, axis=0)
    names = [str(index // 2) for index in range(12)]
    floors = [frechet_floor(features, groups, rng=np.random.default_rng(0)).mean for groups in (names, None)]
    assert floors[0] > 1.2 * floors[1]


def test_too_few_images_or_patients_are_undefined():
    one, two = column(1), column(0, 1)
    for distance in (
        polynomial_mmd(one, two),
        polynomial_mmd(two, two, x_groups=["a", "a"]),
        rbf_mmd(two, one, bandwidth=1),
        rbf_mmd(two, two, bandwidth=math.nan),
        rbf_mmd(two, column(0, math.nan), bandwidth=1),
        frechet_distance(one, two),
        frechet_distance(two, column(0, math.nan)),
    ):
        assert math.isnan(distance)
    three = column(0, 1, 2)
    assert math.isnan(polynomial_floor(three, None, rng=np.random.default_rng(0)).mean)
    floor = frechet_floor(three, None, rng=np.random.default_rng(0))
    assert math.isnan(floor.mean) and floor.n_patients == 3


def test_settings_that_cannot_be_used_are_refused():
    two = column(0, 1)
    with pytest.raises(UsageError, match="bandwidth"):
        rbf_mmd(two, two, bandwidth=0)
    with pytest.raises(UsageError, match="shrinkage"):
        frechet_distance(two, two, shrinkage=1.5)
    with pytest.raises(UsageError, match="1 patients for 2 images"):
        polynomial_mmd(two, two, y_groups=["a"])
