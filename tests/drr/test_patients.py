from pathlib import Path

import numpy as np
import pytest
from ct_files import AFFINE, make_hounsfield, make_slices, turn, write_nifti, write_slices

from medi2i.drr.patients import PatientFiles, find_patients, load_patient, remove_table
from medi2i.errors import (
    InputError,
    MaskMismatchError,
    NothingUsableError,
    UnreadableImageError,
    UnusableVolumeError,
    UsageError,
)
from medi2i.volume import Volume


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Four patients, one for each layout; the last one's CT is missing."""
    root = tmp_path / "many"
    write_nifti(root / "a" / "ct.nii.gz", make_hounsfield())
    write_nifti(root / "a" / "labels.nii.gz", (make_hounsfield() > 0).astype(np.uint8))
    (root / "labels.json").write_text('{"1": "liver"}')
    write_nifti(root / "b" / "ct.nii", make_hounsfield() + 1)
    for name in ("liver", "spleen"):
        write_nifti(root / "b" / "segmentations" / f"{name}.nii.gz", np.ones((6, 5, 4), np.uint8))
    write_slices(root / "c" / "ct", make_slices(make_hounsfield()))
    write_slices(root / "d", make_slices(make_hounsfield() + 2))
    (root / "e").mkdir()
    (root / ".hidden").mkdir()
    return root


def test_patients_of_every_layout_are_found(many):
    found = find_patients(many)
    assert found == (
        PatientFiles(many / "a" / "ct.nii.gz", many / "a" / "labels.nii.gz"),
        PatientFiles(many / "b" / "ct.nii", many / "b" / "segmentations"),
        PatientFiles(many / "c" / "ct"),
        PatientFiles(many / "d"),
        PatientFiles(many / "e"),
    )


def test_patients_are_loaded_with_their_labels_and_broken_ones_fail_alone(many):
    found = find_patients(many)
    volume, labels = load_patient(found[0])
    assert np.array_equal(volume.hounsfield, make_hounsfield())
    assert labels.structures == ("liver",)
    assert np.array_equal(labels.mask("liver"), make_hounsfield() > 0)
    assert load_patient(found[1])[1].structures == ("liver", "spleen")
    # names that come with the labels win over the configuration's
    assert load_patient(found[0], label_names={1: "heart"})[1].structures == ("liver",)
    for files, offset in ((found[2], 0), (found[3], 2)):
        volume, labels = load_patient(files)
        assert np.array_equal(volume.hounsfield, make_hounsfield() + offset)
        assert labels is None
    with pytest.raises(InputError, match="no CT image"):
        load_patient(found[4])
    with pytest.raises(InputError):
        _ = found[4].key


@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_one_patients_folder_is_one_patient(many, name):
    index = "abcd".index(name)
    assert find_patients(many / name) == (find_patients(many)[index],)


def test_one_file_or_series_is_one_patient_with_the_labels_given(many):
    ct, labels = many / "a" / "ct.nii.gz", many / "b" / "segmentations"
    assert find_patients(ct) == (PatientFiles(ct),)
    assert find_patients(ct, labels) == (PatientFiles(ct, labels),)
    assert find_patients(many / "a", labels) == (PatientFiles(ct, labels),)
    assert find_patients(many / "c" / "ct", None, "2") == (PatientFiles(many / "c" / "ct", None, "2"),)


@pytest.mark.parametrize("folder", ["labels", "images/labels"])
def test_flat_folders_are_paired_by_name(tmp_path, folder):
    labels = tmp_path / folder
    for name in ("x_0000", "y"):
        write_nifti(tmp_path / "images" / f"{name}.nii.gz", make_hounsfield())
    for name in ("x", "y"):
        write_nifti(labels / f"{name}.nii.gz", np.ones((6, 5, 4), np.uint8))
    found = find_patients(tmp_path / "images", labels)
    assert [file.ct.name for file in found] == ["x_0000.nii.gz", "y.nii.gz"]
    assert [file.labels.name for file in found] == ["x.nii.gz", "y.nii.gz"]
    (labels / "y.nii.gz").unlink()
    absent = find_patients(tmp_path / "images", labels)[1]
    with pytest.raises(UnreadableImageError, match="no such file"):
        load_patient(absent, label_names={1: "liver"})


def test_paths_that_are_not_there_or_empty_or_ambiguous_are_said(tmp_path, many):
    with pytest.raises(UsageError, match="no such file or folder"):
        find_patients(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingUsableError, match="no CT file"):
        find_patients(tmp_path / "empty")
    (many / "a" / "segmentations").mkdir()
    with pytest.raises(UsageError, match=r"labels twice: labels.nii.gz, segmentations"):
        find_patients(many)


