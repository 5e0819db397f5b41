from medi2i.report.planted import describe_hidden, describe_planted, planted_table
from medi2i.report.results import parse_results

_NOTHING = {"estimate": None, "low": 0.0, "high": 1.0}


def planted_of(evaluation):
    return parse_results(evaluation).preservation.content_controls


def hidden_of(evaluation):
    return describe_hidden(parse_results(evaluation).preservation.steganography)


def rows_of(table):
    return {row.name: row.cells for section in table.sections for row in section.rows}


def test_each_kind_says_what_was_kept_and_lost_and_how_strong_it_is(evaluation):
    table = planted_table(planted_of(evaluation))
    assert list(rows_of(table)) == ["nodule", "rib gap", "device"]
    # 15 of 18: 83 %
    assert rows_of(table)["rib gap"] == ("83 %\n15 of 18", "63 to 87 %", "3 of 18", "2", "93", "0 of 18")
    assert table.notes[0].startswith("Of patients, with Wilson's interval.")
    assert "Threshold of content 5.20, from style changes of 12 other patients" in table.notes[-1]


def test_a_kind_that_nobody_judged_has_dashes_alone(evaluation):
    row = evaluation["preservation"]["content_controls"]["planted"][0]
    row |= {"n": 0, "undecided": 20, "response_median": None}
    row |= {name: {"count": 0} | _NOTHING for name in ("kept", "lost", "elsewhere")}
    assert rows_of(planted_table(planted_of(evaluation)))["nodule"] == ("–", "–", "–", "20", "–", "–")


def test_what_is_invented_is_one_sentence(evaluation):
    assert describe_planted(planted_of(evaluation)) == (
        "Each kind was planted, one at a time, in 20 source images (20 patients). With nothing planted, 1 of "
        "20 patients has a translation that shows something which the source does not explain: 5.0 % (1.0 % "
        "to 24 %)."
    )
    evaluation["preservation"]["content_controls"]["invented"] |= {"n": 0, "count": 0} | _NOTHING
    assert describe_planted(planted_of(evaluation)).endswith("(20 patients).")


def test_images_of_one_patient_are_said_to_be_those(evaluation):
    unit = "images of one patient, so intervals are too narrow"
    evaluation["preservation"]["content_controls"] |= {"unit": unit, "n_patients": 1}
    found = planted_of(evaluation)
    assert planted_table(found).notes[0] == f"Shares are of {unit}."
    assert "1 of 20 images has a translation" in describe_planted(found)


def test_the_reason_stands_where_nothing_was_planted(evaluation):
    evaluation["preservation"]["content_controls"] = {
        "n_images": 0, "reason": "content has no threshold", "planted": [], "invented": None,
    }  # fmt: skip
    found = planted_of(evaluation)
    assert describe_planted(found) == "Nothing could be planted: content has no threshold."
    assert planted_table(found) is None


def test_the_hidden_code_is_said_with_its_errors_and_its_meaning(evaluation):
    assert hidden_of(evaluation) == (
        "Translated and back (8 images), the source is missed by 2.1 % (1.9 to 2.3 %) of the range "
        "undisturbed, 2.5 % (2.3 to 2.7 %) after blur, 2.7 % (2.5 to 2.9 %) after noise and 2.4 % (2.2 to "
        "2.6 %) after JPEG of the translation. At worst the error grows by 1.10 times what the same "
        "disturbance does to the source itself. A translation that hides its source in fine detail loses it "
        "when disturbed, and is far above 1; a plain change of tones stays near 1, or below 3 after noise."
    )


def test_a_hidden_code_that_was_not_measured_says_why(evaluation):
    evaluation["preservation"]["steganography"] = {"n_images": 0, "reason": "the method goes one way only"}
    assert hidden_of(evaluation) == "Not measured: the method goes one way only."
    evaluation["preservation"]["steganography"] = None
    assert hidden_of(evaluation) == "Not measured."
