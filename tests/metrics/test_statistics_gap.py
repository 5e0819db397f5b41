import math

import numpy as np
import pytest

from medi2i.errors import UsageError
from medi2i.metrics.statistics import crossed_interval, gap_closed


def rows(shares: tuple[float, ...], patients: int = 30, seeds: int = 3, spread: float = 0.02) -> np.ndarray:
    generator = np.random.default_rng(0)
    noise = generator.normal(0, spread, (len(shares), patients, seeds))
    return 0.7 + np.array(shares)[:, None, None] + noise


def test_half_of_the_gap_is_half():
    source = np.linspace(0.5, 0.8, 8)[:, None]
    closed = gap_closed(source + 0.1, source, source + 0.2)
    # every patient gains .1 of .2: nothing is uncertain
    assert (closed.estimate, closed.low, closed.high) == pytest.approx((0.5, 0.5, 0.5))
    assert closed.reason is None
    assert closed.exploratory


def test_a_gap_known_exactly_leaves_the_interval_of_the_numerator():
    source = np.zeros((10, 1))
    method = np.random.default_rng(0).normal(0.1, 0.05, (10, 1))
    closed, difference = gap_closed(method, source, source + 0.4), crossed_interval(method)
    assert (closed.low, closed.high) == pytest.approx((difference.low / 0.4, difference.high / 0.4))


def test_at_the_ends_of_the_interval_the_difference_just_reaches_zero():
    source, method, oracle = rows((0, 0.1, 0.2))
    closed = gap_closed(method, source, oracle)
    for share, end in ((closed.low, "high"), (closed.high, "low")):
        residual = crossed_interval(method - source - share * (oracle - source))
        # at the lower share the residual is above 0 and its lower end is 0, and the other way round
        assert getattr(residual, "low" if end == "high" else "high") == pytest.approx(0, abs=2e-4)
    assert closed.low < closed.estimate < closed.high


def test_a_gap_whose_interval_holds_zero_is_refused_in_words():
    closed = gap_closed(*rows((0.1, 0.001, 0)))
    assert (closed.estimate, closed.low, closed.high) == (None, None, None)
    assert "holds 0: there may be no gap to close" in closed.reason
    assert closed.gap.low < 0 < closed.gap.high


def test_an_oracle_below_source_only_is_refused():
    assert "the oracle scores below source-only, by 0." in gap_closed(*rows((0, 0, -0.2))).reason


def test_one_patient_is_refused():
    closed = gap_closed(*rows((0.1, 0, 0.2), patients=1))
    assert closed.reason == "fewer than two patients have every row's score: no interval"


def test_a_patient_without_one_of_the_scores_counts_in_none():
    method, source, oracle = rows((0.1, 0, 0.2))
    source = source.copy()
    source[3, 1] = math.nan
    found = gap_closed(method, source, oracle)
    kept = np.arange(30) != 3
    plain = gap_closed(method[kept], source[kept], oracle[kept])
    assert (found.estimate, found.low, found.n_patients) == (plain.estimate, plain.low, 29)


def test_one_seed_stands_for_all_and_other_numbers_are_refused():
    method, source, oracle = rows((0.1, 0, 0.2))
    repeated = np.repeat(method[:, :1], 3, axis=1)
    assert gap_closed(method[:, :1], source, oracle) == gap_closed(repeated, source, oracle)
    with pytest.raises(UsageError, match="30 patients x 2 seeds"):
        gap_closed(method[:, :2], source, oracle)
    with pytest.raises(UsageError, match="29 patients x 3 seeds"):
        gap_closed(method[:29], source, oracle)


def test_half_a_gap_is_held_95_times_in_100():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        noise = 0.02 * generator.normal(size=(3, 20, 1)) + 0.01 * generator.normal(size=(3, 1, 3))
        source, method, oracle = np.array([0, 0.1, 0.2])[:, None, None] + noise + np.zeros((3, 20, 3))
        closed = gap_closed(method, source, oracle)
        held += closed.low <= 0.5 <= closed.high
    # four standard deviations of a share of .95 in 400 are .044
    assert 0.91 <= held / 400 <= 0.99
