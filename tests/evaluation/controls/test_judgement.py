"""Thresholds by hand, and one made set of scores for each word."""

import math

import pytest

from medi2i.errors import UsageError
from medi2i.evaluation.controls import PairScores, judge, set_thresholds

STYLES = ("unchanged", "blur")


def image(patient: int, *, geometry: float = 0.3, labels: float = 0.2, sanity: tuple[str, ...] = ()):
    scores = {"geometry": geometry, "content": 5.0, "orientation": -0.6, "labels": labels}
    return PairScores(f"patient-{patient}", scores, sanity)


def wobble(patient: int) -> float:
    return 0.3 + 0.01 * (patient % 3)


def honest(patients: range) -> dict[str, list[PairScores]]:
    return {name: [image(number, geometry=wobble(number)) for number in patients] for name in STYLES}


def found(patients: range, missed: int = 0) -> dict[str, list[PairScores]]:
    """Changes of anatomy, the last `missed` of the flips not seen by any instrument."""
    warped = [image(number, geometry=1.7) for number in patients]
    flipped = [
        image(number, labels=0.9 if number < patients[-1] + 1 - missed else 0.2) for number in patients
    ]
    return {"warp_1_px": warped, "flip": flipped}


def wiped(patients: range) -> dict[str, list[PairScores]]:
    return {"constant": [image(number, sanity=("constant",)) for number in patients]}


CALIBRATION, TESTED = range(12), range(12, 34)


def test_a_threshold_is_the_prediction_limit_of_the_patients_worst_images():
    scored = {
        "unchanged": [image(1, labels=0.0), image(2, labels=0.5), image(3, labels=2.0)],
        "blur": [image(1, labels=-1.0), image(2, labels=1.0), image(3, labels=-1.0)],
    }
    # worst by patient 0, 1, 2: mean 1, deviation 1; Student's t of 2 degrees of freedom at 98 % is 4.8487
    assert set_thresholds(scored)["labels"] == pytest.approx(1 + 4.8487 * math.sqrt(4 / 3), rel=1e-4)


def test_geometry_is_limited_on_a_log_scale():
    scored = {"unchanged": [image(1, geometry=0.1), image(2, geometry=0.2), image(3, geometry=0.4)]}
    expected = 0.2 * 2 ** (4.8487 * math.sqrt(4 / 3))
    assert set_thresholds(scored)["geometry"] == pytest.approx(expected, rel=1e-4)


def test_undefined_scores_set_no_threshold_and_flag_nothing():
    scored = {"unchanged": [image(number, geometry=math.nan) for number in range(4)]}
    assert set_thresholds(scored)["geometry"] == math.inf


def test_good_instruments_pass():
    judged = judge(honest(CALIBRATION), honest(TESTED), found(TESTED), wiped(TESTED))
    assert judged.controls.state == "passed"
    assert judged.false_flags[0] == 0
    by_name = {result.name: result for result in judged.results}
    assert by_name["warp_1_px"].area == 1
    assert by_name["warp_1_px"].by["geometry"] == 1
    assert by_name["flip"].by == {"geometry": 0, "content": 0, "orientation": 0, "labels": 1, "sanity": 0}
    assert by_name["blur"].flagged == 0


def test_one_miss_in_22_passes_and_two_fail():
    one = judge(honest(CALIBRATION), honest(TESTED), found(TESTED, missed=1), wiped(TESTED))
    two = judge(honest(CALIBRATION), honest(TESTED), found(TESTED, missed=2), wiped(TESTED))
    assert one.controls.state == "passed"  # 21 of 22 are 95.5 %
    assert two.controls.state == "failed"
    assert two.controls.reasons == ("flip: 91% found, 95% needed",)


def test_style_changes_that_are_flagged_fail_by_the_lower_wilson_bound():
    def flagged(count: int):
        styles = honest(TESTED)
        for name in STYLES:
            styles[name][:count] = [image(number, labels=0.9) for number in TESTED[:count]]
        return judge(honest(CALIBRATION), styles, found(TESTED), wiped(TESTED))

    # lower bounds of 3 and 4 in 22 are 4.7 % and 7.3 %
    assert flagged(3).controls.state == "passed"
    assert flagged(4).controls.state == "failed"
    assert flagged(4).controls.reasons == ("18% of style changes are flagged",)


def test_a_warp_that_geometry_does_not_see_fails_by_its_area():
    positives = found(TESTED) | {"warp_1_px": [image(number, geometry=wobble(number)) for number in TESTED]}
    judged = judge(honest(CALIBRATION), honest(TESTED), positives, wiped(TESTED))
    assert judged.controls.state == "failed"
    assert judged.controls.reasons == ("warp_1_px: area under the ROC curve 0.50, 95% needed",)


def test_image_sanity_must_miss_nothing():
    sanity = wiped(TESTED)
    sanity["constant"][5] = image(TESTED[5])
    judged = judge(honest(CALIBRATION), honest(TESTED), found(TESTED), sanity)
    assert judged.controls.reasons == ("image sanity misses 1 of constant",)


def test_too_few_images_are_underpowered():
    few = range(12, 20)
    judged = judge(honest(CALIBRATION), honest(few), found(few), wiped(few))
    assert judged.controls.state == "underpowered"
    assert judged.controls.reasons[0] == "warp_1_px: 8 images, 20 needed"


def test_few_images_fail_where_they_leave_no_doubt():
    few = range(12, 20)
    judged = judge(honest(CALIBRATION), honest(few), found(few, missed=6), wiped(few))
    assert judged.controls.state == "failed"


def test_few_patients_for_thresholds_are_underpowered():
    judged = judge(honest(range(5)), honest(TESTED), found(TESTED), wiped(TESTED))
    assert judged.controls.state == "underpowered"
    assert judged.controls.reasons == ("5 patients for thresholds, 10 needed",)


def test_what_thresholds_of_few_patients_miss_is_no_failure_but_image_sanity_is():
    few, tested = range(5), range(20, 42)
    missed = {"warp_1_px": [image(patient) for patient in tested]}
    judged = judge(honest(few), honest(tested), found(tested) | missed, wiped(tested))
    assert judged.controls.state == "underpowered"
    assert judged.controls.reasons[0] == "5 patients for thresholds, 10 needed"
    assert "warp_1_px" in judged.controls.reasons[1]
    blind = wiped(tested) | {"empty": [image(patient) for patient in tested]}
    assert judge(honest(few), honest(tested), found(tested), blind).controls.state == "failed"


def test_a_control_that_could_not_be_made_is_not_passed_over():
    judged = judge(honest(CALIBRATION), honest(TESTED), found(TESTED) | {"dropped_rib": []}, wiped(TESTED))
    assert judged.controls.state == "underpowered"
    assert judged.controls.reasons == ("dropped_rib: 0 images, 20 needed",)


def test_a_patient_on_both_sides_is_refused():
    with pytest.raises(UsageError, match="1 patients on both sides"):
        judge(honest(range(13)), honest(TESTED), found(TESTED), wiped(TESTED))
