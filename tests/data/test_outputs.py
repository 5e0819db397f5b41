import json
from pathlib import Path

import numpy as np
import pytest
from tiny_data import SOURCE_SHAPE, STRUCTURES, make_masks, make_scene, save_png

from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import ManifestRow, file_sha256, inspect_folder
from medi2i.data.outputs import (
    carry_masks,
    keep_records,
    output_masks,
    output_names,
    read_provenance,
    require_free,
    require_same_translation,
    write_tables,
)
from medi2i.errors import OutputExistsError
from medi2i.image import IntensityConfig, IntensityMap
from medi2i.io.masks import write_mask_folder, write_mask_nifti


def make_rows(*outputs: str, **values: object) -> list[ManifestRow]:
    return [
        ManifestRow(str(n), "source", name, name, f"hash{n}", 8, 8, IntensityMap(0, 1), 1.0, **values)
        for n, name in enumerate(outputs)
    ]


def written(*outputs: str) -> list[str]:
    return [name.as_posix() for name in output_names(make_rows(*outputs)).values()]


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (["a.png", "b.tif", "c.npy", "d.nii.gz", "e.dcm"], ["a.png", "b.tif", "c.npy", "d.nii.gz", "e.dcm"]),
        (["a.jpg", "deep/a.jpeg"], ["a.png", "deep/a.png"]),
        (["1.2.276.850819", "1.2.276.850819.dcm"], ["1.2.276.850819.dcm", "1.2.276.850819.dcm"]),
        (["a.b.png", "IMG.0001"], ["a.b.png", "IMG.0001.dcm"]),
    ],
)
def test_names_change_only_where_the_format_does(inputs, outputs):
    assert [written(name)[0] for name in inputs] == outputs


def test_a_name_that_is_taken_keeps_its_old_suffix_inside():
    assert set(written("a.jpg", "a.png")) == {"a.jpg.png", "a.png"}
    assert output_names(make_rows("a.jpg", "a.png"))["1"] == Path("a.png")


@pytest.mark.parametrize(
    "names",
    [
        ["a.jpg", "a.jpeg", "a.png"],
        ["a.jpeg", "a.jpg", "a.jpg.png", "a.jpeg.png", "a.png"],
        ["IMG", "IMG.dcm"],
        ["x/a.jpg", "x/a.png", "a.jpg", "a.png"],
    ],
)
def test_no_two_images_get_one_name(names):
    assert len(set(written(*names))) == len(names)
    assert len(set(written(*reversed(names)))) == len(names)


def test_masks_are_named_after_their_images():
    assert output_masks(make_rows("a.jpg", mask="masks/a.nii.gz")) == {"0": Path("a.nii.gz")}
    assert output_masks(make_rows("1.2.850819", mask="masks/1.2.850819.nii")) == {"0": Path("1.2.850819.nii")}
    assert output_masks(make_rows("deep/a.b.png", mask="masks/deep/a.b")) == {"0": Path("deep/a.b")}
    assert output_masks(make_rows("a.png")) == {}


def test_masks_of_images_with_one_stem_are_named_in_full():
    masks = output_masks(make_rows("a.png", "a.dcm", mask="masks/x.nii.gz"))
    assert masks == {"0": Path("a.png.nii.gz"), "1": Path("a.dcm.nii.gz")}


@pytest.mark.parametrize("names", [("a.png", "b.png"), ("a.png", "a.tif"), ("deep/a.b.png", "deep/a.png")])
@pytest.mark.parametrize("form", ["nifti", "png"])
def test_what_is_written_is_a_data_set_folder_with_the_same_masks(tmp_path, names, form):
    source, out = tmp_path / "source", tmp_path / "out"
    for number, name in enumerate(names):
        save_png(source / "images" / name, make_scene(number, SOURCE_SHAPE))
        masks = np.roll(make_masks(SOURCE_SHAPE), number, axis=1)
        if form == "nifti":
            write_mask_nifti(source / "masks" / f"{name}.nii.gz", masks, spacing_mm=None)
        else:
            write_mask_folder(source / "masks" / name, masks, STRUCTURES)
    save_png(source / "valid" / Path(names[0]).with_suffix(".png"), np.ones(SOURCE_SHAPE), bits=8)
    (source / "dataset.json").write_text(json.dumps({"structures": STRUCTURES, "spacing_mm": [1, 2]}))
    rows, _ = inspect_folder(discover(source), "source", IntensityConfig(), salt=b"")
    for row, name in zip(rows, output_names(rows).values(), strict=True):
        save_png(out / "images" / name, make_scene(len(row.id), SOURCE_SHAPE))
    write_tables(rows, out)
    carry_masks(rows, source, out)
    again, _ = inspect_folder(discover(out), "source", IntensityConfig(), salt=b"")
    assert [row.structures for row in again] == [STRUCTURES] * 2
    assert [row.spacing_mm for row in again] == [(1.0, 2.0)] * 2
    assert any(row.valid for row in again)
    for before, after in zip(rows, again, strict=True):
        assert after.output == before.output
        pairs = [(source / before.mask, out / after.mask)]
        if form == "png":
            pairs = [(path, out / after.mask / path.name) for path in (source / before.mask).iterdir()]
        assert all(old.read_bytes() == new.read_bytes() for old, new in pairs)


