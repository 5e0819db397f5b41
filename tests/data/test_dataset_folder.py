import json
from pathlib import Path

import numpy as np
import pytest
from tiny_data import STRUCTURES, make_masks, make_scene, save_png, write_patients

from medi2i.data.dataset_folder import discover, image_stem, metadata_root
from medi2i.errors import DatasetFolderError, MaskMismatchError, NothingUsableError, UsageError
from medi2i.io.masks import write_mask_folder, write_mask_nifti

SHAPE = (26, 32)


def put_images(folder: Path, *names: str) -> Path:
    for name in names:
        save_png(folder / name, make_scene(1, SHAPE))
    return folder


def put_mask(path: Path) -> None:
    write_mask_nifti(path, make_masks(SHAPE), spacing_mm=None)


def put_table(folder: Path, name: str = "dataset.json", **values: object) -> None:
    (folder / name).write_text(json.dumps(values))


def found_names(folder: Path) -> list[str]:
    return [item.relative.as_posix() for item in discover(folder).items]


def test_images_may_lie_under_images_or_anywhere(tmp_path):
    put_images(tmp_path / "a", "images/x.png", "images/deep/y.png", "elsewhere.png")
    put_images(tmp_path / "b", "x.png", "deep/er/y.png")
    assert found_names(tmp_path / "a") == ["deep/y.png", "x.png"]
    assert found_names(tmp_path / "b") == ["deep/er/y.png", "x.png"]


def test_a_single_file_is_a_folder_of_one(tmp_path):
    put_images(tmp_path, "x.png", "y.png")
    folder = discover(tmp_path / "y.png")
    assert [item.relative for item in folder.items] == [Path("y.png")]
    assert folder.items[0].path.samefile(tmp_path / "y.png")


def test_the_images_folder_finds_tables_and_masks_beside_it(tmp_path):
    put_images(tmp_path, "images/x.png")
    put_table(tmp_path, structures=STRUCTURES, spacing_mm=[1, 2])
    put_mask(tmp_path / "masks" / "x.nii.gz")
    whole, below = discover(tmp_path), discover(tmp_path / "images")
    assert below == whole
    assert below.root == tmp_path.resolve()
    assert below.items[0].spacing_mm == (1.0, 2.0)
    assert below.has_masks


def test_an_images_folder_with_tables_of_its_own_stands_alone(tmp_path):
    put_images(tmp_path, "images/x.png")
    put_table(tmp_path, spacing_mm=[1, 1])
    put_table(tmp_path / "images", spacing_mm=[2, 2])
    assert metadata_root(tmp_path / "images") == (tmp_path / "images").resolve()
    assert discover(tmp_path / "images").items[0].spacing_mm == (2.0, 2.0)


def test_hidden_and_text_files_are_no_images(tmp_path):
    put_images(tmp_path, "x.png", ".hidden.png", ".cache/y.png")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(32))
    for name in ("notes.txt", "table.csv", "README.md", "report.html", "noise"):
        (tmp_path / name).write_text("not an image")
    assert found_names(tmp_path) == ["x.png"]


def test_a_dicom_file_needs_no_suffix(tmp_path):
    (tmp_path / "1.2.840.850819").write_bytes(bytes(128) + b"DICM" + bytes(32))
    assert found_names(tmp_path) == ["1.2.840.850819"]


def test_masks_and_valid_areas_are_no_images(tmp_path):
    put_images(tmp_path, "x.png", "valid/x.png")
    write_mask_folder(tmp_path / "masks" / "x", make_masks(SHAPE), STRUCTURES)
    folder = discover(tmp_path)
    assert [item.relative for item in folder.items] == [Path("x.png")]
    assert folder.items[0].valid == tmp_path.resolve() / "valid" / "x.png"


def test_a_link_to_a_file_keeps_its_name_in_the_folder(tmp_path):
    store = put_images(tmp_path / "store", "sha256-12ab.png")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").symlink_to(store / "sha256-12ab.png")
    (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    assert found_names(tmp_path / "a") == found_names(tmp_path / "b") == ["x.png"]
    assert discover(tmp_path / "a" / "x.png").items[0].relative == Path("x.png")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.png", "a"),
        ("a.b.png", "a.b"),
        ("a.nii.gz", "a"),
        ("a.NII.GZ", "a"),
        ("1.2.276.850819.dcm", "1.2.276.850819"),
        ("1.2.276.850819", "1.2.276.850819"),
        ("IMG.0001", "IMG.0001"),
    ],
)
def test_a_stem_loses_image_suffixes_only(name, stem):
    assert image_stem(Path("deep") / name) == stem


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("x.png", "x.nii.gz"),
        ("x.png", "x.nii"),
        ("x.png", "x.png.nii.gz"),
        ("a.b.png", "a.b.nii.gz"),
        ("deep/x.png", "deep/x.nii.gz"),
        ("deep/x.png", "x.nii.gz"),
        ("1.2.276.850819", "1.2.276.850819.nii.gz"),
        ("1.2.276.850819.dcm", "1.2.276.850819.nii.gz"),
    ],
)
def test_a_nifti_mask_is_found_by_name(tmp_path, image, mask):
    path = tmp_path / "images" / image
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(128) + b"DICM" + bytes(32))
    put_mask(tmp_path / "masks" / mask)
    put_table(tmp_path, structures=STRUCTURES)
    folder = discover(tmp_path)
    assert folder.structures == STRUCTURES
    assert folder.items[0].mask == tmp_path.resolve() / "masks" / mask


