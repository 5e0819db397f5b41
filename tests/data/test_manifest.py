import dataclasses
import json

import numpy as np
import pytest
from tiny_data import (
    SOURCE_SHAPE,
    STRUCTURES,
    make_masks,
    make_scene,
    save_png,
    write_patients,
    write_source,
    write_target,
)

from medi2i.data.dataset_folder import discover
from medi2i.data.decoding import item_of
from medi2i.data.manifest import (
    ManifestRow,
    count_notes,
    file_sha256,
    inspect_folder,
    load_masks,
    load_radiograph,
    read_manifest,
    require_different_domains,
    write_manifest,
    write_skipped,
)
from medi2i.errors import CheckpointError, MaskMismatchError, SameDomainError, UnreadableImageError
from medi2i.image import IntensityConfig, IntensityMap
from medi2i.io.masks import write_mask_folder, write_mask_nifti

SALT = b"0123456789abcdef"


def inspect(folder, domain="source", salt=SALT):
    return inspect_folder(discover(folder), domain, IntensityConfig(), salt=salt)


def test_a_row_says_what_the_image_is(tmp_path):
    write_source(tmp_path, images=3)
    rows, skipped = inspect(tmp_path)
    assert skipped == []
    row = rows[1]
    assert (row.id, row.file, row.output) == ("source-0001", "images/drr_01.png", "drr_01.png")
    assert (row.rows, row.columns, row.bits_stored) == (*SOURCE_SHAPE, 16)
    assert (row.spacing_mm, row.spacing_origin) == ((2.0, 3.0), "user")
    assert (row.mask, row.structures) == ("masks/drr_01.nii.gz", STRUCTURES)
    assert row.sha256 == file_sha256(tmp_path / "images" / "drr_01.png")
    # the scene lies between 0.1 and 0.9 of full scale, less half a per cent on either side
    assert 0.1 <= row.intensity.low < 0.15
    assert 0.7 < row.intensity.high <= 0.9


def test_the_manifest_comes_back_as_it_was(tmp_path):
    write_source(tmp_path / "src", images=4)
    write_target(tmp_path / "tgt", images=4)
    (tmp_path / "src" / "valid").mkdir()
    save_png(tmp_path / "src" / "valid" / "drr_00.png", np.ones(SOURCE_SHAPE), bits=8)
    rows = [*inspect(tmp_path / "src")[0], *inspect(tmp_path / "tgt", "target")[0]]
    write_manifest(tmp_path / "manifest.jsonl", rows)
    assert read_manifest(tmp_path / "manifest.jsonl") == rows
    assert rows[0].valid == "valid/drr_00.png"


def test_the_manifest_holds_no_identity(tmp_path):
    save_png(tmp_path / "a.png", make_scene(0, SOURCE_SHAPE))
    save_png(tmp_path / "b.png", make_scene(1, SOURCE_SHAPE))
    write_patients(tmp_path, [("a.png", "token-7"), ("b.png", "token-7")])
    rows, _ = inspect(tmp_path)
    write_manifest(tmp_path / "manifest.jsonl", rows)
    assert "token-7" not in (tmp_path / "manifest.jsonl").read_text()
    assert rows[0].patient == rows[1].patient
    assert len(rows[0].patient) == 16


def test_a_patients_hash_depends_on_the_salt(tmp_path):
    save_png(tmp_path / "a.png", make_scene(0, SOURCE_SHAPE))
    write_patients(tmp_path, [("a.png", "token-7")])
    first, second = (inspect(tmp_path, salt=salt)[0][0].patient for salt in (b"one", b"two"))
    assert first != second


@pytest.mark.parametrize("content", ["", "{", '{"id": 1}', "[1]"])
def test_a_damaged_manifest_is_an_error(tmp_path, content):
    path = tmp_path / "manifest.jsonl"
    path.write_text(content + "\n")
    with pytest.raises(CheckpointError, match="no readable manifest"):
        read_manifest(path)


def test_a_missing_manifest_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="FileNotFoundError"):
        read_manifest(tmp_path / "manifest.jsonl")


