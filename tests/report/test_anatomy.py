import copy

from medi2i.report.anatomy import (
    describe_anatomy,
    instrument_table,
    structure_share_table,
)
from medi2i.report.control_figures import dose_figure
from medi2i.report.control_tables import control_table, describe_controls
from medi2i.report.realism import realism_table
from medi2i.report.results import parse_results


def words_of(evaluation):
    results = parse_results(evaluation)
    return describe_anatomy(results.preservation, results.controls)


def rows_of(table):
    return {row.name: row.cells for section in table.sections for row in section.rows}


def test_the_answer_names_the_structure_that_was_kept_least(evaluation):
    assert words_of(evaluation) == (
        "Of 60 translated images (20 patients), the least kept structure, heart, is certified in 54 of 60: "
        "90 % (80 % to 95 %). 3 of 60 images (5.0 %) have any flag."
    )


def test_instruments_that_failed_their_controls_certify_nothing(evaluation):
    evaluation["controls"]["state"] = "failed"
    assert words_of(evaluation).endswith("so none of these shares can be relied on.")
    evaluation["controls"]["state"] = "underpowered"
    assert words_of(evaluation).endswith("take these shares as hints.")


def test_no_structure_at_all_is_said(evaluation):
    for item in evaluation["preservation"]["structures"]:
        # Wilson's bounds of no trials
        item |= {"n": 0, "kept": 0, "share": {"estimate": None, "low": 0.0, "high": 1.0}}
    assert words_of(evaluation).startswith("No structure could be judged in 60 translated images")
    assert rows_of(structure_share_table(parse_results(evaluation).preservation))["heart"][:3] == ("–",) * 3


def test_structures_show_shares_and_how_far_they_moved(evaluation):
    table = structure_share_table(parse_results(evaluation).preservation)
    assert table.columns[4:7] == ("Moved, median (mm)", "95th percentile (mm)", "Most (mm)")
    assert rows_of(table)["heart"][:4] == ("90 %", "80 to 95 %", "54 of 60", "0.40\n0.35 to 0.45")
    assert "Exploratory: 20 patients, fewer than 50." in table.notes


def test_an_instrument_without_a_threshold_has_a_dash(evaluation):
    rows = rows_of(instrument_table(parse_results(evaluation).preservation))
    assert rows["geometry"] == ("1.10", "mm", "3 of 60", "5.0 %", "0 to 14 %", "0")
    assert rows["labels"][:2] == ("–", "–")
    nothing = {"n": 0, "flagged": 0, "share": {"estimate": None, "low": 0.0, "high": 1.0}}
    evaluation["preservation"]["instruments"][3] |= nothing
    rows = rows_of(instrument_table(parse_results(evaluation).preservation))
    assert rows["labels"] == ("–", "–", "–", "–", "–", "60")


def test_controls_are_told_apart_and_counted(evaluation):
    controls = parse_results(evaluation).controls
    table = control_table(controls)
    assert [len(section.rows) for section in table.sections] == [5, 3]
    instruments = ("geometry", "content", "orientation", "labels", "sanity")
    assert table.columns == ("", "Images", "Flagged", "95 % interval", *instruments, "AUC")
    by = ("93 %", "0 %", "0 %", "–", "0 %")
    assert rows_of(table)["warp 1 px"] == ("60", "93 %", "87 to 97 %", *by, "0.985")
    assert "geometry 1.10" in table.notes[1] and "nodule radius px 5.00, 8.00" in table.notes[3]
    assert describe_controls(controls).startswith(
        "The controls passed. Known changes were made to pairs of 40"
    )


def test_failed_controls_say_why(evaluation):
    evaluation["controls"] |= {"state": "failed", "reasons": ["inserted_nodule is found in 80%"]}
    words = describe_controls(parse_results(evaluation).controls)
    assert words.startswith("The controls failed. Inserted nodule is found in 80%. Known changes")


def test_the_dose_figure_says_medians_and_thresholds(evaluation):
    drawing = dose_figure(parse_results(evaluation).controls)
    # geometry is 0.3 + 1.1 a pixel of warp
    assert "geometry: 0.30 at 0 px, 1.40 at 1 px, 2.50 at 2 px" in drawing.words
    assert "(threshold 1.10)" in drawing.words and "20 patients" in drawing.caption
    silent = copy.deepcopy(evaluation)
    for point in silent["controls"]["dose_response"]:
        point |= {"p5": None, "median": None, "p95": None}
    assert dose_figure(parse_results(silent).controls) is None


def test_realism_stands_beside_its_floor_and_says_that_it_never_ranks(evaluation):
    table = realism_table(parse_results(evaluation).realism, "cyclegan")
    assert rows_of(table)["target against target (floor)"] == ("0.00 ± 0.0100", "0.00 ± 0.0500", "12.0")
    assert rows_of(table)["this run: cyclegan"] == ("0.0800", "0.900", "31.0")
    assert "Never used to rank" in table.notes[1]
    assert "(SHA-256 c0ffeec0ffee)" in table.notes[0]
