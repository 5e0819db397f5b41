import json

import numpy as np
import pytest

from medi2i.downstream.labels import closest, match_labels, measure_ceiling, read_convention
from medi2i.errors import UsageError
from medi2i.io.masks import write_mask_folder
from tests.downstream.squares import make_domains, write_films
from tests.tiny_data import make_scene, save_png

SOURCE = ("left_lung", "right_lung", "heart", "mediastinum")


def test_equal_names_match_and_a_map_joins_structures():
    labels = match_labels(SOURCE, ("middle", "left_lung"), {"middle": ("heart", "mediastinum")})
    assert labels.parts == {"middle": ("heart", "mediastinum"), "left_lung": ("left_lung",)}
    masks = np.zeros((4, 1, 4), dtype=bool)
    for plane in range(4):
        masks[plane, 0, plane] = True
    assert labels.unite(masks, SOURCE).tolist() == [[[False, False, True, True]], [[True] + 3 * [False]]]


def test_a_label_that_is_no_structure_names_the_nearest_and_offers_the_map():
    with pytest.raises(UsageError, match="label 'lung left'") as error:
        match_labels(SOURCE, ("lung left", "heart"), {})
    assert '--map "lung left=left_lung"' in error.value.remedy
    assert '--map "lung left="' in error.value.remedy


def test_a_label_of_both_sides_is_offered_both():
    with pytest.raises(UsageError) as error:
        match_labels((*SOURCE, "left_lung_film", "right_lung_film"), ("lungs",), {})
    assert '--map "lungs=left_lung+right_lung"' in error.value.remedy


def test_a_label_is_left_out_by_an_empty_map_but_not_all_of_them():
    labels = match_labels(SOURCE, ("nodule", "heart"), {"nodule": ()})
    assert (labels.structures, labels.left_out) == (("heart",), ("nodule",))
    with pytest.raises(UsageError, match="no label that is to be scored"):
        match_labels(SOURCE, ("nodule",), {"nodule": ()})


@pytest.mark.parametrize(
    ("asked", "near"),
    [({"hart": ("heart",)}, "did you mean 'heart'"), ({"heart": ("hearth",)}, "did you mean 'heart'")],
)
def test_a_map_of_names_that_are_not_there_is_refused(asked, near):
    with pytest.raises(UsageError, match=near):
        match_labels(SOURCE, ("heart",), asked)


def test_of_two_conventions_that_of_the_films_is_taken():
    source = (*SOURCE, "left_lung_film")
    for convention, part in (("film", "left_lung_film"), (None, "left_lung"), ("projected", "left_lung")):
        labels = match_labels(source, ("left_lung",), {}, conventions=("both", convention))
        assert labels.parts == {"left_lung": (part,)}


def test_the_nearest_name_ignores_case_and_order():
    assert closest("Lung Right", SOURCE) == "right_lung"
    assert closest("xyz", SOURCE) is None


def test_a_folder_states_its_convention_or_not(tmp_path):
    assert read_convention(tmp_path) is None
    (tmp_path / "dataset.json").write_text(json.dumps({"convention": "film"}))
    assert read_convention(tmp_path) == "film"


def test_the_ceiling_is_one_convention_against_the_other(tmp_path):
    names = ("lung", "lung_film")
    masks = np.zeros((2, 32, 40), dtype=bool)
    masks[0, 0:8, 0:8] = masks[1, 0:4, 0:8] = True  # 64 and 32 pixels
    for number in range(3):
        save_png(tmp_path / "source" / "images" / f"{number}.png", make_scene(number, (32, 40)))
        write_mask_folder(tmp_path / "source" / "masks" / str(number), masks, names)
    domains = make_domains(tmp_path / "source", write_films(tmp_path / "films", range(3)))
    ceiling, note = measure_ceiling(domains, match_labels(names, ("lung",), {}))
    assert [row["structure"] for row in ceiling] == ["lung"]
    assert ceiling[0]["dice"]["estimate"] == pytest.approx(2 * 32 / 96)
    assert "own views" in note
    one_only = write_films(tmp_path / "one", range(3))
    ceiling, note = measure_ceiling(
        make_domains(one_only, one_only), match_labels(("inner",), ("inner",), {})
    )
    assert ceiling == []
    assert "--convention both" in note
