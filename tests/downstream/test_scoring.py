from dataclasses import replace

import numpy as np
import pytest

from medi2i.downstream.films import find_films, read_films
from medi2i.downstream.labels import match_labels
from medi2i.downstream.rows import Row
from medi2i.downstream.scoring import MEASURES, Part, Scorer, resize_masks
from medi2i.downstream.settings import DownstreamConfig
from medi2i.downstream.table import Result, Table, join_parts, mean_defined
from medi2i.errors import InterruptedRunError
from medi2i.io.masks import write_mask_folder
from medi2i.metrics.fcn_score import FCNCounts
from medi2i.metrics.statistics import adjust_holm
from tests.downstream.squares import write_films
from tests.tiny_data import save_png, write_patients

LUNG, RIB = "left_lung", "rib_3"
SHAPE = (8, 10)


def square(top: int, left: int, side: int = 2) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


EMPTY = np.zeros(SHAPE, dtype=bool)


@pytest.fixture
def films(tmp_path):
    """Two films of two patients: a lung each, a rib on the first only."""
    for number, masks in enumerate(([square(2, 2), square(5, 5)], [square(2, 2), EMPTY])):
        save_png(tmp_path / "films" / "images" / f"{number}.png", np.random.default_rng(number).random(SHAPE))
        write_mask_folder(tmp_path / "films" / "masks" / str(number), np.stack(masks), (LUNG, RIB))
    write_patients(tmp_path / "films", [(f"{number}.png", f"p{number}") for number in range(2)])
    labels = match_labels((LUNG, RIB), (LUNG, RIB), {})
    return read_films(find_films(tmp_path / "films"), labels, lambda: None)


def answers(*masks):
    """Part that answers each film with given planes, and a list of the films it was asked about."""
    asked = []

    def answer(film, radiograph):
        asked.append(film.patient)
        return np.stack(masks[film.patient])

    return asked, lambda: answer


def take(films, path, load, **others):
    part = Part(path, "key", (0, 1), load, **others)
    return Scorer(films, DownstreamConfig(tolerance_px=1), lambda: None).take([part])[0]


def column(scores, name, structure):
    return scores.values[:, structure, MEASURES.index(name)].tolist()


def test_scores_of_squares_by_hand(films, tmp_path):
    # the lung's answer shares a column with it; the rib is missed on film 0, and invented on film 1
    _, load = answers([square(2, 3), EMPTY], [square(2, 2), square(0, 0)])
    scores = take(films, tmp_path / "s.json", load)
    assert column(scores, "dice", 0) == [0.5, 1.0]
    assert column(scores, "dice", 1) == [0.0, 0.0]
    assert column(scores, "missed", 1) == [1.0, 0.0]
    assert column(scores, "invented", 1) == [0.0, 1.0]
    diagonal = np.hypot(*SHAPE)
    assert column(scores, "hd95", 1) == pytest.approx([diagonal, diagonal])
    assert column(scores, "nsd", 1) == [0.0, 0.0]
    assert column(scores, "nsd", 0) == [1.0, 1.0]  # no outline is further than one pixel
    # without labels of a heart, all a lung leaves out is below it; the answer's last column reaches beside it
    assert column(scores, "dice_cared", 0) == [0.5, 1.0]
    assert np.isnan(column(scores, "cl_dice", 0)).all()
    assert column(scores, "cl_dice", 1) == [0.0, 0.0]
    assert column(scores, "betti_error", 1) == [1.0, 1.0]  # one piece without a partner
    assert np.isnan(scores.values[..., MEASURES.index("dice_other")]).all()


def test_what_neither_has_is_undefined_and_counts_in_no_mean(films, tmp_path):
    _, load = answers([square(2, 2), square(5, 5)], [square(2, 2), EMPTY])
    scores = take(films, tmp_path / "s.json", load)
    assert np.isnan(column(scores, "dice", 1)[1])
    result = join_parts(Row("a row"), 2, [[scores]])
    assert mean_defined(result.of("dice")).tolist() == [[1.0, 1.0]]
    described = Table(films, [result]).describe()[0]
    rib = described["structures"][RIB]
    assert (rib["n"], rib["missed"], rib["dice"]["estimate"], rib["dice"]["n_undefined"]) == (1, 0, 1.0, 1)
    assert described["fcn_score"] == {"pixel_accuracy": 1, "class_accuracy": 1, "class_iou": 1}
    assert described["structures"][LUNG]["cl_dice"] is None


