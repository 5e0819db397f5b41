import json

import numpy as np
import pytest
from tiny_data import save_dicom, save_png

from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import inspect_folder, read_manifest, write_manifest
from medi2i.errors import DatasetFolderError
from medi2i.image import IntensityConfig

_SCENE = np.linspace(0.1, 0.9, 64).reshape(8, 8)


@pytest.fixture
def folder(tmp_path):
    for name in ("a/one.png", "b/one.png", "two.png"):
        save_png(tmp_path / "images" / name, _SCENE)
    return tmp_path


def write_csv(folder, *lines):
    (folder / "attributes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def attributes_of(folder):
    return {item.relative.as_posix(): dict(item.attributes) for item in discover(folder).items}


def test_attributes_are_found_by_the_names_that_tables_may_use(folder):
    write_csv(folder, "file,view,vendor", "a/one,PA,", "images/b/one.png,AP,Fuji", "two,,")
    assert attributes_of(folder) == {
        "a/one.png": {"view": "PA"},
        "b/one.png": {"view": "AP", "vendor": "Fuji"},
        "two.png": {},
    }
    # the images' folder itself has its tables beside it, even where there is no other
    assert attributes_of(folder / "images")["a/one.png"] == {"view": "PA"}


def test_the_table_stands_above_the_views_and_those_above_the_whole_folder(folder):
    views = [{"name": "two", "view": "left lateral"}, {"name": "one", "view": "AP"}]
    (folder / "views.json").write_text(json.dumps({"views": views}))
    (folder / "dataset.json").write_text(json.dumps({"attributes": {"view": "PA", "site": "X"}}))
    write_csv(folder, "file,view", "a/one.png,PA")
    assert attributes_of(folder) == {
        "a/one.png": {"view": "PA", "site": "X"},
        "b/one.png": {"view": "AP", "site": "X"},
        "two.png": {"view": "lateral", "site": "X"},
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,view", "three.png,PA"], "1 line.* of no image.*'three.png'"),
        (["file,view", "two.png,PA", "two,AP"], "of one that has another line.*'two'"),
        (["file,view", "two.png,PA", "two.png,PA"], "two lines for 'two.png'"),
        (["file,view", "a/one,PA", "two.png,AP,Fuji"], r"attributes\.csv: more cells than columns in line 3"),
        (["file", "two.png"], "columns file; expected columns file,<attribute>"),
        (["name,view", "two.png,PA"], "columns name, view"),
        (["file,view,view", "two.png,PA,AP"], "columns file, view, view"),
        (["file,domain", "two.png,source"], "an attribute 'domain'"),
        (["file,Patient name", "two.png,Doe"], "an attribute 'Patient name'"),
        (["file,view", f"two.png,{'x' * 41}"], "a value of 'view' that is no short word"),
    ],
)
def test_a_wrong_table_is_one_clear_error(folder, lines, message):
    write_csv(folder, *lines)
    with pytest.raises(DatasetFolderError, match=message):
        discover(folder)


def test_empty_cells_behind_the_last_column_say_nothing(folder):
    write_csv(folder, "file,view", "two.png,AP,, ")
    assert attributes_of(folder)["two.png"] == {"view": "AP"}


@pytest.mark.parametrize("stated", ["PA", {"view": 1}, {"view": " "}, {"domain": "source"}])
def test_wrong_attributes_of_the_whole_folder_are_refused(folder, stated):
    (folder / "dataset.json").write_text(json.dumps({"attributes": stated}))
    with pytest.raises(DatasetFolderError, match="attribute"):
        discover(folder)


def test_the_manifest_holds_what_was_asked_for_and_tables_stand_above_headers(tmp_path):
    codes = np.arange(64, dtype=np.uint16).reshape(8, 8) * 60
    for name, view in (("x.dcm", "PA"), ("y.dcm", "PA")):
        save_dicom(
            tmp_path / name, codes, ViewPosition=view, Manufacturer="Doe Imaging", KVP="100", Exposure=2
        )
    write_csv(tmp_path, "file,view,site", "x.dcm,AP,north", "y.dcm,,north")

    def rows(*names):
        found = discover(tmp_path)
        return inspect_folder(found, "target", IntensityConfig(), salt=b"", attributes=names)[0]

    assert [row.attributes for row in rows("view", "vendor")] == [
        {"view": "AP", "vendor": "other"},
        {"view": "PA", "vendor": "other"},
    ]
    assert [row.attributes for row in rows("kvp_mas")] == [{"kvp_mas": "200"}] * 2
    assert [row.attributes for row in rows()] == [{}, {}]
    write_manifest(tmp_path / "manifest.jsonl", rows("view", "vendor"))
    assert read_manifest(tmp_path / "manifest.jsonl") == rows("view", "vendor")
    text = (tmp_path / "manifest.jsonl").read_text()
    assert not any(word in text for word in ("Doe", "token-7", "Seven", "north"))
