import nibabel
import numpy as np
import pytest
from PIL import Image

from medi2i.errors import MaskMismatchError
from medi2i.io.masks import read_mask_folder, read_mask_nifti, write_mask_folder, write_mask_nifti

NAMES = ("lung", "heart")


@pytest.fixture
def masks() -> np.ndarray:
    masks = np.zeros((2, 5, 7), dtype=bool)
    masks[0, 1, 2:6] = True
    masks[1, 1:4, 3] = True  # overlaps the first at (1, 3)
    return masks


@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz"])
def test_nifti_masks_round_trip_with_their_overlap(tmp_path, masks, name):
    write_mask_nifti(tmp_path / name, masks, spacing_mm=(0.2, 0.3))
    image = nibabel.load(tmp_path / name)
    assert image.shape == (7, 5, 2)  # column, row, structure
    assert np.allclose(image.header.get_zooms()[:2], (0.3, 0.2))
    assert image.dataobj[4, 1, 0] == 1
    read = read_mask_nifti(tmp_path / name, NAMES, image_shape=(5, 7))
    assert read.dtype == bool
    assert np.array_equal(read, masks)


def test_folder_masks_round_trip_in_the_order_asked_for(tmp_path, masks):
    write_mask_folder(tmp_path, masks, NAMES)
    assert np.array_equal(read_mask_folder(tmp_path, NAMES)[1], masks)
    names, read = read_mask_folder(tmp_path)
    assert names == ("heart", "lung")
    assert np.array_equal(read, masks[::-1])


def test_a_plane_too_few_names_both_shapes(tmp_path, masks):
    write_mask_nifti(tmp_path / "m.nii", masks, spacing_mm=None)
    with pytest.raises(MaskMismatchError, match=r"\(7, 5, 2\).*\(columns, rows, 3\) for lung, heart, spine"):
        read_mask_nifti(tmp_path / "m.nii", (*NAMES, "spine"))


def test_a_mask_of_another_matrix_names_both_shapes(tmp_path, masks):
    write_mask_nifti(tmp_path / "m.nii", masks, spacing_mm=None)
    with pytest.raises(MaskMismatchError, match=r"lung of 5 x 7.*expected 7 x 5"):
        read_mask_nifti(tmp_path / "m.nii", NAMES, image_shape=(7, 5))
    write_mask_folder(tmp_path, masks, NAMES)
    Image.new("L", (3, 4)).save(tmp_path / "lung.png")
    with pytest.raises(MaskMismatchError, match=r"lung of 4 x 3.*expected 5 x 7"):
        read_mask_folder(tmp_path, ("heart", "lung"))


def test_a_single_structure_needs_no_third_axis(tmp_path, masks):
    nibabel.save(nibabel.Nifti1Image(masks[0].T.astype(np.uint8), np.eye(4)), tmp_path / "m.nii")
    assert np.array_equal(read_mask_nifti(tmp_path / "m.nii", ["lung"]), masks[:1])


def test_label_maps_and_inverted_backgrounds_are_refused(tmp_path):
    nibabel.save(
        nibabel.Nifti1Image(np.arange(12, dtype=np.uint8).reshape(4, 3), np.eye(4)), tmp_path / "m.nii"
    )
    with pytest.raises(MaskMismatchError, match="12 values, 0 to 11"):
        read_mask_nifti(tmp_path / "m.nii", ["lung"])
    Image.fromarray(np.array([[1, 2], [2, 1]], np.uint8)).save(tmp_path / "heart.png")
    with pytest.raises(MaskMismatchError, match="zero outside the structure"):
        read_mask_folder(tmp_path, ["heart"])


def test_a_missing_structure_is_named(tmp_path, masks):
    write_mask_folder(tmp_path, masks, NAMES)
    with pytest.raises(MaskMismatchError, match=r"add spine\.png"):
        read_mask_folder(tmp_path, ("lung", "spine"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MaskMismatchError, match="masks of nothing"):
        read_mask_folder(tmp_path / "empty")


def test_one_bit_and_sixteen_bit_masks_are_read(tmp_path, masks):
    Image.fromarray(masks[0]).save(tmp_path / "a.png")
    Image.fromarray(masks[0].astype(np.uint16) * 65535).save(tmp_path / "b.png")
    assert np.array_equal(read_mask_folder(tmp_path)[1], masks[[0, 0]])


def test_the_shared_masks_are_read(shared_data):
    names, masks = read_mask_folder(shared_data / "xray_radiologist_masks" / "masks" / "xr_000")
    assert names == ("cardiomediastinum", "left_lung", "right_lung")
    assert masks.shape == (3, 1024, 1007)
    # a frontal film is seen from the front: the patient's left lung is on the right of the picture
    assert np.nonzero(masks[1])[1].mean() > np.nonzero(masks[2])[1].mean()
