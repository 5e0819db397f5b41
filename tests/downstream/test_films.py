import json

import numpy as np
import pytest

from medi2i.downstream.films import draw_folds, draw_patients, find_films, read_films
from medi2i.downstream.labels import match_labels
from medi2i.errors import NothingUsableError, UsageError
from medi2i.io.masks import write_mask_folder
from tests.downstream.squares import NAMES, write_films

LABELS = match_labels(NAMES, NAMES, {})


def read(folder):
    return read_films(find_films(folder), LABELS, lambda: None)


def test_folds_hold_every_patient_once_and_are_equally_large():
    folds = draw_folds(10, 3, seed=0)
    assert sorted(np.bincount(folds)) == [3, 3, 4]
    assert folds == draw_folds(10, 3, seed=0)
    assert folds != draw_folds(10, 3, seed=1)
    assert sorted(draw_folds(2, 3, seed=0)) == [0, 1]


def test_few_patients_are_among_more():
    others = tuple(range(0, 40, 2))
    one, five = (draw_patients(others, count, seed=3, fold=1) for count in (1, 5))
    assert len(five) == 5
    assert set(one) < set(five) <= set(others)


def test_images_of_one_patient_are_one_patient(tmp_path):
    folder = write_films(tmp_path, range(4))
    (folder / "patients.csv").write_text(
        "file,patient\n" + "".join(f"film_{n}.png,p{n // 2}\n" for n in range(4))
    )
    films = read(folder)
    assert [film.patient for film in films.films] == [0, 0, 1, 1]
    assert (films.n_patients, films.patients_known, films.unit) == (2, True, "px")


def test_films_of_unknown_patients_count_as_one_each(tmp_path):
    films = read(write_films(tmp_path, range(3), patients=False))
    assert ([film.patient for film in films.films], films.patients_known) == ([0, 1, 2], False)


def test_distances_are_in_mm_only_where_every_spacing_is_known(tmp_path):
    folder = write_films(tmp_path, range(2))
    (folder / "dataset.json").write_text(json.dumps({"structures": NAMES, "spacing_mm": 0.5}))
    films = read(folder)
    assert (films.unit, films.spacing(films.films[0])) == ("mm", (0.5, 0.5))
    (folder / "dataset.json").write_text(json.dumps({"structures": NAMES}))
    (folder / "views.json").write_text(
        json.dumps({"views": [{"name": "film_0", "detector_spacing_mm": [0.5, 0.5]}]})
    )
    films = read(folder)
    assert (films.unit, films.spacing(films.films[0])) == ("px", None)


def test_empty_masks_and_unreadable_films_are_counted(tmp_path):
    folder = write_films(tmp_path, range(3))
    empty = np.zeros((2, 40, 36), dtype=bool)
    write_mask_folder(folder / "masks" / "film_1", empty, NAMES)
    (folder / "images" / "film_2.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    films = read(folder)
    assert [film.empty for film in films.films] == [(), NAMES]
    assert films.skipped == 1
    for file in (folder / "images").iterdir():
        file.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(NothingUsableError, match="none of which can be read"):
        read(folder)


def test_films_without_masks_are_refused(tmp_path):
    folder = write_films(tmp_path, range(2))
    (folder / "masks").rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="films without masks"):
        find_films(folder)