@pytest.mark.parametrize(("image", "mask"), [("x.png", "x"), ("a.b.png", "a.b"), ("deep/x.png", "deep/x")])
def test_a_folder_of_masks_names_its_structures(tmp_path, image, mask):
    put_images(tmp_path / "images", image)
    write_mask_folder(tmp_path / "masks" / mask, make_masks(SHAPE), STRUCTURES)
    folder = discover(tmp_path)
    assert folder.structures == STRUCTURES
    assert folder.items[0].mask == tmp_path.resolve() / "masks" / mask


def test_images_that_differ_in_suffix_only_have_masks_by_their_whole_names(tmp_path):
    put_images(tmp_path, "images/x.png", "images/x.tif")
    put_table(tmp_path, structures=STRUCTURES)
    for name in ("x.png", "x.tif"):
        put_mask(tmp_path / "masks" / f"{name}.nii.gz")
    assert [item.mask.name for item in discover(tmp_path).items] == ["x.png.nii.gz", "x.tif.nii.gz"]


@pytest.mark.parametrize("names", [("x.png", "x.tif"), ("one/x.png", "two/x.png")])
def test_a_mask_that_would_be_two_images_is_an_error(tmp_path, names):
    put_images(tmp_path / "images", *names)
    put_table(tmp_path, structures=STRUCTURES)
    put_mask(tmp_path / "masks" / "x.nii.gz")
    with pytest.raises(MaskMismatchError, match=r"x\.nii\.gz would be the mask of 2 images"):
        discover(tmp_path)


def test_a_missing_mask_is_an_error_that_names_image_and_count(tmp_path):
    put_images(tmp_path, "images/x.png", "images/y.png", "images/z.png")
    put_table(tmp_path, structures=STRUCTURES)
    put_mask(tmp_path / "masks" / "x.nii.gz")
    with pytest.raises(MaskMismatchError, match=r"y\.png: .*2 of 3 images have none.*masks/y\.nii\.gz"):
        discover(tmp_path)


def test_masks_of_other_names_are_not_passed_over(tmp_path):
    put_images(tmp_path, "images/x.png")
    put_mask(tmp_path / "masks" / "patient_x.nii.gz")
    with pytest.raises(MaskMismatchError, match="1 of 1 images have none"):
        discover(tmp_path)


def test_nifti_masks_need_structure_names(tmp_path):
    put_images(tmp_path, "images/x.png")
    put_mask(tmp_path / "masks" / "x.nii.gz")
    with pytest.raises(DatasetFolderError, match="masks without structure names"):
        discover(tmp_path)


@pytest.mark.parametrize("key", ["images/deep/x.png", "deep/x.png", "deep/x", "x.png", "x"])
def test_a_table_may_name_an_image_in_five_ways(tmp_path, key):
    put_images(tmp_path, "images/deep/x.png", "images/y.png")
    write_patients(tmp_path, [(key, "p1")])
    assert [item.patient for item in discover(tmp_path).items] == ["p1", None]


def test_patients_come_from_csv_then_json_by_name_then_view_then_for_all(tmp_path):
    put_images(tmp_path, "a.png", "b.png", "c.png", "d.png")
    write_patients(tmp_path, [("a.png", "csv")])
    put_table(tmp_path, "views.json", views=[{"name": n, "patient": "view"} for n in "abc"])
    put_table(tmp_path, patient={"a": "json", "b": "json"})
    assert [item.patient for item in discover(tmp_path).items] == ["csv", "json", "view", None]
    put_table(tmp_path, patient="all")
    assert [item.patient for item in discover(tmp_path).items] == ["csv", "view", "view", "all"]


def test_spacing_comes_from_the_view_then_all_views_then_the_data_set(tmp_path):
    put_images(tmp_path, "a.png", "b.png")
    put_table(tmp_path, spacing_mm=0.5)
    items = discover(tmp_path).items
    assert [(i.spacing_mm, i.spacing_origin) for i in items] == [((0.5, 0.5), "user")] * 2
    put_table(tmp_path, "views.json", views=[{"name": "a", "detector_spacing_mm": [1, 2]}])
    items = discover(tmp_path).items
    assert [(i.spacing_mm, i.spacing_origin) for i in items] == [((1, 2), "detector"), ((0.5, 0.5), "user")]
    views = [{"name": "a", "detector_spacing_mm": [1, 2]}]
    put_table(tmp_path, "views.json", views=views, detector_spacing_mm=[3, 4])
    items = discover(tmp_path).items
    assert [(i.spacing_mm, i.spacing_origin) for i in items] == [((1, 2), "detector"), ((3, 4), "detector")]


