import pytest

from medi2i.report.wording import any_of, counted, decimals_for, duration, fixed, moment, percent


def test_numbers_have_fixed_decimals_true_minus_signs_and_a_dash_when_undefined():
    assert fixed(1234.567, 1) == "1,234.6"
    assert fixed(-0.5, 2) == "−0.50"
    assert fixed(None, 2) == "–"


def test_what_rounds_to_zero_has_no_sign():
    assert fixed(-0.0004, 3) == "0.000"


@pytest.mark.parametrize(("largest", "decimals"), [(412.0, 0), (41.2, 1), (4.12, 2), (0.412, 3), (0.0, 2)])
def test_three_significant_digits_of_the_largest_value(largest, decimals):
    assert decimals_for([largest, None, -largest / 3]) == decimals


def test_words_for_counts_shares_times_and_lists():
    assert (counted(1, "image"), counted(2400, "image")) == ("1 image", "2,400 images")
    assert (percent(1, 240), percent(60, 240), percent(0, 3)) == ("0.4 %", "25 %", "0 %")
    assert (duration(42.4), duration(754.3), duration(11_100)) == ("42 s", "13 min", "3 h 05 min")
    assert moment("2025-11-02T12:34:56+00:00") == "2025-11-02 12:34"
    assert (any_of(["a"]), any_of(["a", "b"]), any_of(["a", "b", "c"])) == ("a", "a or b", "a, b or c")
