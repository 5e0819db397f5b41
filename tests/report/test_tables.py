import pytest

from medi2i.report.results import parse_results
from medi2i.report.tables import data_table, distance_table, structure_table, truth_table


def cells(table, name, section=0):
    return next(row.cells for row in table.sections[section].rows if row.name == name)


def test_distance_table_places_every_row_between_floor_and_identity(results):
    table = distance_table(parse_results(results))
    # groups are 1/2, 1/4 and 1/5 of all; position 1 / 4; held-out source 1.2
    assert cells(table, "this run: cyclegan") == ("1.00", "0.50", "0.25", "0.20", "0.25", "1.20")
    assert cells(table, "identity (nothing changed)")[4] == "1.00"
    floor = ("0.00 ± 0.10", "0.00 ± 0.05", "0.00 ± 0.03", "0.00 ± 0.02", "0.00", "–")
    assert cells(table, "real against real (floor)") == floor
    assert [row.own for row in table.sections[0].rows] == [False, False, False, True]


def test_undefined_values_are_dashes(results):
    results["distance_groups"]["translated"] |= {"all": None, "spectrum": None}
    results["distance_held_out_source"]["translated"]["all"] = None
    own = cells(distance_table(parse_results(results)), "this run: cyclegan")
    assert own == ("–", "0.50", "0.25", "–", "–", "–")


def test_images_without_features_are_counted_where_there_are_any(results):
    assert not any("without features" in note for note in distance_table(parse_results(results)).notes)
    results["n_undefined_features"] |= {"identity": 1, "translated": 3}
    assert (
        "Images without features, which count in no distance: identity (nothing changed) 1, "
        "this run: cyclegan 3."
    ) in distance_table(parse_results(results)).notes


def test_structure_table_shows_percentiles_mean_and_interval(results):
    table = structure_table(parse_results(results))
    assert cells(table, "this run: cyclegan") == (
        "0.870", "0.910", "0.950", "0.910", "0.900 to 0.920", "60",
    )  # fmt: skip
    assert [section.title for section in table.sections][2:] == [
        "Edge displacement, an image's median (mm)",
        "Edge displacement, an image's 95th percentile (mm)",
    ]
    assert table.notes[0] == "95 % t interval over 20 patients."


@pytest.mark.parametrize(
    ("facts", "note"),
    [
        ({"low": None, "high": None, "n_patients": 1}, "No interval: one patient."),
        (
            {"n_patients": None, "patients_unknown": True},
            "Patients unknown: 95 % interval over images, too narrow when a patient has several.",
        ),
    ],
)
def test_the_note_says_what_an_interval_is_over(results, facts, note):
    for method in results["structure"].values():
        method["gradient_correlation"]["mean"] |= facts
    table = structure_table(parse_results(results))
    assert table.notes[0] == note
    assert (cells(table, "this run: cyclegan")[4] == "–") == (facts.get("n_patients") == 1)


def test_undefined_images_are_counted(results):
    results["structure"]["translated"]["ssim"]["mean"] |= {"n_images": 58, "n_undefined": 2}
    assert cells(structure_table(parse_results(results)), "this run: cyclegan", 1)[5] == "58 of 60"


def test_mixed_units_leave_edge_displacement_out(results):
    results["images"][0]["edge_unit"] = "px"
    assert len(structure_table(parse_results(results)).sections) == 2


def test_truth_table_gives_ratios_to_identity(results, truth):
    results["truth"] = truth
    parsed = parse_results(results)
    assert parsed.truth is not None
    table = truth_table(parsed.truth, "cyclegan")
    # 0.05 / 0.2 and 0.8 / 0.5
    assert cells(table, "this run: cyclegan", 0) == ("0.050", "0.040 to 0.060", "0.25", "60")
    assert cells(table, "this run: cyclegan", 1)[2] == "1.60"
    assert cells(table, "histogram matching", 0)[2] == "0.50"


def test_data_table_says_what_is_unknown(results):
    results["data"]["target"] |= {
        "n_patients": None,
        "bits_stored": [],
        "spacing_origins": {"NIfTI": 3, "unknown": 1},
    }
    rows = {row.name: row.cells for row in data_table(parse_results(results)).sections[0].rows}
    assert rows["Patients"] == ("120", "unknown")
    assert rows["Bits stored"] == ("12", "floating point")
    assert rows["Matrix (rows × columns)"] == ("512 × 512", "512 × 512 to 2,048 × 1,536")
    assert rows["Spacing from"] == ("PixelSpacing", "NIfTI (3), unknown (1)")
    assert rows["Structures"] == ("left lung, right lung", "none")