def test_an_unreadable_image_is_skipped_with_its_reason(tmp_path):
    save_png(tmp_path / "good.png", make_scene(0, SOURCE_SHAPE))
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    seen = []
    folder = discover(tmp_path)
    rows, skipped = inspect_folder(
        folder,
        "source",
        IntensityConfig(),
        salt=SALT,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [row.file for row in rows] == ["good.png"]
    assert [(one.domain, one.file) for one in skipped] == [("source", "bad.png")]
    assert "cannot be decoded" in skipped[0].reason
    assert seen == [(1, 2), (2, 2)]
    write_skipped(tmp_path / "skipped.jsonl", skipped)
    assert json.loads((tmp_path / "skipped.jsonl").read_text())["file"] == "bad.png"


def test_a_mask_of_another_matrix_stops_the_inspection(tmp_path):
    save_png(tmp_path / "images" / "x.png", make_scene(0, (30, 40)))
    write_mask_nifti(tmp_path / "masks" / "x.nii.gz", make_masks((40, 30)), spacing_mm=None)
    (tmp_path / "dataset.json").write_text(json.dumps({"structures": STRUCTURES}))
    with pytest.raises(MaskMismatchError, match=r"x\.nii\.gz: .*40 rows x 30 columns.*30 x 40"):
        inspect(tmp_path)


def test_both_forms_of_masks_hold_the_same(tmp_path):
    masks = make_masks(SOURCE_SHAPE)
    write_mask_nifti(tmp_path / "x.nii.gz", masks, spacing_mm=None)
    write_mask_folder(tmp_path / "x", masks, STRUCTURES)
    for path in (tmp_path / "x.nii.gz", tmp_path / "x"):
        np.testing.assert_array_equal(load_masks(path, STRUCTURES, SOURCE_SHAPE), masks)
    np.testing.assert_array_equal(load_masks(tmp_path / "x", ("lung",), SOURCE_SHAPE), masks[1:])


def test_a_given_valid_area_and_spacing_go_with_the_image(tmp_path):
    save_png(tmp_path / "images" / "x.png", make_scene(0, SOURCE_SHAPE))
    valid = np.ones(SOURCE_SHAPE)
    valid[:, :10] = 0
    save_png(tmp_path / "valid" / "x.png", valid, bits=8)
    (tmp_path / "dataset.json").write_text(json.dumps({"spacing_mm": [0.5, 0.25]}))
    row = inspect(tmp_path)[0][0]
    assert row.valid_fraction == 0.75
    again = load_radiograph(item_of(row, tmp_path))
    np.testing.assert_array_equal(again.valid, valid > 0)
    assert (again.header.spacing_mm, again.header.spacing_origin) == ((0.5, 0.25), "user")


def test_invalid_pixels_do_not_stretch_the_range(tmp_path):
    scene = make_scene(0, SOURCE_SHAPE)
    scene[:, :10] = 1.0
    save_png(tmp_path / "images" / "x.png", scene)
    save_png(tmp_path / "valid" / "x.png", np.arange(40)[None].repeat(32, 0) >= 10, bits=8)
    assert inspect(tmp_path)[0][0].intensity.high < 0.91


def test_a_files_own_spacing_stands_above_the_tables(tmp_path):
    write_mask_nifti(tmp_path / "x.nii.gz", make_masks(SOURCE_SHAPE)[:1], spacing_mm=(1.5, 2.5))
    (tmp_path / "dataset.json").write_text(json.dumps({"spacing_mm": [9, 9]}))
    row = inspect(tmp_path)[0][0]
    assert (row.spacing_mm, row.spacing_origin) == ((1.5, 2.5), "NIfTI")


def test_a_file_that_went_away_is_unreadable(tmp_path):
    save_png(tmp_path / "x.png", make_scene(0, SOURCE_SHAPE))
    row = inspect(tmp_path)[0][0]
    (tmp_path / "x.png").unlink()
    with pytest.raises(UnreadableImageError, match="no such file"):
        load_radiograph(item_of(row, tmp_path))


def test_domains_that_share_a_file_are_refused():
    row = ManifestRow("source-0000", "source", "a.png", "a.png", "same", 8, 8, IntensityMap(0, 1), 1.0)
    other = dataclasses.replace(row, id="target-0000", domain="target", file="b.png")
    require_different_domains([row], [dataclasses.replace(other, sha256="different")])
    with pytest.raises(SameDomainError, match=r"1 image\(s\) with the same content"):
        require_different_domains([row], [other])


def test_remarks_of_readers_are_counted_and_the_commonest_come_first():
    def row(number: int, *notes: str) -> ManifestRow:
        return ManifestRow(
            id=f"source-{number:04d}",
            domain="source",
            file="a.dcm",
            output="a.dcm",
            sha256="0",
            rows=4,
            columns=4,
            intensity=IntensityMap(0.0, 1.0),
            valid_fraction=1.0,
            notes=notes,
        )

    rows = [row(0, "rare"), row(1, "common"), row(2, "common", "rare too"), row(3)]
    assert count_notes(rows)[0] == "source: common (2 image(s))"
    assert len(count_notes(rows)) == 3
    many = [row(i, f"remark {i}") for i in range(12)]
    assert count_notes(many)[-1] == "4 more remarks on images in manifest.jsonl"
