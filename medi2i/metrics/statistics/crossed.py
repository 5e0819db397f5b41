"""A mean over images and how sure it is, where patients and seeds are both samples of many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from scipy import stats


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over images, or a batch of them, and its variance by where it comes from.

    Attributes:
        estimate: sum over all images divided by their number.
        of_patients, of_seeds: parts of the variance of the estimate.
        n_patients, n_seeds: how many there are of each.
    """

    estimate: Float64[np.ndarray, "*B"]
    of_patients: Float64[np.ndarray, "*B"]
    of_seeds: Float64[np.ndarray, "*B"]
    n_patients: int
    n_seeds: int

    def interval(self, level: float) -> tuple[Float64[np.ndarray, "*B"], Float64[np.ndarray, "*B"]]:
        """Low and high end: each part has Student's half-width of its own, and their squares are added.

        Zou and Donner, Statistics in Medicine 27, 2008 (MOVER). Three seeds beside 63 patients get the
        quantile of two degrees of freedom for their part only; one pooled number of degrees of freedom
        (Satterthwaite) covers .92 to .94 there.
        """
        factors = squared_quantiles(level, self.n_patients, self.n_seeds)
        half = np.sqrt(factors[0] * self.of_patients + factors[1] * self.of_seeds)
        return self.estimate - half, self.estimate + half


@dataclass(frozen=True, slots=True)
class Covariance:
    """Covariance of the means of two tables by patient and seed, by where it comes from.

    Attributes:
        of_patients: part of the patients, with what they have in common with no seed.
        of_seeds: part of the seeds beyond what chance within patients makes of them; an estimate, so a
            variance may come out below 0. 0 for one seed.
    """

    of_patients: Float64[np.ndarray, "*B"]
    of_seeds: Float64[np.ndarray, "*B"]


def covariance_of_means(x: Float64[np.ndarray, "*B P S"], y: Float64[np.ndarray, "*B P S"]) -> Covariance:
    """Covariance of the means of two tables (with x = y: the variance).

    The two-way random layout without replication: Var(mean) = (MS_patients + MS_seeds - MS_rest) / (P S)
    (Scheffé, "The analysis of variance", 1959, §7.4).
    """
    n_patients, n_seeds = x.shape[-2:]
    (x_patients, x_seeds, x_rest), (y_patients, y_seeds, y_rest) = _split(x), _split(y)
    freedom = max(n_seeds - 1, 1)  # with one seed the deviations are 0
    seeds = n_patients * (x_seeds * y_seeds).sum(-1) / freedom
    rest = (x_rest * y_rest).sum((-2, -1)) / ((n_patients - 1) * freedom)
    return Covariance(
        of_patients=(x_patients * y_patients).sum(-1) / ((n_patients - 1) * n_patients),
        of_seeds=(seeds - rest) / (n_patients * n_seeds),
    )


def squared_quantiles(level: float, n_patients: int, n_seeds: int) -> tuple[float, float]:
    """Student's two-sided quantiles, squared, for patients and for seeds; 0 for one seed."""
    patients = float(stats.t.ppf((1 + level) / 2, n_patients - 1)) ** 2
    return patients, float(stats.t.ppf((1 + level) / 2, n_seeds - 1)) ** 2 if n_seeds > 1 else 0.0


def crossed_mean(sums: Float[np.ndarray, "*B P S"], counts: Float[np.ndarray, "*B P S"]) -> Mean:
    """Mean over images of patients and seeds, with the variance of both.

    With one seed and equally many images a patient its interval is the textbook's t on patient means. Images
    that are unequally many enter as a ratio of sums (Cochran, "Sampling techniques", 1977, §6.3).

    Args:
        sums: of the scores of a patient's images under one seed.
        counts: of these images; every patient and every seed has at least one, and there are two patients.
    """
    total = np.asarray(counts.sum((-2, -1)), dtype=np.float64)
    estimate = np.asarray(sums.sum((-2, -1)) / total)
    n_patients, n_seeds = sums.shape[-2:]
    scale = n_patients * n_seeds / total
    deviations = (sums - estimate[..., None, None] * counts) * scale[..., None, None]
    variance = covariance_of_means(deviations, deviations)
    return Mean(estimate, variance.of_patients, np.maximum(variance.of_seeds, 0), n_patients, n_seeds)


def _split(
    table: Float64[np.ndarray, "*B P S"],
) -> tuple[Float64[np.ndarray, "*B P"], Float64[np.ndarray, "*B S"], Float64[np.ndarray, "*B P S"]]:
    """Deviations of patients, of seeds, and what neither explains."""
    centred = table - table.mean((-2, -1), keepdims=True)
    patients, seeds = centred.mean(-1), centred.mean(-2)
    return patients, seeds, centred - patients[..., :, None] - seeds[..., None, :]
