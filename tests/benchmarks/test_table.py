import csv
import json
from html.parser import HTMLParser

import pytest
from benchmarks.suites import pretend_finished, tiny_suite

from medi2i.benchmarks import plan_cells
from medi2i.benchmarks.differences import compare_rows
from medi2i.benchmarks.page import write_page
from medi2i.benchmarks.table import compose_table, show_difference, show_value, write_table


@pytest.fixture
def suite(domains_folder):
    return tiny_suite(domains_folder, seeds=[0, 1, 2], reference="histogram")


def test_the_mean_and_spread_over_seeds_are_those_of_the_defined_values(suite, tmp_path):
    planned = plan_cells(suite, tmp_path)
    for cell in planned:
        if cell.row == "histogram":
            distance = [1.0, 3.0, None][cell.seed]
            pretend_finished(cell, {"distance": distance, "seconds_per_step": None})
    table = compose_table(suite, planned)
    values = table["rows"][0]["values"]
    distance = values["translation.distance"]
    assert (distance["mean"], distance["n"]) == (2.0, 2)
    assert distance["spread"] == pytest.approx(2**0.5)  # of a sample: ((1 - 2)² + (3 - 2)²) / 1
    assert distance["seeds"] == {"0": 1.0, "1": 3.0, "2": None}
    assert values["translation.seconds_per_step"]["mean"] is None
    assert table["rows"][1]["values"] == {}
    assert table["missing"] == [f"toy/cyclegan/seed{k}" for k in (0, 1, 2)]


def test_a_measure_that_says_nothing_of_a_row_says_so(suite, tmp_path):
    planned = plan_cells(suite, tmp_path)
    for cell in planned:
        pretend_finished(cell, {} if cell.row == "cyclegan" else {"distance": 1.0})
    table = compose_table(suite, planned)
    assert table["silent"] == {"translation": ["toy/cyclegan"]}
    write_table(table, tmp_path)
    for page in (tmp_path / "table.md", write_page(table, tmp_path)):
        assert "translation: says nothing of toy/cyclegan" in page.read_text()


def test_files_hold_the_same_numbers(suite, tmp_path):
    planned = plan_cells(suite, tmp_path)
    for cell in planned:
        pretend_finished(cell, {"distance": 1.0 + cell.seed + 10 * (cell.row == "cyclegan")})
    table = compose_table(suite, planned)
    write_table(table, tmp_path)
    assert json.loads((tmp_path / "table.json").read_text()) == table
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [(row["row"], float(row["mean"]), float(row["spread"])) for row in rows] == [
        ("histogram", 2.0, 1.0),
        ("cyclegan", 12.0, 1.0),
    ]
    assert "| toy | cyclegan | 12.0 ± 1.0 |" in (tmp_path / "table.md").read_text()
    assert "Not finished" not in (tmp_path / "table.md").read_text()


def test_the_page_holds_every_cell_of_the_table_and_no_link(suite, tmp_path):
    planned = plan_cells(suite, tmp_path)
    for cell in planned:
        pretend_finished(cell, {"distance": 2.0}, [{"id": "a", "patient": None, "distance": 2.0}])
    page = write_page(compose_table(suite, planned) | {"about": "a < b"}, tmp_path).read_text()
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(page)
    assert {"histogram", "cyclegan", "2.00 ± 0.00", "a < b"} <= set(found)
    assert "http" not in page
    assert "src=" not in page


@pytest.mark.parametrize(
    ("mean", "spread", "shown"),
    [(2.0, None, "2.00"), (0.0123456, 0.001, "0.0123 ± 0.0010"), (None, None, "–"), (123.4, 5.6, "123 ± 6")],
)
def test_numbers_are_shown_with_three_digits(mean, spread, shown):
    assert show_value({"mean": mean, "spread": spread}) == shown


def test_differences_have_their_sign():
    difference = {"estimate": 0.0123, "low": -0.001, "high": 0.02}
    assert show_difference(difference) == "+0.0123 [−0.0010, +0.0200]"
    assert show_difference(difference | {"low": None, "high": None}) == "+0.0123"


def test_a_difference_pairs_the_same_image_of_the_same_seed(suite, tmp_path):
    planned = plan_cells(suite, tmp_path)
    for cell in planned:
        if cell.seed == 2:
            continue  # not finished
        gain = 0.5 + cell.seed if cell.row == "cyclegan" else 0.0
        images = [
            {"id": "a", "patient": "p", "dice": 0.1 + gain},
            {"id": "b", "patient": "q", "dice": 0.3 + gain},
            {"id": f"only-{cell.row}", "patient": "r", "dice": 9.0},
        ]
        pretend_finished(cell, {}, images)
    finished = [cell for cell in planned if cell.seed != 2]
    (found,) = compare_rows(suite, finished)
    assert (found["row"], found["value"]) == ("cyclegan", "translation.dice")
    assert found["estimate"] == pytest.approx(1.0)  # 0.5 with seed 0, 1.5 with seed 1
    # patients agree and two seeds are 1 apart: error 0.5 with one degree of freedom, t = 12.7062
    assert (found["low"], found["high"]) == pytest.approx((1 - 6.3531, 1 + 6.3531), abs=1e-4)
    assert (found["images"], found["patients"], found["seeds"]) == (2, 2, 2)
