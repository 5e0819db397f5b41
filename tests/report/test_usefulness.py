from evaluated import BEST, interval

from medi2i.report.results import parse_results
from medi2i.report.usefulness import (
    describe_films,
    describe_labels,
    difference_table,
    label_table,
    mean_table,
    pixel_table,
    structure_tables,
)
from medi2i.report.usefulness_figures import budget_figure, gap_figure, trade_off_figure


def downstream_of(results):
    return parse_results(results).downstream


def rows_of(table):
    return {row.name: row for section in table.sections for row in section.rows}


def test_means_stand_above_their_intervals_and_say_their_unit(evaluation):
    table = mean_table(downstream_of(evaluation))
    assert table.columns[2:7] == ("Dice", "Dice with don't-care", "NSD at 2.5 mm", "HD95 (mm)", "ASSD (mm)")
    # made with a mean Dice of 0.88 - 0.02, half an interval of 0.02; 0 + 1 + 2 missed in 3 x 90
    cells = rows_of(table)[BEST].cells
    assert cells[:3] == ("0", "0.860\n0.840 to 0.880", "0.890\n0.870 to 0.910")
    assert cells[-1] == "3 of 270"
    assert rows_of(table)["oracle"].cells[0] == "all"


def test_rows_of_one_protocol_stand_together_and_the_adapters_stand_out(evaluation):
    evaluation["downstream"]["rows"][1]["protocol"] = "given"
    table = mean_table(downstream_of(evaluation))
    titles = [section.title for section in table.sections]
    assert [len(section.rows) for section in table.sections] == [11, 1, 1]
    assert titles[2] == "Predictions of other tools"
    assert rows_of(table)["adapter"].own and not rows_of(table)["randomisation"].own


def test_fewer_than_50_patients_are_marked_exploratory(evaluation):
    assert "Exploratory: 30 patients, fewer than 50." in mean_table(downstream_of(evaluation)).notes
    evaluation["downstream"]["films"]["n_patients"] = 50
    assert "Exploratory" not in " ".join(mean_table(downstream_of(evaluation)).notes)
    evaluation["downstream"]["films"]["n_patients"] = None
    assert "patients are unknown" in " ".join(mean_table(downstream_of(evaluation)).notes)


def test_differences_show_p_by_holm_effect_and_gap(evaluation):
    table = difference_table(downstream_of(evaluation))
    rows = {row.name: row for row in table.sections[0].rows}
    # 0.88 - 0.70 of a gap of 0.25 is 72 %
    assert rows[BEST].cells == ("+0.180\n+0.165 to +0.195", "<0.001", "0.005", "0.92", "30", "72\n62 to 82")
    assert rows["source only"].cells == ("–",) * 6
    adds = {row.name: row for row in table.sections[1].rows}
    assert table.sections[1].title == "What translating adds to the same row without it"
    combined = {name for name in rows if name.startswith("adapter + ")}
    assert set(adds) == {"adapter", *combined}
    assert len(combined) == 3
    assert adds[f"adapter + {BEST}"].cells == (
        "+0.200\n+0.185 to +0.215", "<0.001", "0.250", "0.92", "30", "",
    )  # fmt: skip


def test_reports_that_know_no_such_difference_show_none(evaluation):
    for row in evaluation["downstream"]["rows"]:
        del row["versus_base"]
    assert len(difference_table(downstream_of(evaluation)).sections) == 1


def test_a_refused_gap_is_a_dash_with_its_reason_below(evaluation):
    table = difference_table(downstream_of(evaluation))
    assert {row.name: row for row in table.sections[0].rows}["histogram"].cells[-1] == "–"
    assert "Gap closed is refused for histogram: the interval of the share has no ends." in table.notes


def test_rows_that_are_refused_for_one_reason_stand_together(evaluation):
    rows = {row["name"]: row for row in evaluation["downstream"]["rows"]}
    none = dict.fromkeys(("estimate", "low", "high"))
    rows["randomisation"]["gap_closed"] = dict(rows["histogram"]["gap_closed"])
    rows["adapter"]["gap_closed"] = none | {"refused": "one seed"}
    assert difference_table(downstream_of(evaluation)).notes[1:] == (
        "Gap closed is refused for histogram, randomisation: the interval of the share has no ends.",
        "Gap closed is refused for adapter: one seed.",
    )


