import math

import numpy as np
import pytest
from scipy import stats

from medi2i.metrics.statistics import adjust_holm, signed_rank_test


def test_five_patients_that_all_gain_have_the_smallest_p_value_of_five():
    # two-sided, 2 of 32 sign patterns are as extreme
    found = signed_rank_test(np.array([[1.0], [2.0], [3.0], [4.0], [5.0]]))
    assert (found.p_value, found.effect, found.n_patients, found.n_equal) == (2 / 32, 1, 5, 0)


def test_the_effect_is_the_share_of_ranks_above_less_that_below():
    # ranks 1 to 4: the loss has rank 3, so (1 + 2 + 4 - 3) / 10
    found = signed_rank_test(np.array([[0.1], [0.2], [-0.3], [0.4]]))
    assert found.effect == pytest.approx(0.4)
    # W = 3: sign patterns with rank sum at most 3 are {}, 1, 2, 3, 1+2: 5 of 16, two-sided 10
    assert found.p_value == pytest.approx(10 / 16)


def test_seeds_are_averaged_before_ranking():
    differences = np.random.default_rng(0).normal(0.1, 1, (12, 3))
    found = signed_rank_test(differences)
    assert found.p_value == pytest.approx(stats.wilcoxon(differences.mean(1)).pvalue)
    missing = differences.copy()
    missing[0, 1], missing[5] = math.nan, math.nan
    means = np.append(differences[0, [0, 2]].mean(), np.delete(differences, [0, 5], axis=0).mean(1))
    assert signed_rank_test(missing).p_value == pytest.approx(stats.wilcoxon(means).pvalue)
    assert signed_rank_test(missing).n_patients == 11


def test_patients_that_do_not_differ_take_no_part():
    found = signed_rank_test(np.array([[0.0], [0.0], [1.0]]))
    assert (found.effect, found.n_patients, found.n_equal) == (1, 3, 2)
    equal = signed_rank_test(np.zeros((4, 2)))
    assert (equal.p_value, equal.effect, equal.n_patients, equal.n_equal) == (1, 0, 4, 4)


def test_no_patient_is_undefined():
    found = signed_rank_test(np.full((2, 3), math.nan))
    assert math.isnan(found.p_value)
    assert math.isnan(found.effect)
    assert found.n_patients == 0


def test_holm_multiplies_the_smallest_by_all_and_keeps_the_order():
    # sorted .01 .02 .03 .04 times 4 3 2 1 are .04 .06 .06 .04; none below the one before
    assert adjust_holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert adjust_holm([0.6, 0.7]) == pytest.approx([1, 1])


def test_undefined_p_values_count_for_no_test():
    given = np.array([0.02, math.nan, 0.5])
    found = adjust_holm(given)
    assert found[[0, 2]] == pytest.approx([0.04, 0.5])
    assert math.isnan(found[1])
    assert given[0] == 0.02
