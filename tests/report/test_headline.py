import pytest

from medi2i.report import describe
from medi2i.report.headline import headline
from medi2i.report.results import parse_results

NAMES = ("use", "use with care", "do not translate", "cannot tell", "INVALID")


def headline_of(results):
    found = headline(parse_results(results))
    assert found is not None
    return found


def named(results, name):
    results["verdict"]["name"] = name
    results["valid"] = name != "INVALID"
    return results


@pytest.mark.parametrize("name", NAMES)
def test_every_verdict_is_said_by_its_own_word_and_has_its_own_look(evaluation, name):
    found = headline_of(named(evaluation, name))
    assert found.word == name
    kinds = {headline_of(named(evaluation, other)).kind for other in NAMES if other != name}
    assert found.kind not in kinds and len(kinds) == 4


def test_a_run_that_was_only_adapted_has_no_headline(results):
    assert headline(parse_results(results)) is None


def test_an_invalid_report_suggests_no_number(evaluation):
    found = headline_of(named(evaluation, "INVALID"))
    assert found.facts == ()
    assert "no verdict is given" in found.meaning


def test_the_facts_are_gap_least_kept_structure_and_controls(evaluation):
    gap, anatomy, controls = headline_of(evaluation).facts
    assert (gap.value, "30 patients, 3 seeds" in gap.note) == ("80 % (70 % to 90 %)", True)
    # heart: 54 of 60, less than the lungs' 57 and 58
    assert (anatomy.value, anatomy.note) == (
        "90 % (80 % to 95 %)",
        "Of 60 images certified in the least kept structure: heart.",
    )
    assert controls.value == "passed"


def test_the_gap_says_what_is_closed_without_the_translation(evaluation):
    best = evaluation["verdict"]["best_row"]
    row = next(row for row in evaluation["downstream"]["rows"] if row["name"] == best)
    row["gap_closed"] = {"estimate": 0.5, "low": 0.4, "high": 0.6, "refused": None}
    assert headline_of(evaluation).facts[0].note.endswith(" Without the translation: 50 % (40 % to 60 %).")
    row["gap_closed"] = None
    assert "Without" not in headline_of(evaluation).facts[0].note


def test_facts_that_are_not_known_say_what_would_tell(evaluation):
    for section in ("gap_closed", "preservation", "controls", "downstream"):
        evaluation[section] = None
    gap, anatomy, controls = headline_of(evaluation).facts
    assert (gap.value, anatomy.value, controls.value) == ("not known", "not known", "not run")
    assert "--target-labels DIR" in gap.note and "medi2i evaluate RUN" in anatomy.note


def test_films_without_a_share_say_why_and_not_that_films_are_needed(evaluation):
    evaluation["gap_closed"] = None
    assert headline_of(evaluation).facts[0].note == "The verdict is about no row with the adapter."
    none = dict.fromkeys(("estimate", "low", "high"))
    for row in evaluation["downstream"]["rows"]:
        row["gap_closed"] = none | {"refused": "one seed" if row["adapter"] else "no base"}
    gap = headline_of(evaluation).facts[0]
    assert (gap.value, gap.note) == ("refused", "One seed.")
    for row in evaluation["downstream"]["rows"]:
        row["gap_closed"] = None
    assert headline_of(evaluation).facts[0].note == "No row with the adapter has a share."


def test_a_refused_gap_is_said_in_its_words(evaluation):
    evaluation["gap_closed"] |= {"estimate": None, "low": None, "high": None, "refused": "the gap holds 0"}
    assert headline_of(evaluation).facts[0].value == "refused"
    assert headline_of(evaluation).facts[0].note == "The gap holds 0."


def test_the_better_row_is_named_when_translating_loses(evaluation):
    evaluation["verdict"]["better_row"] = "randomisation"
    found = headline_of(named(evaluation, "do not translate"))
    assert found.meaning.endswith("The better row: randomisation.")


def test_cautions_stand_once_though_the_reason_ends_with_them(evaluation):
    evaluation["verdict"] |= {
        "reason": "A wins. Few patients. One seed.",
        "cautions": ["Few patients.", "One seed."],
    }
    found = headline_of(evaluation)
    assert (found.reason, found.cautions) == ("A wins.", ("Few patients.", "One seed."))


def test_the_difference_is_said_with_its_unit(evaluation):
    found = headline_of(evaluation)
    assert found.difference == "In mean Dice +0.020 (95 % interval +0.008 to +0.032; 30 patients)."
    evaluation["verdict"]["difference"] |= {"low": None, "high": None, "n_patients": None}
    assert headline_of(evaluation).difference == "In mean Dice +0.020 (no interval; patients unknown)."
    assert headline_of(named(evaluation, "INVALID")).difference == ""


def test_in_words_the_verdict_comes_first_and_its_cautions_before_the_others(evaluation):
    first, *rest = describe(evaluation)
    assert first.startswith("Verdict: use with care. 'adapter + framing")
    assert rest.index("Exploratory: 30 patients, fewer than 50.") < next(
        place for place, text in enumerate(rest) if text.startswith("Distance never ranks")
    )
    assert "medi2i evaluate" not in " ".join(rest)


def test_flagged_images_of_an_evaluated_run_are_among_its_cautions(evaluation):
    evaluation["flags"]["inverted"] = 2
    for image in evaluation["images"][:2]:
        image["flags"] = ["inverted"]
    assert "2 translated images came out inverted." in describe(evaluation)
