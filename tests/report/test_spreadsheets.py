import csv

import pytest

from medi2i.report import write_report
from medi2i.report.results import parse_results
from medi2i.report.spreadsheets import write_tables


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tables_stand_beside_the_page_with_units_in_their_columns(evaluation, make_run):
    run = make_run(evaluation)
    write_report(run)
    assert sorted(path.name for path in (run / "tables").iterdir()) == [
        "controls.csv",
        "downstream.csv",
        "preservation.csv",
    ]
    rows = read(run / "tables/downstream.csv")
    # 13 rows, each with a mean and three structures
    assert len(rows) == 52
    mean = next(row for row in rows if (row["row"], row["structure"]) == ("oracle", "mean over structures"))
    assert mean["labelled_patients"] == "all" and mean["dice_minus_source_only_estimate"] == "0.25"
    assert float(mean["hd95_mm_estimate"]) == pytest.approx(4.2) and float(mean["nsd_at_2.5_mm_low"]) == 0.81
    heart = next(row for row in rows if (row["row"], row["structure"]) == ("oracle", "heart"))
    assert (heart["missed"], heart["films_and_seeds"], heart["p_holm"]) == ("2", "90", "")
    assert heart["cl_dice_estimate"] == ""


def test_preservation_and_controls_are_one_line_a_structure_and_a_control(evaluation, tmp_path):
    write_tables(parse_results(evaluation), tmp_path)
    heart = read(tmp_path / "tables/preservation.csv")[2]
    assert (heart["certified_images"], heart["certified_share_estimate"]) == ("54", "0.9")
    assert heart["deformation_p95_mm_estimate"] == "1.2"
    warp = read(tmp_path / "tables/controls.csv")[0]
    assert (warp["control"], warp["should_be_flagged"]) == ("warp_1_px", "true")
    assert (warp["labels_flagged_share"], warp["area_under_roc"]) == ("", "0.985")


def test_a_share_of_nothing_has_empty_bounds(evaluation, tmp_path):
    # Wilson's bounds of no trials
    evaluation["preservation"]["structures"][0]["share"] = {"estimate": None, "low": 0.0, "high": 1.0}
    evaluation["controls"]["results"][0] |= {"n": 0, "flagged": None, "low": 0.0, "high": 1.0}
    write_tables(parse_results(evaluation), tmp_path)
    for name, share in (("preservation", "certified_share"), ("controls", "flagged_share")):
        row = read(tmp_path / f"tables/{name}.csv")[0]
        assert [row[f"{share}_{end}"] for end in ("estimate", "low", "high")] == [""] * 3


def test_no_name_becomes_a_formula(evaluation, tmp_path):
    evaluation["downstream"]["rows"][0] |= {"name": '=HYPERLINK("x")'}
    evaluation["downstream"]["rows"][1] |= {"name": "@SUM(1)"}
    evaluation["downstream"]["rows"][2]["versus_source"]["effect"] = -0.5
    write_tables(parse_results(evaluation), tmp_path)
    rows = read(tmp_path / "tables/downstream.csv")
    assert rows[0]["row"] == '\'=HYPERLINK("x")' and rows[4]["row"] == "'@SUM(1)"
    # a number below 0 stays a number
    assert rows[8]["effect_rank_biserial"] == "-0.5"


def test_a_section_that_is_gone_leaves_no_old_table_and_others_of_the_reader_stay(evaluation, tmp_path):
    write_tables(parse_results(evaluation), tmp_path)
    (tmp_path / "tables/own.csv").write_text("mine\n")
    evaluation["downstream"] = None
    written = write_tables(parse_results(evaluation), tmp_path)
    assert [path.name for path in written] == ["preservation.csv", "controls.csv"]
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == [
        "controls.csv",
        "own.csv",
        "preservation.csv",
    ]


def test_a_run_that_was_only_adapted_gets_no_tables(results, make_run):
    run = make_run(results)
    write_report(run)
    assert not (run / "tables").exists()