def test_the_key_is_of_the_content_and_not_of_names(tmp_path):
    slices = make_slices(make_hounsfield())
    one = PatientFiles(write_slices(tmp_path / "one", slices))
    other_order = PatientFiles(write_slices(tmp_path / "two", slices[::-1], prefix="x"))
    (tmp_path / "two" / "notes.txt").write_text("no DICOM")
    fewer = PatientFiles(write_slices(tmp_path / "three", slices[:3]))
    assert one.key == other_order.key != fewer.key
    assert len(one.key) == 12
    assert int(one.key, 16) >= 0
    file = PatientFiles(write_nifti(tmp_path / "a.nii", make_hounsfield()))
    moved = PatientFiles(write_nifti(tmp_path / "b" / "c.nii", make_hounsfield()))
    assert file.key == moved.key != one.key


def test_labels_of_another_grid_are_refused_or_resampled(tmp_path):
    ct = write_nifti(tmp_path / "ct.nii.gz", make_hounsfield())
    coarse = np.zeros((3, 5, 2), dtype=np.uint8)
    coarse[1:, :, 1] = 1
    # a voxel of the labels covers two voxels of the CT along the first and the third axis
    affine = AFFINE @ np.array([[2, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 2, 0.5], [0, 0, 0, 1]])
    files = PatientFiles(ct, write_nifti(tmp_path / "labels.nii.gz", coarse, affine))
    with pytest.raises(MaskMismatchError, match=r"grid of 3 x 5 x 2.*the CT's grid of 6 x 5 x 4.*--resample"):
        load_patient(files, label_names={1: "liver"})
    _, labels = load_patient(files, label_names={1: "liver"}, resample=True)
    expected = np.zeros((6, 5, 4), dtype=bool)
    expected[2:, :, 2:] = True
    assert np.array_equal(labels.mask("liver"), expected)
    assert any("resampled" in note for note in labels.notes)


def test_the_same_grid_stored_in_another_orientation_is_no_other_grid(tmp_path):
    ct = write_nifti(tmp_path / "ct.nii.gz", make_hounsfield())
    mask = (make_hounsfield() > 500).astype(np.uint8)
    stored, affine = turn(mask, AFFINE, (2, 0, 1), (True, False, True))
    files = PatientFiles(ct, write_nifti(tmp_path / "labels.nii.gz", stored, affine))
    _, labels = load_patient(files, label_names={1: "liver"})
    assert np.array_equal(labels.mask("liver"), mask > 0)


def make_body() -> tuple[Volume, dict[str, np.ndarray]]:
    """A torso of 60 mm radius with lungs, an arm beside it, on a table of 8 mm; voxels of 2 x 2 x 3 mm."""
    shape = (130, 90, 20)
    x, y, _ = np.meshgrid(
        np.arange(130) * 2.0 - 130, np.arange(90) * 2.0 - 90, np.arange(20), indexing="ij", sparse=True
    )
    parts = {
        "torso": (x**2 + y**2 < 60**2),
        "lung": (np.abs(x) - 25) ** 2 + y**2 < 15**2,
        "arm": (x - 95) ** 2 + (y + 30) ** 2 < 22**2,
        "bone": (x - 95) ** 2 + (y + 30) ** 2 < 8**2,
        "table": (y < -61) & (y > -70),
        "rail": (np.abs(x + 115) < 3) & (np.abs(y) < 30),
    }
    parts = {name: np.broadcast_to(part, shape) for name, part in parts.items()}
    hounsfield = np.full(shape, -1000, dtype=np.float32)
    for name, value in (
        ("table", 100),
        ("rail", 900),
        ("torso", 40),
        ("lung", -850),
        ("arm", 40),
        ("bone", 900),
    ):
        hounsfield[parts[name]] = value
    return Volume(hounsfield, np.diag([2.0, 2.0, 3.0, 1.0])), parts


def test_the_table_becomes_air_and_the_body_stays_as_it_is():
    volume, parts = make_body()
    before = volume.hounsfield.copy()
    removed = remove_table(volume)
    for name in ("torso", "lung", "arm", "bone"):
        kept = parts[name] & ~parts["table"]
        assert np.array_equal(removed.hounsfield[kept], before[kept]), name
    # no more of the table stays than lies within the ball's radius and two coarse voxels of a body part
    x = np.arange(130) * 2.0 - 130
    far = (np.abs(x) > 45)[:, None, None] & ((x < 60) | (x > 130))[:, None, None] & parts["table"]
    assert (removed.hounsfield[far] == -1000).all()
    assert (removed.hounsfield[parts["rail"]] == -1000).all()
    left = np.count_nonzero(removed.hounsfield[parts["table"]] > -1000) / parts["table"].sum()
    assert left < 0.35
    assert np.array_equal(volume.hounsfield, before)
    assert removed.notes[0].startswith("table removed: ")


def test_a_ct_without_a_body_has_no_table_removed():
    hounsfield = np.full((40, 40, 10), -1000, dtype=np.float32)
    hounsfield[:, 18:21] = 0
    with pytest.raises(UnusableVolumeError, match="expected a body"):
        remove_table(Volume(hounsfield, np.diag([2.0, 2.0, 3.0, 1.0])))
