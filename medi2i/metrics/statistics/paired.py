"""Tests of paired differences on patients: Wilcoxon's signed ranks, their effect size, Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from scipy import stats


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Wilcoxon's signed-rank test of two methods on the same patients.

    Attributes:
        p_value: two-sided; 1 where no patient differs, NaN without patients.
        effect: matched-pairs rank biserial correlation, -1 to 1: share of rank sum where the first is higher,
            less the share where it is lower; 0 where no patient differs, NaN without patients.
        n_patients: patients with a defined difference.
        n_equal: those of them whose difference is 0; they take no part in ranks.
    """

    p_value: float
    effect: float
    n_patients: int
    n_equal: int


def signed_rank_test(differences: Float[np.ndarray, "P S"]) -> PairedTest:
    """Wilcoxon's signed-rank test on per-patient means over seeds.

    Wilcoxon, Biometrics Bulletin 1, 1945, zeros left out; exact up to 50 patients without ties. Effect size:
    Kerby, "The simple difference formula", Comprehensive Psychology 3, 2014. Seeds are averaged and not
    tested: of one run against one run without any difference, 72 % come out "significant" (evaluation.md,
    §B), so the verdict rests on an interval over patients and seeds, and this stands beside it.

    Args:
        differences: of two methods, by patient and seed; NaN is undefined.
    """
    defined = ~np.isnan(differences)
    counts = defined.sum(1)
    means = np.where(defined, differences, 0).sum(1)[counts > 0] / counts[counts > 0]
    moved = means[means != 0]
    if not moved.size:
        empty = math.nan if not means.size else 0.0
        return PairedTest(math.nan if not means.size else 1.0, empty, means.size, means.size)
    ranks = stats.rankdata(np.abs(moved))
    return PairedTest(
        p_value=float(stats.wilcoxon(moved).pvalue),
        effect=float((ranks * np.sign(moved)).sum() / ranks.sum()),
        n_patients=int(means.size),
        n_equal=int(means.size - moved.size),
    )


def adjust_holm(p_values: Sequence[float] | Float[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
    """P values adjusted for being several (Holm, Scandinavian Journal of Statistics 6, 1979), in their order.

    NaN stays NaN and counts for no test.
    """
    found = np.array(p_values, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(found))
    order = tested[np.argsort(found[tested], kind="stable")]
    steps = found[order] * np.arange(order.size, 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return found
