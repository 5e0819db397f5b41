import copy
import json

import pytest

from medi2i.errors import CheckpointError, UsageError
from medi2i.report import write_comparison
from medi2i.report.results import parse_results
from medi2i.report.runs import NamedRun, comparison_table, find_differences


@pytest.fixture
def two_runs(evaluation, tmp_path):
    """Folders of two runs; change the second's results with the function that comes with them."""
    folders = [tmp_path / "cyclegan", tmp_path / "opgan"]

    def write(change=lambda results: None):
        for place, folder in enumerate(folders):
            found = copy.deepcopy(evaluation)
            if place:
                found["run"]["method"] = "opgan"
                change(found)
            folder.mkdir(exist_ok=True)
            (folder / "results.json").write_text(json.dumps(found), encoding="utf-8")
        return folders

    return write


def named(*results):
    return [NamedRun(name, parse_results(found)) for name, found in zip("ab", results, strict=False)]


def test_runs_on_the_same_films_folds_seeds_and_labels_can_be_compared(two_runs, tmp_path):
    html = write_comparison(two_runs(), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Yes, as far as results.json tells" in html
    assert "equal numbers do not prove equal films" in html
    assert html.index(">cyclegan</th>") < html.index(">opgan</th>")
    assert "Forest plot of gap closed" in html and "opgan 80 % (70 to 90)" in html


@pytest.mark.parametrize(
    ("section", "change", "title"),
    [
        ("films", {"n_images": 31}, "Labelled films"),
        ("settings", {"folds": 5}, "Folds"),
        ("settings", {"folds_hash": "f" * 64}, "Folds"),
        ("settings", {"seeds": [0, 1]}, "Seeds"),
        ("settings", {"tolerance": 4.0}, "Segmenters and tolerances"),
        ("settings", {"transductive": True}, "Segmenters and tolerances"),
        ("labels", {"target_convention": "projected"}, "Labels"),
    ],
)
def test_what_is_not_the_same_is_named_with_both_values(evaluation, section, change, title):
    other = copy.deepcopy(evaluation)
    other["downstream"][section] |= change
    (difference,) = find_differences(named(evaluation, other))
    assert difference.startswith(f"{title} differ. a: ") and "; b: " in difference


def test_other_data_and_runs_without_films_are_named(evaluation, results):
    results["data"]["target"]["n_images"] = 401
    assert find_differences(named(evaluation, results)) == [
        "Data differ. a: 240 source images (60 for testing) and 400 target images (100 for testing); "
        "b: 240 source images (60 for testing) and 401 target images (100 for testing).",
        "Not tested on labelled films: b.",
    ]
    assert find_differences(named(results, results)) == []


def test_the_table_keeps_the_order_given_and_shows_every_number(evaluation, results):
    # b looks more real than a; it stays below
    results["distance_groups"]["translated"]["all"] = 0.1
    a, b = comparison_table(named(evaluation, results)).sections[0].rows
    assert a.cells == (
        "cyclegan", "use with care", "80 %\n70 % to 90 %", "0.880\n0.860 to 0.900", "90 %\n80 % to 95 %",
        "0.91", "0.25", "13 min",
    )  # fmt: skip
    assert (b.name, b.cells[1:5], b.cells[6]) == ("b", ("not evaluated", "–", "–", "–"), "0.03")


def test_refused_and_unmeasured_gaps_are_said(two_runs, tmp_path):
    def refuse(results):
        results["gap_closed"] |= {"estimate": None, "low": None, "high": None, "refused": "the gap holds 0"}

    html = write_comparison(two_runs(refuse), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Without a share: opgan: the gap holds 0." in html


def test_where_gaps_were_measured_the_command_that_measures_them_is_not_named(evaluation, tmp_path):
    evaluation["gap_closed"] = None
    none = dict.fromkeys(("estimate", "low", "high"))
    for row in evaluation["downstream"]["rows"]:
        row["gap_closed"] = none | {"refused": "there is no gap to close"}
    invalid = copy.deepcopy(evaluation)
    invalid["verdict"]["name"], invalid["valid"] = "INVALID", False
    runs = [tmp_path / name for name in ("refused", "invalid")]
    for run, found in zip(runs, (evaluation, invalid), strict=True):
        run.mkdir()
        (run / "results.json").write_text(json.dumps(found), encoding="utf-8")
    html = write_comparison(runs, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Without a share: refused: there is no gap to close." in html
    assert "Without a share: invalid: the verdict is INVALID, so no share is shown." in html
    assert "measures it" not in html


def test_where_no_gap_was_measured_the_command_is_named_once(results, tmp_path):
    runs = [tmp_path / "a", tmp_path / "b"]
    for run in runs:
        run.mkdir()
        (run / "results.json").write_text(json.dumps(results), encoding="utf-8")
    html = write_comparison(runs, tmp_path / "page.html").read_text(encoding="utf-8")
    assert html.count("measures it.") == 1 and "Without a share: a, b: not measured." in html


def test_an_invalid_run_shows_no_share_and_no_score(evaluation):
    evaluation["verdict"]["name"], evaluation["valid"] = "INVALID", False
    (row,) = comparison_table(named(evaluation)).sections[0].rows
    assert row.cells[1:5] == ("INVALID", "–", "–", "–")


def test_folders_of_one_name_are_told_apart_by_their_paths(evaluation, tmp_path):
    runs = [tmp_path / "first/run", tmp_path / "second/run"]
    for run in runs:
        run.mkdir(parents=True)
        (run / "results.json").write_text(json.dumps(evaluation), encoding="utf-8")
    html = write_comparison(runs, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "first/run" in html and "second/run" in html


def test_one_run_or_one_twice_is_no_comparison_and_a_missing_one_is_named(two_runs, tmp_path):
    first, second = two_runs()
    with pytest.raises(UsageError, match="two or more different runs"):
        write_comparison([first, first], tmp_path / "page.html")
    with pytest.raises(CheckpointError) as caught:
        write_comparison([first, tmp_path], tmp_path / "page.html")
    assert caught.value.subject == str(tmp_path / "results.json")
    assert second.exists() and not (tmp_path / "page.html").exists()


def test_the_command_compares_several_runs_and_rebuilds_the_page_of_one(
    two_runs, tmp_path, monkeypatch, run_cli
):
    monkeypatch.chdir(tmp_path)
    first, second = two_runs(lambda results: results["preservation"].update(worst=[]))
    assert run_cli("report", first, second).out == "comparison: comparison.html\n"
    assert run_cli("report", first, second, "--out", "page.html").out == "comparison: page.html\n"
    assert (tmp_path / "comparison.html").is_file() and (tmp_path / "page.html").is_file()
    assert run_cli("report", second).out == f"report: {second / 'report.html'}\n"
    refused = run_cli("report", second, "--out", "page.html")
    assert refused.code == 2 and "several runs to compare" in refused.error
