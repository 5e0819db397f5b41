import gzip

import nibabel
import numpy as np
import pytest

from medi2i.errors import UnreadableImageError
from medi2i.io import read_radiograph, write_radiograph
from medi2i.io.nifti import accepts


def save(path, array, affine=None, unit="mm"):
    image = nibabel.Nifti1Image(array, np.diag([0.3, 0.2, 1, 1]) if affine is None else affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("axes", [2, 3])
def test_axes_are_column_then_row_and_spacing_is_row_then_column(tmp_path, ramp, name, axes):
    voxels = ramp.T if axes == 2 else ramp.T[:, :, None]
    radiograph = read_radiograph(save(tmp_path / name, voxels))
    assert np.array_equal(radiograph.pixels, ramp)
    assert radiograph.header.spacing_mm == pytest.approx((0.2, 0.3))
    assert radiograph.header.spacing_origin == "NIfTI"


def test_spacing_is_the_length_of_the_affines_columns_in_millimetres(tmp_path, ramp):
    turned = np.array([[0, 0.2, 0, 5], [0.3, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])
    assert read_radiograph(save(tmp_path / "a.nii", ramp.T, turned)).header.spacing_mm == pytest.approx(
        (0.2, 0.3)
    )
    micron = save(tmp_path / "b.nii", ramp.T, np.diag([300.0, 200, 1, 1]), "micron")
    assert read_radiograph(micron).header.spacing_mm == pytest.approx((0.2, 0.3))


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_written_files_keep_affine_shape_and_type(tmp_path, ramp, shape, dtype):
    affine = np.array([[-0.3, 0, 0, 5], [0, -0.2, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])
    path = save(tmp_path / "a.nii.gz", ramp.T.reshape(shape).astype(dtype), affine)
    radiograph = read_radiograph(path)
    pixels = ramp[::-1].astype(np.float32 if dtype == np.float32 else np.uint16)
    write_radiograph(tmp_path / "b.nii.gz", pixels, header=radiograph.header, template=path)
    stored = nibabel.load(tmp_path / "b.nii.gz")
    assert stored.shape == shape
    assert stored.get_data_dtype() == dtype
    np.testing.assert_allclose(stored.affine, affine, atol=1e-6)
    assert np.array_equal(np.asarray(stored.dataobj).reshape(8, 6), ramp[::-1].T)
    assert read_radiograph(tmp_path / "b.nii.gz").header == radiograph.header


def test_negative_values_round_trip(tmp_path, ramp):
    signed = ramp.astype(np.int16) - 20
    radiograph = read_radiograph(save(tmp_path / "a.nii", signed.T))
    assert radiograph.header.value_range == (-32768, 32767)
    codes = (signed.astype(np.int32) + 32768).astype(np.uint16)
    write_radiograph(tmp_path / "b.nii", codes, header=radiograph.header, template=tmp_path / "a.nii")
    assert np.array_equal(read_radiograph(tmp_path / "b.nii").pixels, signed)


def test_scaled_integers_are_floating_point(tmp_path, ramp):
    image = nibabel.Nifti1Image(ramp.T, np.diag([0.3, 0.2, 1, 1]))
    image.header["scl_slope"], image.header["scl_inter"] = 0.5, 1
    content = bytearray(image.to_bytes())
    content[112:120] = np.array([0.5, 1], "<f4").tobytes()  # to_bytes resets slope and intercept
    (tmp_path / "a.nii").write_bytes(content)
    radiograph = read_radiograph(tmp_path / "a.nii")
    assert np.array_equal(radiograph.pixels, ramp * 0.5 + 1)
    assert radiograph.header.bits_stored is None
    write_radiograph(
        tmp_path / "b.nii", radiograph.pixels, header=radiograph.header, template=tmp_path / "a.nii"
    )
    assert np.array_equal(read_radiograph(tmp_path / "b.nii").pixels, radiograph.pixels)


def test_volumes_are_refused_by_their_size(tmp_path):
    path = save(tmp_path / "ct.nii.gz", np.zeros((4, 5, 6), np.int16))
    with pytest.raises(UnreadableImageError, match=r"ct\.nii\.gz: a NIfTI of 4 x 5 x 6 voxels"):
        read_radiograph(path)


def test_colour_voxels_are_refused(tmp_path):
    colour = np.zeros((4, 5), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(UnreadableImageError, match="NIfTI voxels of type"):
        read_radiograph(save(tmp_path / "rgb.nii", colour))


def test_a_cut_off_file_says_how_much_is_missing(tmp_path, ramp):
    path = save(tmp_path / "a.nii", ramp.T)
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(UnreadableImageError, match="442 bytes; expected the 448"):  # 352 + 96
        read_radiograph(path)


def test_a_header_that_declares_gigabytes_is_refused_before_reading(tmp_path, ramp):
    content = bytearray(save(tmp_path / "a.nii", ramp.T).read_bytes())
    content[42:46] = np.array([30000, 30000], "<i2").tobytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(UnreadableImageError, match="30000 x 30000"):
        read_radiograph(tmp_path / "a.nii.gz")


def test_damaged_gzip_is_no_nifti_and_no_crash(tmp_path, ramp):
    path = save(tmp_path / "a.nii.gz", ramp.T)
    content = bytearray(path.read_bytes())
    content[20:60] = bytes(40)
    path.write_bytes(content)
    accepts(path)
    with pytest.raises(UnreadableImageError, match=r"a\.nii\.gz"):
        read_radiograph(path)
