"""How far two sets of images are from each other, and how far real images are from themselves.

All estimates are unbiased at any number of images, so that a distance, another with more images, and the
real-against-real floor can stand in one table. Distances say how alike two sets look and never rank methods.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.distance import cdist

from medi2i.errors import UsageError
from medi2i.metrics.features import FEATURE_GROUPS

_BLOCK_ROWS = 1024

# How unlike each row of one set is to each row of another: (N, D) and (M, D) to (N, M).
Dissimilarity = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class SplitHalfFloor:
    """Distance of one half of the real images from the other, over random halves.

    Attributes:
        mean: near 0 by construction where the estimate is unbiased.
        sd: how far a distance between equal sets of half the size strays from 0.
        n_images, n_patients: what was split.
        repeats: number of random halvings.
    """

    mean: float
    sd: float
    n_images: int
    n_patients: int
    repeats: int


def energy_distance(
    x: Float[np.ndarray, "N D"],
    y: Float[np.ndarray, "M D"],
    *,
    x_groups: Sequence[str] | None = None,
    y_groups: Sequence[str] | None = None,
) -> float:
    """Unbiased estimate of 2 E|X - Y| - E|X - X'| - E|Y - Y'| (Szekely and Rizzo 2013).

    The population's distance is >= 0, and 0 for equal distributions only ("Energy statistics", J Stat Plan
    Inference 143). Its U-statistic (means over pairs of different images) is 0 on average for equal
    distributions and so may be negative; do not clip it or take its root before averaging. The plain
    V-statistic would grow as images get fewer.

    Args:
        x, y: features, one row an image (`FeatureScaler.transform`); NaN gives NaN, see `is_defined`.
        x_groups, y_groups: patient of each image. Pairs within a patient then do not count: images of one
            patient are alike, which would make the set look narrow and the distance large. None takes each
            image as drawn on its own, the only way for a set of a single patient.

    Returns:
        NaN when a set has fewer than two images, or with groups fewer than two patients.

    Raises:
        UsageError: groups and features differ in length.
    """
    return set_distance(cdist, x, y, x_groups=x_groups, y_groups=y_groups)


def set_distance(
    dissimilarity: Dissimilarity,
    x: Float[np.ndarray, "N D"],
    y: Float[np.ndarray, "M D"],
    *,
    x_groups: Sequence[str] | None = None,
    y_groups: Sequence[str] | None = None,
) -> float:
    """Unbiased estimate of 2 E d(X, Y) - E d(X, X') - E d(Y, Y') for any dissimilarity d of two images.

    The energy distance for the Euclidean one; the squared maximum mean discrepancy for a kernel, negated.
    Arguments, NaN and errors as in `energy_distance`.
    """
    across = _mean_across(dissimilarity, x, y)
    within = [
        _mean_within(dissimilarity, features, number_patients(features, groups))
        for features, groups in ((x, x_groups), (y, y_groups))
    ]
    return 2 * across - within[0] - within[1]


def energy_distances(
    x: Float[np.ndarray, "N D"],
    y: Float[np.ndarray, "M D"],
    *,
    x_groups: Sequence[str] | None = None,
    y_groups: Sequence[str] | None = None,
) -> dict[str, float]:
    """`energy_distance` of all features together (`all`) and of each feature group alone."""
    return {
        name: energy_distance(x[:, columns], y[:, columns], x_groups=x_groups, y_groups=y_groups)
        for name, columns in _columns().items()
    }


def split_half_floor(
    features: Float[np.ndarray, "N D"],
    groups: Sequence[str] | None,
    *,
    rng: np.random.Generator,
    repeats: int = 200,
) -> SplitHalfFloor:
    """Energy distance of random halves of one set of real images; no patient is in both halves.

    Holds the matrix of all distances: 8 n^2 bytes, 200 MB for 5,000 images.

    Args:
        features: scaled features, one row an image.
        groups: patient of each image; None takes each image as a patient.
        rng: source of randomness.
        repeats: number of random halvings.

    Returns:
        mean and sd NaN for fewer than four patients: both halves need two.

    Raises:
        UsageError: groups and features differ in length.
    """
    return set_floor(cdist, features, groups, rng=rng, repeats=repeats)


def set_floor(
    dissimilarity: Dissimilarity,
    features: Float[np.ndarray, "N D"],
    groups: Sequence[str] | None,
    *,
    rng: np.random.Generator,
    repeats: int = 200,
) -> SplitHalfFloor:
    """`set_distance` of random halves of one set; arguments, NaN and errors as in `split_half_floor`."""
    members = number_patients(features, groups)
    halves = draw_halves(members, repeats, rng)
    patients = np.unique(members).size
    if not len(halves):
        return SplitHalfFloor(math.nan, math.nan, len(features), patients, repeats)
    first = halves.astype(np.float64)
    second = 1 - first
    distance = dissimilarity(features, features)
    counted = (members[:, None] != members[None]).astype(np.float64)
    within = distance * counted
    across = _quadratic(first, distance, second) / (first.sum(axis=1) * second.sum(axis=1))
    spread = sum(_quadratic(h, within, h) / _quadratic(h, counted, h) for h in (first, second))
    distances = 2 * across - spread
    return SplitHalfFloor(
        float(distances.mean()), float(distances.std(ddof=1)), len(features), patients, repeats
    )


def split_half_floors(
    features: Float[np.ndarray, "N D"],
    groups: Sequence[str] | None,
    *,
    rng: np.random.Generator,
    repeats: int = 200,
) -> dict[str, SplitHalfFloor]:
    """`split_half_floor` of all features together (`all`) and of each feature group alone."""
    return {
        name: split_half_floor(features[:, columns], groups, rng=rng, repeats=repeats)
        for name, columns in _columns().items()
    }


def _columns() -> dict[str, slice]:
    return {"all": slice(None), **FEATURE_GROUPS}


def number_patients(
    features: Float[np.ndarray, "N D"], groups: Sequence[str] | None
) -> Int[np.ndarray, " N"]:
    """Number of each image's patient, from 0; each image its own without groups.

    Raises:
        UsageError: groups and features differ in length.
    """
    if groups is None:
        return np.arange(len(features))
    if len(groups) != len(features):
        raise UsageError(
            "set distance",
            found=f"{len(groups)} patients for {len(features)} images",
            expected="one patient for each image",
            remedy="pass the patient of every image, or None",
        )
    return np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]


def draw_halves(
    members: Int[np.ndarray, " N"], repeats: int, rng: np.random.Generator
) -> Bool[np.ndarray, "R N"]:
    """Which images are in the first half, `repeats` times; a patient's images go together.

    The halves differ by one patient at most. No row for fewer than four patients: both halves need two.
    """
    patients = int(members.max()) + 1 if members.size else 0
    if patients < 4:
        return np.zeros((0, members.size), dtype=bool)
    return _draw_halves(members, patients, repeats, rng)


def _mean_across(dissimilarity: Dissimilarity, x: np.ndarray, y: np.ndarray) -> float:
    if not len(x) or not len(y):
        return math.nan
    starts = range(0, len(x), _BLOCK_ROWS)
    total = sum(dissimilarity(x[start : start + _BLOCK_ROWS], y).sum() for start in starts)
    return float(total) / (len(x) * len(y))


def _mean_within(dissimilarity: Dissimilarity, x: np.ndarray, members: np.ndarray) -> float:
    total, pairs = 0.0, 0
    for start in range(0, len(x), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        different = members[block, None] != members[None]
        total += float(np.where(different, dissimilarity(x[block], x), 0.0).sum())
        pairs += int(different.sum())
    return total / pairs if pairs else math.nan


def _draw_halves(
    members: np.ndarray, patients: int, repeats: int, rng: np.random.Generator
) -> Bool[np.ndarray, "R N"]:
    order = rng.permuted(np.tile(np.arange(patients), (repeats, 1)), axis=1)
    return (order < patients // 2)[:, members]


def _quadratic(left: np.ndarray, matrix: np.ndarray, right: np.ndarray) -> Float[np.ndarray, " R"]:
    """left_r^T matrix right_r of each row r."""
    return np.einsum("rn,rn->r", left @ matrix, right)
