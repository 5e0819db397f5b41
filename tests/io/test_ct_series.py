import copy

import numpy as np
import pytest
from ct_files import AFFINE, make_enhanced, make_hounsfield, make_slices, write_slices
from pydicom.uid import JPEG2000Lossless, RLELossless

from medi2i.errors import InputError, UnreadableImageError, UnusableVolumeError
from medi2i.io.ct import read_ct
from medi2i.io.ct_series import find_series_files

ORIENTATIONS = {
    "axial, head first": ((0, 1, 2), (True, True, False)),
    "axial, feet first": ((0, 1, 2), (False, True, True)),
    "axial, prone": ((0, 1, 2), (False, False, False)),
    "transposed": ((1, 0, 2), (True, True, False)),
    "coronal": ((0, 2, 1), (True, True, False)),
    "sagittal": ((1, 2, 0), (True, True, True)),
}


def assert_is_the_volume(volume, hounsfield=None):
    expected = make_hounsfield() if hounsfield is None else hounsfield
    assert np.array_equal(volume.hounsfield, expected)
    assert np.abs(volume.affine - AFFINE).max() < 1e-9


def refused(folder, kind=UnusableVolumeError, **options):
    with pytest.raises(kind) as caught:
        read_ct(folder, **options)
    message = str(caught.value)
    assert "radiograph" not in message
    assert "oken" not in message  # PatientID and PatientName
    return message


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_series_of_any_orientation_and_file_order_is_the_same_volume(tmp_path, name):
    axes, flips = ORIENTATIONS[name]
    position = "FFS" if "feet" in name else "HFS"
    slices = make_slices(make_hounsfield(), axes=axes, flips=flips, PatientPosition=position)
    volume = read_ct(write_slices(tmp_path / "series", slices))
    assert_is_the_volume(volume)
    assert volume.patient_id == "token-id"
    assert volume.notes == ()


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_simpleitk_finds_the_same_values_at_the_same_places(tmp_path, name):
    import SimpleITK

    axes, flips = ORIENTATIONS[name]
    turned = np.eye(4)
    turned[1:3, 1:3] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    slices = make_slices(make_hounsfield(), turned @ AFFINE, axes=axes, flips=flips)
    folder = write_slices(tmp_path / "series", slices)
    files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = SimpleITK.ReadImage(files)
    volume = read_ct(folder)
    for index in np.ndindex(volume.hounsfield.shape):
        place = (volume.affine @ [*index, 1])[:3] * [-1, -1, 1]
        stored = image.TransformPhysicalPointToIndex([float(number) for number in place])
        assert image[stored] == volume.hounsfield[index]


def test_an_oblique_series_keeps_its_turn(tmp_path):
    turned = np.eye(4)
    turned[1:3, 1:3] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    slices = make_slices(make_hounsfield(), turned @ AFFINE)
    volume = read_ct(write_slices(tmp_path / "series", slices))
    assert np.array_equal(volume.hounsfield, make_hounsfield())
    assert np.abs(volume.affine - turned @ AFFINE).max() < 1e-9


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_slices_are_decoded(tmp_path, syntax):
    slices = make_slices(make_hounsfield((32, 32, 2)))
    for each in slices:
        each.compress(syntax, generate_instance_uid=False)
    assert_is_the_volume(read_ct(write_slices(tmp_path / "series", slices)), make_hounsfield((32, 32, 2)))


@pytest.mark.parametrize("syntax", [None, RLELossless])
def test_an_enhanced_object_is_the_same_volume(tmp_path, syntax):
    whole = make_enhanced(make_slices(make_hounsfield())[::-1])
    if syntax:
        whole.compress(syntax)
    folder = write_slices(tmp_path / "series", [whole])
    assert_is_the_volume(read_ct(folder))
    assert_is_the_volume(read_ct(next(folder.iterdir())))


def test_declared_padding_is_air_unless_tissue_has_its_value(tmp_path):
    hounsfield = make_hounsfield()
    slices = make_slices(hounsfield)
    for each in slices:
        each.PixelPaddingValue = -1000 - int(each.RescaleIntercept)  # stored value of -1000 HU
    volume = read_ct(write_slices(tmp_path / "air", slices))
    assert_is_the_volume(volume)
    assert np.argwhere(volume.padding).tolist() == [[0, 0, 0]]
    for each in slices:
        each.PixelPaddingValue = -320 - int(each.RescaleIntercept)
    volume = read_ct(write_slices(tmp_path / "tissue", slices))
    assert_is_the_volume(volume)
    assert volume.padding is None
    assert volume.notes == ("PixelPaddingValue is a value that tissue has; it was ignored",)