def test_undefined_scores_are_dashes(evaluation):
    row = evaluation["downstream"]["rows"][0]
    row["mean"]["hd95"] = interval(None)
    row["per_seed_dice"] = [None, 0.7, 0.7]
    row["fcn_score"]["class_iou"] = None
    downstream = downstream_of(evaluation)
    assert rows_of(mean_table(downstream))["source only"].cells[4] == "–"
    assert rows_of(pixel_table(downstream))["source only"].cells == ("–, 0.700, 0.700", "0.970", "0.700", "–")


def test_every_structure_has_its_rows_and_thin_ones_their_measures(evaluation):
    table = structure_tables(downstream_of(evaluation))
    assert [section.title for section in table.sections] == ["left lung", "right lung", "heart"]
    assert "clDice" not in table.columns
    assert table.sections[2].rows[0].cells[-3:] == ("2", "0", "90")
    scores = evaluation["downstream"]["rows"][0]["structures"]["heart"]
    scores |= {"cl_dice": interval(0.5), "betti_error": interval(1.25)}
    table = structure_tables(downstream_of(evaluation))
    assert table.columns[6:8] == ("clDice", "Betti error")
    assert table.sections[2].rows[0].cells[5:7] == ("0.500\n0.480 to 0.520", "1.25\n1.23 to 1.27")
    assert table.sections[0].rows[0].cells[5:7] == ("–", "–")


def test_labels_say_their_conventions_and_what_their_difference_costs(evaluation):
    words = describe_labels(downstream_of(evaluation))
    assert words.startswith(
        "Label convention of the source: projected; of the films: radiologist. Where they"
    )
    assert "by 0.41 in Dice (0.38 to 0.44)" in words
    rows = rows_of(label_table(downstream_of(evaluation)))
    assert rows["left lung"].cells == ("left_lung", "0.880\n0.870 to 0.890")
    assert rows["heart"].cells == ("heart, pericardium", "–")
    evaluation["downstream"]["labels"] |= {"target_convention": "projected", "left_out": ["ribs"]}
    assert "They are the same. Not scored: ribs." in describe_labels(downstream_of(evaluation))


def test_films_are_counted_and_those_seen_in_training_are_said(evaluation):
    assert "30 labelled films (30 patients) in 3 folds with 3 seeds" in describe_films(
        downstream_of(evaluation)
    )
    assert "1 film could not be used" in describe_films(downstream_of(evaluation))
    evaluation["downstream"]["settings"]["transductive"] = True
    assert "(transductive)" in describe_films(downstream_of(evaluation))


def test_figures_say_in_words_what_they_show_and_name_n_and_unit(evaluation):
    results = parse_results(evaluation)
    gap, budget, trade = (
        gap_figure(results.downstream),
        budget_figure(results.downstream),
        trade_off_figure(results),
    )
    assert f"adapter + {BEST} 80 % (70 to 90)" in gap.words
    assert "30 films, 30 patients, 3 seeds. Without a share: histogram." in gap.caption
    assert "with the adapter: 0 labelled 0.750, 5 labelled 0.870" in budget.words
    assert "oracle: 20 labelled 0.950." in budget.words
    assert "30 films" in budget.caption and "no unit" in budget.caption
    # gradient correlation 0.91; mean Dice of the adapter 0.75 - 0.02; position (1 - 0) / (4 - 0)
    assert (
        "this run: cyclegan 0.73, kept 0.91" in trade.words
        and "this run: cyclegan 0.25, kept 0.91" in trade.words
    )
    assert "60 images" in trade.caption


def test_what_cannot_be_drawn_is_not(evaluation):
    for row in evaluation["downstream"]["rows"]:
        row["gap_closed"] = None
    evaluation["downstream"]["budget"] = evaluation["downstream"]["budget"][:1]
    for method in evaluation["structure"].values():
        method["gradient_correlation"]["median"] = None
    results = parse_results(evaluation)
    assert gap_figure(results.downstream) is None
    assert budget_figure(results.downstream) is None
    assert trade_off_figure(results) is None


def test_a_share_far_beyond_the_figure_is_written_at_its_edge(evaluation):
    evaluation["downstream"]["rows"][2]["gap_closed"] |= {"estimate": -7.0, "low": -9.0, "high": 4.0}
    assert "−700 % (beyond)" in gap_figure(downstream_of(evaluation)).svg
