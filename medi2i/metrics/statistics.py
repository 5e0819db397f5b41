"""Uncertainty of a mean over images, with the patient as the unit that is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from medi2i.errors import UsageError

_CHUNK_ELEMENTS = 2_000_000


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """A mean over images and its bootstrap interval.

    Attributes:
        estimate: mean over the images with a defined value; NaN without any.
        low, high: ends of the interval, or None where there are fewer than two units to draw from.
        n_images: images with a defined value.
        n_undefined: images whose value is NaN; they count in nothing else.
        n_patients: patients with a defined value; None when patients are unknown.
        patients_unknown: images were drawn instead of patients, so the interval is too narrow when a patient
            has several images.
    """

    estimate: float
    low: float | None
    high: float | None
    n_images: int
    n_undefined: int
    n_patients: int | None
    patients_unknown: bool


def bootstrap_mean(
    values: Sequence[float] | Float[np.ndarray, " N"],
    groups: Sequence[str] | None,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    n: int = 2000,
) -> MeanInterval:
    """Mean over images with a percentile bootstrap interval that draws whole patients (cluster bootstrap).

    Davison and Hinkley, "Bootstrap methods and their application", 1997, §3.8: as many patients as there are,
    with replacement, each with all its images. The interval is too narrow for few patients: with 20 of 5
    images each it covers about .92 instead of .95.

    Args:
        values: one value an image; NaN is undefined.
        groups: the patient of each image, or None when unknown: images are drawn, and the result says so.
        rng: source of randomness.
        level: coverage aimed at.
        n: bootstrap samples.

    Raises:
        UsageError: `groups` and `values` differ in length.
    """
    scores = np.asarray(values, dtype=np.float64)
    if groups is not None and len(groups) != scores.size:
        raise UsageError(
            "bootstrap_mean",
            found=f"{len(groups)} patients for {scores.size} values",
            expected="one patient for each value",
            remedy="pass the patient of every image, or None",
        )
    defined = ~np.isnan(scores)
    scores = scores[defined]
    if groups is None:
        members = np.arange(scores.size)
    else:
        members = np.unique(np.asarray(groups, dtype=str)[defined], return_inverse=True)[1]
    sums, counts = np.bincount(members, weights=scores), np.bincount(members)
    low, high = _percentile_interval(sums, counts, rng, level, n) if sums.size > 1 else (None, None)
    return MeanInterval(
        estimate=float(scores.mean()) if scores.size else math.nan,
        low=low,
        high=high,
        n_images=int(scores.size),
        n_undefined=int(defined.size - scores.size),
        n_patients=None if groups is None else int(sums.size),
        patients_unknown=groups is None,
    )


def _percentile_interval(
    sums: np.ndarray, counts: np.ndarray, rng: np.random.Generator, level: float, n: int
) -> tuple[float, float]:
    units = sums.size
    means = []
    # in blocks: n draws of many thousand units at once would not fit in memory
    block = max(1, _CHUNK_ELEMENTS // units)
    for start in range(0, n, block):
        times = rng.multinomial(units, np.full(units, 1 / units), size=min(block, n - start))
        means.append((times @ sums) / (times @ counts))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