def test_without_tables_patient_spacing_and_split_are_unknown(tmp_path):
    item = discover(put_images(tmp_path, "a.png")).items[0]
    assert (item.patient, item.spacing_mm, item.spacing_origin, item.split) == (None, None, "unknown", None)


def test_structures_of_dataset_json_stand_above_those_of_views_json(tmp_path):
    put_images(tmp_path, "images/x.png")
    put_mask(tmp_path / "masks" / "x.nii.gz")
    put_table(tmp_path, "views.json", structures=["a", "b"])
    assert discover(tmp_path).structures == ("a", "b")
    put_table(tmp_path, structures=["c", "d"])
    assert discover(tmp_path).structures == ("c", "d")


def test_a_split_for_some_images_only_is_an_error(tmp_path):
    put_images(tmp_path, "a.png", "b.png", "c.png")
    columns = "file,patient,split"
    write_patients(tmp_path, [("a.png", "1", "train"), ("b.png", "2", ""), ("c.png", "3", "test")], columns)
    with pytest.raises(DatasetFolderError, match=r"patients\.csv: no split for 1 of 3 images, .*b\.png"):
        discover(tmp_path)
    write_patients(tmp_path, [("a.png", "1", "train"), ("c.png", "3", "test")], columns)
    with pytest.raises(DatasetFolderError, match=r"no split for 1 of 3 images, .*b\.png"):
        discover(tmp_path)


def test_an_empty_split_column_leaves_the_splitting_to_medi2i(tmp_path):
    put_images(tmp_path, "a.png", "b.png")
    write_patients(tmp_path, [("a.png", "1", ""), ("b.png", "2", "")], "file,patient,split")
    assert [item.split for item in discover(tmp_path).items] == [None, None]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("dataset.json", "{", "no readable JSON"),
        ("dataset.json", "[]", "list"),
        ("dataset.json", '{"structures": "heart"}', "no list of names"),
        ("dataset.json", '{"structures": ["a", "a"]}', "named twice"),
        ("dataset.json", '{"spacing_mm": [1, -2]}', "spacing"),
        ("dataset.json", '{"spacing_mm": [1, 2, 3]}', "spacing"),
        ("dataset.json", '{"spacing_mm": Infinity}', "spacing"),
        ("views.json", '{"views": {"name": "x"}}', "'views' that is no list"),
        ("views.json", '{"views": [{"name": "x", "detector_spacing_mm": "1"}]}', "spacing"),
        ("patients.csv", "name,patient\nx.png,1\n", "columns name, patient"),
        ("patients.csv", "", "columns none"),
        ("patients.csv", "file,patient\nx.png,1\nx.png,2\n", "two values of 'patient'"),
        ("patients.csv", "file,patient,split\nx.png,1,training\n", "split 'training'"),
        ("patients.csv", "file,patient\nother.png,1\n", "patients of other files only"),
        ("patients.csv", b"file,patient\nx.png,\xff\xfe\n", "no readable CSV"),
    ],
)
def test_a_table_that_contradicts_its_form_is_an_error(tmp_path, name, content, found):
    put_images(tmp_path, "x.png")
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetFolderError, match=found):
        discover(tmp_path)


def test_short_rows_and_a_byte_order_mark_are_read(tmp_path):
    put_images(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "patients.csv").write_text("\ufefffile,patient,split\na.png\nb.png, 2 ,,\n")
    assert [item.patient for item in discover(tmp_path).items] == [None, "2", None]


def test_an_empty_folder_has_nothing_usable(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(NothingUsableError, match="no image") as caught:
        discover(tmp_path)
    assert int(caught.value.exit_code) == 4


def test_a_missing_folder_is_a_wrong_path(tmp_path):
    with pytest.raises(UsageError, match="no such file or folder"):
        discover(tmp_path / "nowhere")


def test_discovery_is_sorted_and_repeatable(tmp_path):
    names = [f"{n:02d}.png" for n in np.random.default_rng(0).permutation(20)]
    put_images(tmp_path, *names)
    assert found_names(tmp_path) == sorted(names)


def test_a_run_written_below_a_domain_is_no_part_of_it(tmp_path):
    save_png(tmp_path / "a.png", make_scene(1, SHAPE))
    run = tmp_path / "run1"
    (run / "translated" / "images").mkdir(parents=True)
    (run / "manifest.jsonl").write_text("")
    save_png(run / "translated" / "images" / "a.png", make_scene(1, SHAPE))
    assert [item.relative.as_posix() for item in discover(tmp_path).items] == ["a.png"]
    unfinished = tmp_path / "set"
    (unfinished / "images").mkdir(parents=True)
    (unfinished / "synthesis.json").write_text("{}")
    save_png(unfinished / "images" / "synthetic-0000000.png", make_scene(1, SHAPE))
    assert [item.relative.as_posix() for item in discover(tmp_path).items] == ["a.png"]
    # the output itself is a data set folder
    assert [item.relative.as_posix() for item in discover(run / "translated").items] == ["a.png"]