def test_answers_are_compared_with_labels_of_another_patient(films, tmp_path):
    _, load = answers([square(2, 2), square(5, 5)], [square(2, 2), square(5, 5)])
    scores = take(films, tmp_path / "s.json", load, other=True)
    assert column(scores, "dice_other", 0) == [1.0, 1.0]  # both lungs lie alike
    assert column(scores, "dice_other", 1) == [0.0, 1.0]  # the other's rib: none, and one
    assert column(scores, "dice", 1) == [1.0, 0.0]


def test_kept_scores_are_taken_only_for_the_same_films_and_settings(films, tmp_path):
    asked, load = answers([square(2, 3), EMPTY], [square(2, 2), EMPTY])
    path = tmp_path / "scores" / "s.json"
    first = take(films, path, load)
    again = take(films, path, load)
    assert asked == [0, 1]
    assert np.array_equal(first.values, again.values, equal_nan=True)
    assert again.counts.score().class_iou == first.counts.score().class_iou
    changed = replace(films, films=(replace(films.films[0], sha256="other"), films.films[1]))
    take(changed, path, load)
    assert asked == [0, 1, 0, 1]
    Scorer(changed, DownstreamConfig(tolerance_px=2), lambda: None).take([Part(path, "key", (0, 1), load)])
    assert len(asked) == 6
    path.write_text(path.read_text()[:50])
    take(changed, path, load)
    assert len(asked) == 8


def test_an_interrupted_scoring_leaves_no_scores(films, tmp_path):
    _, load = answers([square(2, 3), EMPTY], [square(2, 2), EMPTY])

    def stop():
        raise InterruptedRunError("scoring", found="a stop", expected="to finish", remedy="again")

    with pytest.raises(InterruptedRunError):
        Scorer(films, DownstreamConfig(), stop).take([Part(tmp_path / "s.json", "key", (0, 1), load)])
    assert not (tmp_path / "s.json").exists()


def test_masks_at_another_matrix_keep_their_place():
    mask = np.array([[[1, 0], [0, 0]]], dtype=bool)
    assert resize_masks(mask, (4, 2))[0].astype(int).tolist() == [[1, 0], [1, 0], [0, 0], [0, 0]]
    assert np.array_equal(resize_masks(resize_masks(mask, (6, 6)), (2, 2)), mask)


def made_up(films, rows):
    """A table of rows with given Dice (seeds x films) of one structure."""
    counts = FCNCounts(np.zeros(2), np.zeros(2), np.zeros(2), 0.0, 0)
    results = []
    for row, dice in rows:
        values = np.full((*np.shape(dice), 1, len(MEASURES)), np.nan)
        values[..., 0, MEASURES.index("dice")] = dice
        results.append(Result(row, values, counts))
    return Table(films, results)


@pytest.fixture
def many(tmp_path):
    """Twelve films of twelve patients, one label."""
    folder = write_films(tmp_path / "many", range(12))
    return read_films(
        find_films(folder), match_labels(("inner",), ("inner", "outer"), {"outer": ()}), lambda: None
    )


SPREAD = np.linspace(-0.02, 0.02, 12)


def test_rows_with_the_adapter_are_compared_with_the_same_row_without_it(many):
    source = np.stack([0.6 + SPREAD, 0.61 + SPREAD[::-1]])
    table = made_up(
        many,
        [
            (Row("source only"), source),
            (Row("randomisation"), source + 0.15),
            (Row("adapter", adapter=True, base="source only"), source + 0.02 + SPREAD[::-1] / 10),
            (Row("adapter + randomisation", adapter=True, base="randomisation"), source + 0.14),
            (Row("adapter + framing", adapter=True, base="framing"), source + 0.14),
        ],
    )
    rows = {row["name"]: row["versus_base"] for row in table.describe()}
    assert rows["source only"] is rows["randomisation"] is rows["adapter + framing"] is None  # no such base
    assert rows["adapter"]["difference"]["estimate"] == pytest.approx(0.02, abs=0.005)
    worse = rows["adapter + randomisation"]
    assert worse["difference"]["estimate"] == pytest.approx(-0.01)
    assert worse["effect"] == -1
    raw = [rows[name]["p_value"] for name in ("adapter", "adapter + randomisation")]
    found = [rows[name]["p_holm"] for name in ("adapter", "adapter + randomisation")]
    assert found == adjust_holm(raw).tolist()  # of this family alone


