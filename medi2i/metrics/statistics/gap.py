"""Gap closed: how far a method comes from source-only to the oracle, as a share of that way."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from medi2i.errors import UsageError
from medi2i.metrics.statistics.crossed import covariance_of_means, squared_quantiles
from medi2i.metrics.statistics.intervals import EXPLORATORY_BELOW, MeanInterval, crossed_interval


@dataclass(frozen=True, slots=True)
class GapClosed:
    """(method - source-only) / (oracle - source-only), or why there is none.

    Attributes:
        estimate: ratio of the mean differences; 0 is source-only, 1 the oracle; None where refused.
        low, high: ends of its interval; None where refused.
        reason: why it is refused, in words; None where it is not.
        gap: oracle - source-only with its interval.
        n_patients, n_seeds: what it is over.
    """

    estimate: float | None
    low: float | None
    high: float | None
    reason: str | None
    gap: MeanInterval
    n_patients: int
    n_seeds: int

    @property
    def exploratory(self) -> bool:
        """Whether there are too few patients for an interval that holds what it says."""
        return self.n_patients < EXPLORATORY_BELOW


def gap_closed(
    method: Float[np.ndarray, "P S1"],
    source_only: Float[np.ndarray, "P S2"],
    oracle: Float[np.ndarray, "P S3"],
    *,
    level: float = 0.95,
) -> GapClosed:
    """Gap closed with Fieller's interval over patients and seeds.

    The interval holds every share r for which the mean of (method - source-only) - r (oracle - source-only)
    may be 0 by the house's interval of a mean (Fieller, "Some problems in interval estimation", JRSS B 16,
    1954). It has two ends only where the interval of the denominator leaves 0 out; that is the rule by which
    the share is refused. How it covers, beside a bootstrap over patients, is in the table of
    `scripts/coverage`.

    Args:
        method, source_only, oracle: one score a patient (the same, in one order) and seed; higher is better.
            Rows have equally many seeds; one alone (a method without training) stands for all. A patient with
            an undefined score in any row counts in none.
        level: coverage aimed at.

    Raises:
        UsageError: patients differ in number, or rows differ in seeds and have more than one.
    """
    numerators, denominators = _differences(method, source_only, oracle)
    gap = crossed_interval(denominators, level=level)
    patients, seeds = denominators.shape
    reason = _refusal(gap)
    ends = None if reason else _fieller(numerators, denominators, level)
    if reason is None and ends is None:
        reason = "the interval of the share has no ends: the gap is too uncertain"
    if reason is not None or ends is None:
        return GapClosed(None, None, None, reason, gap, patients, seeds)
    estimate = float(numerators.mean() / denominators.mean())
    return GapClosed(estimate, *ends, None, gap, patients, seeds)


def _differences(
    method: np.ndarray, source_only: np.ndarray, oracle: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rows = (method, source_only, oracle)
    seeds = {row.shape[1] for row in rows} - {1}
    if len({len(row) for row in rows}) > 1 or len(seeds) > 1:
        raise UsageError(
            "gap_closed",
            found=" and ".join(f"{len(row)} patients x {row.shape[1]} seeds" for row in rows),
            expected="the same patients in every row, and equally many seeds or one",
            remedy="score all rows on the same folds with the same seeds",
        )
    scores = np.stack(np.broadcast_arrays(*rows)).astype(np.float64)
    method, source_only, oracle = scores[:, ~np.isnan(scores).any((0, 2))]
    return method - source_only, oracle - source_only


def _refusal(gap: MeanInterval) -> str | None:
    if gap.low is None or gap.high is None:
        return "fewer than two patients have every row's score: no interval"
    if gap.low <= 0 <= gap.high:
        return (
            f"the interval of oracle - source-only, {gap.low:.3f} to {gap.high:.3f}, holds 0: "
            "there may be no gap to close"
        )
    if gap.high < 0:
        return f"the oracle scores below source-only, by {-gap.estimate:.3f}: there is no gap to close"
    return None


def _fieller(x: np.ndarray, y: np.ndarray, level: float) -> tuple[float, float] | None:
    """Shares r whose mean(x - r y) may be 0 by the house's interval, or None where they have no two ends."""
    of_patients, of_seeds = squared_quantiles(level, *x.shape)
    residual = x - x.mean() / y.mean() * y
    # whether seeds differ beyond chance is decided once, at the estimate: the rest is a quadratic in r
    if covariance_of_means(residual, residual).of_seeds <= 0:
        of_seeds = 0.0
    parts = (covariance_of_means(a, b) for a, b in ((x, x), (x, y), (y, y)))
    of_x, of_xy, of_y = (float(of_patients * part.of_patients + of_seeds * part.of_seeds) for part in parts)
    square, linear, constant = y.mean() ** 2 - of_y, x.mean() * y.mean() - of_xy, x.mean() ** 2 - of_x
    if square <= 0:
        return None
    # at the estimate the quadratic is not above 0, so the root is real but for rounding
    root = math.sqrt(max(linear**2 - square * constant, 0.0))
    return float((linear - root) / square), float((linear + root) / square)
