"""Intervals of a mean over images, with the patient as the unit that is drawn, and seeds beside it.

The house's interval is Student's on patients, and on seeds where there are several. Why: of 4,000 simulated
tables each (`scripts/coverage`), the share whose 95 % interval held the true mean, and the interval's width:

| patients x images | t | studentised bootstrap | percentile | BCa |
|---|---|---|---|---|
| 5 x 1, normal | .952 (.069) | .947 (.091) | .832 (.042) | .832 (.044) |
| 20 x 5, normal | .948 (.024) | .944 (.024) | .918 (.022) | .920 (.022) |
| 50 x 1, normal | .950 (.017) | .948 (.017) | .939 (.016) | .939 (.016) |
| 20 x 1, 5 % fail | .641 (.190) | .635 (.474) | .635 (.149) | .622 (.227) |
| 20 x 5, 5 % of images fail | .929 (.081) | .964 (.093) | .917 (.073) | .938 (.075) |
| 20 x 5, 5 % of patients fail | .635 (.189) | .632 (.529) | .631 (.148) | .616 (.226) |
| 50 x 1, 5 % fail | .919 (.103) | .912 (.213) | .916 (.097) | .904 (.123) |
| 200 x 1, 5 % fail | .931 (.055) | .973 (.060) | .933 (.054) | .949 (.056) |

t keeps its level on normal scores at every size, which percentile and BCa don't. The studentised bootstrap
does too, and is better where most draws hold a failed case, but twice as wide without covering more where
they don't, as with one film of each of a few dozen patients; nor can it draw from three seeds. Failed cases
that few patients have are beyond every interval: fewer than `EXPLORATORY_BELOW` patients are exploratory.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from medi2i.errors import UsageError
from medi2i.metrics.statistics.crossed import crossed_mean

EXPLORATORY_BELOW = 50  # patients; coverage with failed cases, above
_CHUNK_ELEMENTS = 2_000_000


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """A mean over images and its interval.

    Attributes:
        estimate: mean over the images with a defined value; NaN without any.
        low, high: ends of the interval, or None where there are fewer than two units to draw from.
        n_images: images with a defined value (of every seed).
        n_undefined: images whose value is NaN; they count in nothing else.
        n_patients: patients with a defined value; None when patients are unknown.
        patients_unknown: images were taken for patients, so the interval is too narrow when a patient has
            several images.
    """

    estimate: float
    low: float | None
    high: float | None
    n_images: int
    n_undefined: int
    n_patients: int | None
    patients_unknown: bool

    @property
    def exploratory(self) -> bool:
        """Whether there are too few patients for an interval that holds what it says."""
        return self.n_patients is None or self.n_patients < EXPLORATORY_BELOW

    def within(self, least: float, most: float) -> MeanInterval:
        """The same with ends where the mean can be (a length is not below 0); it covers as often."""
        low, high = (None if end is None else min(max(end, least), most) for end in (self.low, self.high))
        return dataclasses.replace(self, low=low, high=high)


def mean_interval(
    values: Sequence[float] | Float[np.ndarray, " N"],
    groups: Sequence[str] | None,
    *,
    level: float = 0.95,
) -> MeanInterval:
    """Mean over images with Student's interval over patients, P - 1 degrees of freedom.

    Args:
        values: one value an image; NaN is undefined.
        groups: the patient of each image, or None when unknown: each image counts as one, and the result says
            so.
        level: coverage aimed at.

    Raises:
        UsageError: `groups` and `values` differ in length.
    """
    scores = np.asarray(values, dtype=np.float64)
    if groups is not None and len(groups) != scores.size:
        raise UsageError(
            "mean_interval",
            found=f"{len(groups)} patients for {scores.size} values",
            expected="one patient for each value",
            remedy="pass the patient of every image, or None",
        )
    defined = ~np.isnan(scores)
    members = np.arange(scores.size).astype(str) if groups is None else np.asarray(groups, dtype=str)
    places = np.unique(members[defined], return_inverse=True)[1]
    sums = np.bincount(places, weights=scores[defined])[:, None]
    return _summarize(
        sums, np.bincount(places)[:, None], level, n_undefined=int((~defined).sum()), known=groups is not None
    )


def crossed_interval(scores: Float[np.ndarray, "P S"], *, level: float = 0.95) -> MeanInterval:
    """Mean of a score by patient and seed, with Student's interval over both.

    Differences of two methods go in as `a - b`. Trainings of one method differ by more than patients do
    (evaluation.md, §B): few seeds give few degrees of freedom, and the interval is as wide as that.

    Args:
        scores: one a patient and seed; NaN is undefined. A patient without any counts in nothing.
        level: coverage aimed at.
    """
    defined = ~np.isnan(scores)
    return crossed_sums_interval(
        np.where(defined, scores, 0), defined.astype(float), level=level, n_undefined=int((~defined).sum())
    )


def crossed_sums_interval(
    sums: Float[np.ndarray, "P S"],
    counts: Float[np.ndarray, "P S"],
    *,
    level: float = 0.95,
    n_undefined: int = 0,
) -> MeanInterval:
    """As `crossed_interval`, of patients with several images.

    Args:
        sums: of the scores of a patient's images under one seed.
        counts: of these images. Patients and seeds without any count in nothing.
        level: coverage aimed at.
        n_undefined: handed on to the result.
    """
    patients, seeds = counts.sum(1) > 0, counts.sum(0) > 0
    sums, counts = sums[patients][:, seeds], counts[patients][:, seeds]
    return _summarize(sums, counts, level, n_undefined=n_undefined, known=True)


def studentised_interval(
    sums: Float[np.ndarray, "*B P"],
    counts: Float[np.ndarray, "*B P"],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    n: int = 2000,
) -> tuple[Float64[np.ndarray, "*B"], Float64[np.ndarray, "*B"]]:
    """Studentised cluster bootstrap (bootstrap-t) of a mean over images: whole patients are drawn.

    Davison and Hinkley, "Bootstrap methods and their application", 1997, §2.4 and §3.8. An end is infinite
    where more draws than it cuts off have no spread at all, as with three patients.

    Args:
        sums: of the scores of a patient's images.
        counts: of these images.
        rng: source of randomness; a batch shares its draws.
        level: coverage aimed at.
        n: bootstrap samples.

    Returns:
        low and high.
    """
    units = sums.shape[-1]
    mean = crossed_mean(sums[..., None], counts[..., None])
    deviations = (sums - mean.estimate[..., None] * counts) / counts.mean(-1, keepdims=True)
    # in blocks: n draws for many patients at once would not fit in memory
    block = max(1, _CHUNK_ELEMENTS // sums.size)
    drawn = [
        _student(deviations, rng.multinomial(units, np.full(units, 1 / units), size=min(block, n - start)))
        for start in range(0, n, block)
    ]
    # no interpolation: between infinite values it is undefined
    low, high = np.quantile(
        np.concatenate(drawn, axis=-1), [(1 - level) / 2, (1 + level) / 2], axis=-1, method="inverted_cdf"
    )
    error = np.sqrt(mean.of_patients)
    return mean.estimate - high * error, mean.estimate - low * error


def _student(deviations: Float64[np.ndarray, "*B P"], times: np.ndarray) -> Float64[np.ndarray, "*B n"]:
    """Student's statistic of each draw: how far its mean is off, in its own standard errors."""
    units = deviations.shape[-1]
    means = deviations @ times.T / units
    squares = deviations**2 @ times.T / units - means**2
    # rounding leaves some spread where there is none
    spread = squares > 1e-12 * (deviations**2).mean(-1, keepdims=True)
    errors = np.sqrt(np.where(spread, squares, 0) / (units - 1))
    off = np.where(np.isclose(means, 0, atol=1e-15), 0.0, np.copysign(np.inf, means))
    found: Float64[np.ndarray, "*B n"] = np.divide(means, errors, out=off, where=spread)
    return found


def _summarize(
    sums: np.ndarray, counts: np.ndarray, level: float, *, n_undefined: int, known: bool
) -> MeanInterval:
    patients = len(sums)
    low, high = None, None
    if patients > 1:
        ends = crossed_mean(sums.astype(np.float64), counts.astype(np.float64)).interval(level)
        low, high = (float(end) for end in ends)
    total = counts.sum()
    return MeanInterval(
        estimate=float(sums.sum() / total) if total else math.nan,
        low=low,
        high=high,
        n_images=int(total),
        n_undefined=n_undefined,
        n_patients=patients if known else None,
        patients_unknown=not known,
    )