def test_what_is_no_slice_is_passed_over_and_said(tmp_path):
    slices = make_slices(make_hounsfield())
    localizer = copy.deepcopy(slices[0])
    localizer.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    localizer.SeriesInstanceUID = "1.2.3"
    report = copy.deepcopy(slices[0])
    report.SOPClassUID, report.Modality = "1.2.840.10008.5.1.4.1.1.88.22", "SR"
    del report.PixelData
    folder = write_slices(tmp_path / "series", [*slices, localizer, report])
    (folder / "readme.txt").write_text("no DICOM")
    volume = read_ct(folder)
    assert_is_the_volume(volume)
    assert volume.notes == (
        "1 files passed over: SR",
        "1 files passed over: localizer",
        "1 files passed over: no DICOM",
    )


@pytest.mark.parametrize("flips", [(True, True, False), (True, True, True)])
def test_a_gap_is_named_with_its_place_and_size(tmp_path, flips):
    slices = make_slices(make_hounsfield((6, 5, 9)), flips=flips)
    slices = [each for each in slices if each.ImagePositionPatient[2] not in (-290.0, -287.5)]
    message = refused(write_slices(tmp_path / "series", slices))
    assert "2 missing between positions -292.50 and -285.00 mm" in message
    assert "here 2.500 mm" in message


def test_unequal_distances_are_named_with_their_place(tmp_path):
    slices = make_slices(make_hounsfield((6, 5, 9)))
    slices[4].ImagePositionPatient[2] += 0.5
    message = refused(write_slices(tmp_path / "series", slices))
    assert "3.000 mm between positions -292.50 and -289.50 mm, 2.500 mm elsewhere" in message


def test_positions_rounded_to_a_hundredth_are_equal_distances(tmp_path):
    affine = AFFINE.copy()
    affine[2, 2] = 0.625
    slices = make_slices(make_hounsfield((6, 5, 9)), affine)
    for each in slices:
        each.ImagePositionPatient[2] = round(float(each.ImagePositionPatient[2]), 2)
    volume = read_ct(write_slices(tmp_path / "series", slices))
    assert volume.spacing_mm[2] == pytest.approx(0.625, abs=1e-3)


def test_a_position_that_occurs_twice_is_named(tmp_path):
    slices = make_slices(make_hounsfield())
    again = copy.deepcopy(slices[2])
    again.SOPInstanceUID = "1.2.3"
    message = refused(write_slices(tmp_path / "series", [*slices, again]))
    assert "1 slices at the position of another one, first at -295.00 mm" in message


@pytest.mark.parametrize("degrees", [-12, 2])
def test_a_gantry_tilt_is_refused_by_positions_or_by_its_attribute(tmp_path, degrees):
    slices = make_slices(make_hounsfield((6, 5, 9)))
    for number, each in enumerate(slices):
        each.ImagePositionPatient[1] += 2.5 * number * np.tan(np.deg2rad(degrees))
    message = refused(write_slices(tmp_path / "sheared", slices))
    assert f"a gantry tilt of {abs(degrees)}.0 degrees (slices shifted" in message
    stated = make_slices(make_hounsfield(), GantryDetectorTilt=degrees)
    message = refused(write_slices(tmp_path / "stated", stated))
    assert f"a gantry tilt of {abs(degrees)}.0 degrees (GantryDetectorTilt)" in message


def test_a_table_that_sags_a_little_is_no_tilt(tmp_path):
    slices = make_slices(make_hounsfield((6, 5, 9)))
    for number, each in enumerate(slices):
        each.ImagePositionPatient[1] += 0.01 * number
    volume = read_ct(write_slices(tmp_path / "series", slices))
    assert volume.affine[1, 2] == pytest.approx(-0.01)  # to the back in LPS is less in RAS


@pytest.fixture
def two_series(tmp_path):
    """Series 1 has four slices, series 2 three; free text that names the patient."""
    first = make_slices(make_hounsfield(), SeriesInstanceUID="1.2.1", SeriesDescription="Token^Name chest")
    second = make_slices(make_hounsfield()[:, :, :3] + 1, SeriesInstanceUID="1.2.2", ConvolutionKernel="B70f")
    return write_slices(write_slices(tmp_path / "ct", first, prefix="b"), second, prefix="a")