def test_gap_closed_tests_and_holm_are_over_patients_and_seeds(many):
    source = np.stack([0.6 + SPREAD, 0.61 + SPREAD[::-1]])
    table = made_up(
        many,
        [
            (Row("source only"), source),
            (Row("randomisation"), source + 0.15 + SPREAD[::-1] / 10),
            (Row("oracle", "films", labelled=-1), source + 0.3),
            (Row("a tool", protocol="given"), source[:1] - 0.1),
        ],
    )
    source_only, better, oracle, tool = table.describe()
    assert source_only["versus_source"] is None
    assert source_only["gap_closed"] is None
    assert oracle["gap_closed"] is None
    assert better["gap_closed"]["estimate"] == pytest.approx(0.5)
    assert better["gap_closed"]["low"] < 0.5 < better["gap_closed"]["high"]
    assert better["versus_source"]["difference"]["estimate"] == pytest.approx(0.15)
    assert better["versus_source"]["n_patients"] == 12
    raw = [row["versus_source"]["p_value"] for row in (better, oracle, tool)]
    assert [row["versus_source"]["p_holm"] for row in (better, oracle, tool)] == adjust_holm(raw).tolist()
    assert tool["versus_source"]["effect"] == -1
    assert better["versus_base"] is None
    assert better["per_seed_dice"] == pytest.approx([0.75, 0.76])
    assert [row.name for row in table.scored_rows(labels="film", folds="f")] == [
        "source only",
        "randomisation",
    ]


def test_labels_fit_their_own_films_better_than_those_of_others_by_patient_and_seed(many):
    films = replace(many, films=tuple(replace(film, patient=k // 6) for k, film in enumerate(many.films)))
    rows = [(Row("framing + randomisation"), np.full((2, 12), 0.7)), (Row("oracle"), np.full((2, 12), 0.9))]
    table = made_up(films, rows)
    other = MEASURES.index("dice_other")
    assert table.own_minus_other() is None
    table.results[0].values[..., other] = 0.6
    assert table.own_minus_other() == pytest.approx(np.full((2, 2), 0.1))  # no other row was compared
    table.results[1].values[0, :6, :, other] = 0.5
    table.results[1].values[0, 6:, :, other] = 0.4
    table.results[1].values[1, :, :, other] = 0.9
    assert table.own_minus_other() == pytest.approx(np.array([[0.4, 0.0], [0.5, 0.0]]))


def test_a_gap_that_may_be_none_is_refused_in_words(many):
    source = np.stack([0.6 + SPREAD])
    table = made_up(
        many,
        [
            (Row("source only"), source),
            (Row("randomisation"), source + 0.1),
            (Row("oracle", "films", labelled=-1), source + SPREAD[::-1]),
        ],
    )
    closed = table.describe()[1]["gap_closed"]
    assert closed["estimate"] is None
    assert "holds 0" in closed["refused"]
    without = made_up(many, [(Row("source only"), source), (Row("randomisation"), source)])
    assert without.describe()[1]["gap_closed"]["refused"] == "there is no oracle"


def test_unknown_patients_and_a_single_one_are_said(many):
    values = np.stack([0.6 + SPREAD])
    unknown = Table(replace(many, patients_known=False), []).interval("dice", values)
    assert (unknown["n_patients"], unknown["patients_unknown"]) == (None, True)
    assert unknown["low"] < 0.6 < unknown["high"]
    one = replace(many, films=tuple(replace(film, patient=0) for film in many.films))
    single = Table(one, []).interval("dice", values)
    assert (single["low"], single["high"], single["n_patients"]) == (None, None, 1)
    # each film counts as one: the gap says of how many, which the report needs
    rows = [
        (Row("source only"), values),
        (Row("randomisation"), values + 0.1),
        (Row("oracle", "films", labelled=-1), values + 0.3),
    ]
    closed = made_up(replace(many, patients_known=False), rows).describe()[1]["gap_closed"]
    assert (closed["n_patients"], closed["n_seeds"]) == (many.n_patients, 1)
    assert single["estimate"] == pytest.approx(0.6)