def spacing_after(tmp_path, rows) -> list[object]:
    for name in output_names(rows).values():
        save_png(tmp_path / "images" / name, make_scene(0, SOURCE_SHAPE))
    write_tables(rows, tmp_path)
    return [item.spacing_mm for item in discover(tmp_path).items]


def test_spacings_that_only_tables_knew_go_along_one_by_one(tmp_path):
    rows = [
        *make_rows("a.png", spacing_mm=(1.0, 2.0), spacing_origin="detector"),
        *make_rows("a.png", "b.png", spacing_mm=(3.0, 4.0), spacing_origin="user")[1:],
        *make_rows("a.png", "b.png", "c.png")[2:],
        *make_rows("a.png", "b.png", "c.png", "d.png", spacing_mm=(9, 9), spacing_origin="NIfTI")[3:],
    ]
    # c has none, and d's is in the file itself
    assert spacing_after(tmp_path, rows) == [(1.0, 2.0), (3.0, 4.0), None, None]


def test_an_unknown_spacing_stays_unknown_beside_a_known_one(tmp_path):
    rows = make_rows("a.png", spacing_mm=(1.0, 2.0), spacing_origin="user") + make_rows("a.png", "b.png")[1:]
    assert spacing_after(tmp_path, rows) == [(1.0, 2.0), None]


def test_patients_go_along_as_hashes_also_under_difficult_names(tmp_path):
    rows = make_rows("a, b.png", 'c "d".png', patient="0123abcd")
    for name in output_names(rows).values():
        save_png(tmp_path / "images" / name, make_scene(0, SOURCE_SHAPE))
    write_tables(rows, tmp_path)
    assert [item.patient for item in discover(tmp_path).items] == ["0123abcd", "0123abcd"]


def test_records_of_changed_lost_and_foreign_images_are_dropped(tmp_path):
    lines = []
    for name in ("kept", "changed", "lost", "foreign"):
        path = save_png(tmp_path / "images" / f"{name}.png", make_scene(0, SOURCE_SHAPE))
        lines.append({"key": name, "output": f"images/{name}.png", "output_sha256": file_sha256(path)})
    save_png(tmp_path / "images" / "changed.png", make_scene(1, SOURCE_SHAPE))
    (tmp_path / "images" / "lost.png").unlink()
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"key": "cut o'
    (tmp_path / "provenance.jsonl").write_text(text)
    assert keep_records(tmp_path, {"kept", "changed", "lost"}) == {"kept"}
    assert [record["key"] for record in read_provenance(tmp_path)] == ["kept"]


def test_a_folder_of_something_else_is_not_an_output(tmp_path):
    require_free(tmp_path / "new")
    require_free(tmp_path)
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(OutputExistsError, match="a folder with other content"):
        require_free(tmp_path)
    with pytest.raises(OutputExistsError, match="a file"):
        require_free(tmp_path / "thesis.txt")
    (tmp_path / "provenance.jsonl").touch()
    require_free(tmp_path)


def test_two_translations_do_not_mix(tmp_path):
    (tmp_path / "provenance.jsonl").write_text('{"key": "a", "output": "x", "output_sha256": "y"}\n')
    require_same_translation(tmp_path, {"a", "b"})
    with pytest.raises(OutputExistsError, match="another translation"):
        require_same_translation(tmp_path, {"b"})