def test_several_series_are_listed_without_free_text(two_series):
    message = refused(two_series)
    assert "2 CT series: [1] 4 slices of 5 x 6 at 0.9 x 0.8 mm (" in message
    assert "[2] 3 slices of 5 x 6 at 0.9 x 0.8 mm, kernel B70F (" in message
    assert "--series NUMBER" in message


@pytest.mark.parametrize(("series", "offset"), [("1", 0), ("2", 1), ("1.2.1", 0), ("1.2.2", 1)])
def test_a_series_is_chosen_by_number_or_uid(two_series, series, offset):
    volume = read_ct(two_series, series=series)
    assert np.array_equal(volume.hounsfield, make_hounsfield()[:, :, : 4 - offset] + offset)
    files = find_series_files(two_series, series=series)
    assert {path.name[0] for path in files} == {"ba"[offset]}
    assert len(files) == 4 - offset


def test_a_series_that_is_not_there_is_answered_by_the_list(two_series):
    assert "no series '3' among [1] 4 slices" in refused(two_series, series="3")


@pytest.mark.parametrize("same_series", [True, False])
def test_two_patients_in_one_folder_are_refused_without_their_names(tmp_path, same_series):
    slices = make_slices(make_hounsfield())
    for each in slices[2:]:
        each.PatientID = "other-token"
        each.SeriesInstanceUID = each.SeriesInstanceUID if same_series else "1.2.3"
    assert "CT images of 2 patients" in refused(write_slices(tmp_path / "series", slices))


def test_slices_that_differ_in_matrix_spacing_or_orientation_are_counted(tmp_path):
    smaller, wider, turned = (make_slices(make_hounsfield((6, 5, 7))) for _ in range(3))
    cropped = make_slices(make_hounsfield((6, 4, 7)), SeriesInstanceUID=smaller[0].SeriesInstanceUID)
    message = refused(write_slices(tmp_path / "a", [*smaller[:6], cropped[6]]))
    assert "several matrices (rows x columns) in one series (6 of 5 x 6, 1 of 4 x 6)" in message
    wider[3].PixelSpacing = [0.9, 0.82]
    message = refused(write_slices(tmp_path / "b", wider))
    assert "several pixel spacings in one series (6 of 0.9 x 0.8 mm, 1 of 0.9 x 0.82 mm)" in message
    turned[3].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    message = refused(write_slices(tmp_path / "c", turned))
    assert "several orientations in one series (6 of 1/0/0/0/1/0, 1 of 1/0/0/0/0/-1)" in message


def test_other_modalities_alone_are_no_ct(tmp_path):
    slices = make_slices(make_hounsfield(), Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    assert "no CT image (4 of kind 'MR')" in refused(write_slices(tmp_path / "series", slices))
    (tmp_path / "empty").mkdir()
    assert "no CT image (no file)" in refused(tmp_path / "empty")


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("ImagePositionPatient", None, "without a valid ImagePositionPatient"),
        ("ImageOrientationPatient", None, "without a valid ImageOrientationPatient"),
        ("PixelSpacing", [0.9], "without a valid PixelSpacing"),
        ("RescaleIntercept", None, "without a valid RescaleIntercept"),
        ("PixelData", None, "a CT image without PixelData"),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0], "several orientations"),
    ],
)
def test_a_slice_that_lacks_what_the_geometry_needs_is_named(tmp_path, keyword, value, words):
    slices = make_slices(make_hounsfield())
    if value is None:
        del slices[1][keyword]
    else:
        setattr(slices[1], keyword, value)
    assert words in refused(write_slices(tmp_path / "series", slices), InputError)


def test_a_file_that_is_cut_off_is_named(tmp_path):
    folder = write_slices(tmp_path / "series", make_slices(make_hounsfield()))
    cut = sorted(folder.iterdir())[2]
    cut.write_bytes(cut.read_bytes()[:-10])
    message = refused(folder, UnreadableImageError)
    assert message.startswith(str(cut))
    assert "50 bytes of pixel data; expected the 60 that the file declares" in message


def test_one_slice_is_no_volume(tmp_path):
    message = refused(write_slices(tmp_path / "series", make_slices(make_hounsfield())[:1]))
    assert "at least 2 voxels on each side" in message
