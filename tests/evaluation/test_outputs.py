import json
import math

import numpy as np
import pytest
from tiny_data import STRUCTURES, load_png, make_masks

from medi2i.evaluation import check_masks, summarize, write_picture, write_results, write_worst
from medi2i.io.masks import write_mask_folder, write_mask_nifti
from tests.evaluation.rows import make_row


def test_a_measure_that_is_never_defined_is_null_in_the_results(tmp_path):
    summary = summarize([{"m": math.nan}] * 2, [make_row(0, "p"), make_row(1, "q")], ["m"])
    write_results(tmp_path / "results.json", {"summary": summary})
    read = json.loads((tmp_path / "results.json").read_text())["summary"]["m"]
    assert (read["p5"], read["median"], read["mean"]["estimate"]) == (None, None, None)
    assert read["mean"]["n_undefined"] == 2


def test_results_hold_plain_numbers_and_null_only(tmp_path):
    values = {
        "a": np.float32(0.5),
        "b": [np.int64(3), math.inf],
        "c": (math.nan,),
        4: np.bool_(True),
        "d": "x",
    }
    write_results(tmp_path / "results.json", values)
    text = (tmp_path / "results.json").read_text()
    assert json.loads(text) == {"a": 0.5, "b": [3, None], "c": [None], "4": True, "d": "x"}
    assert "NaN" not in text and "Infinity" not in text


@pytest.mark.parametrize("form", ["nifti", "png"])
def test_a_changed_mask_is_not_identical_and_a_lost_one_not_carried(tmp_path, form):
    masks = make_masks((32, 32))
    changed = np.roll(masks, 1, axis=2)
    rows = []
    for number, copied in enumerate((masks, changed, None)):
        for folder, content in (("in", masks), ("out", copied)):
            path = tmp_path / folder / "masks" / f"{number}"
            if content is not None and form == "nifti":
                write_mask_nifti(path.with_name(f"{number}.nii.gz"), content, spacing_mm=None)
            elif content is not None:
                write_mask_folder(path, content, STRUCTURES)
        rows.append(make_row(number, mask=f"masks/{number}{'.nii.gz' if form == 'nifti' else ''}"))
    rows.append(make_row(3))
    counted = check_masks(rows, tmp_path / "in", tmp_path / "out")
    assert counted == {"in_source": 3, "carried": 2, "identical": 1}


def test_a_folder_of_masks_that_lost_one_structure_is_not_carried(tmp_path):
    for folder in ("in", "out"):
        write_mask_folder(tmp_path / folder / "masks" / "0", make_masks((32, 32)), STRUCTURES)
    (tmp_path / "out" / "masks" / "0" / "lung.png").unlink()
    counted = check_masks([make_row(0, mask="masks/0")], tmp_path / "in", tmp_path / "out")
    assert counted == {"in_source": 1, "carried": 0, "identical": 0}


def test_the_worst_are_flagged_images_first_and_then_those_that_kept_least(domains, tmp_path):
    kept = dict(enumerate([0.9, 0.2, math.nan, 0.5, 0.8]))
    rows = [
        {"id": row.id, "flags": ["constant"] if n == 4 else [], "gradient_correlation": kept.get(n, 1.0)}
        for n, row in enumerate(domains.source)
    ]
    worst = write_worst(domains, lambda image: image.image, rows, tmp_path / "worst", 4)
    assert [one["id"][-4:] for one in worst] == ["0004", "0002", "0001", "0003"]
    assert [one["picture"] for one in worst] == [f"worst/worst-{n}.png" for n in (1, 2, 3, 4)]
    picture = load_png(tmp_path / "worst" / "worst-1.png")
    assert picture.shape == (32, 80)
    np.testing.assert_array_equal(picture[:, :40], picture[:, 40:])


def test_no_worst_images_may_be_asked_for(domains, tmp_path):
    rows = [{"id": row.id, "flags": [], "gradient_correlation": 1.0} for row in domains.source]
    assert write_worst(domains, lambda image: image.image, rows, tmp_path / "worst", 0) == []


def test_a_picture_is_8_bit_and_not_taller_than_asked(tmp_path):
    write_picture(tmp_path / "p.png", np.linspace(-1, 1, 100 * 40).reshape(100, 40), side=50)
    assert load_png(tmp_path / "p.png").shape == (50, 20)
    write_picture(tmp_path / "q.png", np.array([[-3.0, -1.0, 0.0, 1.0, 3.0]]))
    assert load_png(tmp_path / "q.png").tolist() == [[0, 0, 128, 255, 255]]
