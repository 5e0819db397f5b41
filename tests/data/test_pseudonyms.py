import json
import stat

import numpy as np
import pytest
from tiny_data import save_png

from medi2i.data.dataset_folder import discover
from medi2i.data.pseudonyms import choose_pseudonyms, write_key
from medi2i.errors import InputError, OutputExistsError


@pytest.fixture
def folder(tmp_path):
    for name in ("DOE/b.png", "DOE/a.b.png", "1.png", "Jane.png", "Janet.png"):
        save_png(tmp_path / "in" / name, np.full((8, 8), 0.5))
    return discover(tmp_path / "in")


def test_names_count_the_images_in_their_order(folder, tmp_path):
    names = choose_pseudonyms(folder, tmp_path / "key", tmp_path / "out").names
    assert names == {
        "1.png": "img-000001",
        "DOE/a.b.png": "img-000002",
        "DOE/b.png": "img-000003",
        "Jane.png": "img-000004",
        "Janet.png": "img-000005",
    }


def test_texts_are_covered_whole_names_first(folder, tmp_path):
    pseudonyms = choose_pseudonyms(folder, tmp_path / "key", tmp_path / "out")
    path = tmp_path / "in" / "DOE" / "a.b.png"
    assert pseudonyms.cover(f"{path}: no image 1 of 2") == "img-000002: no image 1 of 2"
    assert pseudonyms.cover("Janet.png and Jane, DOE/b.png") == "img-000005 and img-000004, img-000003"
    assert pseudonyms.cover("Janet and Jane", of="img-000004") == "Janet and img-000004"


def test_errors_keep_their_type_and_lose_the_name(folder, tmp_path):
    pseudonyms = choose_pseudonyms(folder, tmp_path / "key", tmp_path / "out")
    said = r"^img-000004: a; expected b; look at img-000004$"
    with pytest.raises(InputError, match=said) as caught, pseudonyms.covering():
        raise InputError("Jane.png", found="a", expected="b", remedy="look at Jane.png")
    assert caught.value.__suppress_context__
    with pytest.raises(PermissionError) as denied, pseudonyms.covering():
        raise PermissionError(13, "Permission denied", str(tmp_path / "in" / "Jane.png"))
    assert denied.value.filename == "img-000004"


def test_a_key_is_read_again_for_the_same_images_only(folder, tmp_path):
    key, out = tmp_path / "key.json", tmp_path / "out"
    first = choose_pseudonyms(folder, key, out)
    assert not key.exists()
    write_key(key, first)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    again = choose_pseudonyms(folder, key, out)
    assert again == first
    assert again.digest("x") == first.digest("x") != "x"
    assert len(json.loads(key.read_text())["names"]) == 5
    save_png(tmp_path / "in" / "new.png", np.full((8, 8), 0.5))
    with pytest.raises(OutputExistsError, match="key of other images"):
        choose_pseudonyms(discover(tmp_path / "in"), key, out)
