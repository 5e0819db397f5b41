import importlib.util

import numpy as np
import pytest
from dicom_tools import dump, validation_errors
from pydicom import dcmread

from medi2i.errors import EnvironmentProblemError, MaskMismatchError
from medi2i.io import dicom_segmentation
from medi2i.io.dicom_segmentation import write_segmentation
from medi2i.io.dicom_write import write_derived_radiograph
from medi2i.io.format import WriteOptions
from medi2i.io.new_radiograph import NewDicom, write_new_radiograph

NAMES = ("left_lung", "heart", "port catheter", "nothing")
SHAPE = (24, 40)
needs_highdicom = pytest.mark.skipif(
    importlib.util.find_spec("highdicom") is None, reason="highdicom is not installed (extra 'dicom')"
)


@pytest.fixture
def masks():
    """(4, 24, 40): two rectangles that overlap, one pixel, and nothing."""
    masks = np.zeros((4, *SHAPE), dtype=bool)
    masks[0, 2:10, 3:20] = masks[1, 6:20, 10:30] = masks[2, 23, 39] = True
    return masks


@pytest.fixture
def patient_image(make_dicom, tmp_path):
    """A translated patient radiograph."""
    codes = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint16).reshape(SHAPE)
    template = make_dicom(
        codes, bits=12, BodyPartExamined="CHEST", Manufacturer="maker", PixelSpacing=[0.2, 0.3]
    )
    image = tmp_path / "derived.dcm"
    write_derived_radiograph(
        image, codes, template=template, bits_stored=12, options=WriteOptions(series="a")
    )
    return image


@pytest.fixture
def synthetic_image(tmp_path):
    codes = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint16).reshape(SHAPE)
    about = NewDicom("c0ffee", 7, view="PA", method="cyclegan", weights_sha256="ab" * 32)
    image = tmp_path / "synthetic.dcm"
    write_new_radiograph(image, codes, format="dicom", spacing_mm=(0.5, 0.5), bits_stored=12, dicom=about)
    return image


@needs_highdicom
@pytest.mark.parametrize("kind", ["patient_image", "synthetic_image"])
def test_highdicom_reads_the_right_masks_of_the_right_image(tmp_path, masks, kind, request):
    import highdicom

    image = request.getfixturevalue(kind)
    write_segmentation(tmp_path / "seg.dcm", masks, NAMES, image=image)
    shown = dcmread(image)
    read = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert [read.get_segment_description(n).segment_label for n in range(1, 5)] == list(NAMES)
    pixels = read.get_pixels_by_source_instance([shown.SOPInstanceUID])
    assert np.array_equal(pixels[0].transpose(2, 0, 1), masks)
    assert (read.PatientID, read.StudyInstanceUID) == (shown.PatientID, shown.StudyInstanceUID)
    assert read.SeriesInstanceUID != shown.SeriesInstanceUID
    types = [read.get_segment_description(n).segmented_property_type for n in range(1, 5)]
    assert [each.meaning for each in types] == ["Left lung", "Heart", *["Anatomical structure"] * 2]


@needs_highdicom
@pytest.mark.parametrize("kind", ["patient_image", "synthetic_image"])
def test_validator_and_dcmtk_take_it(tmp_path, masks, kind, request):
    write_segmentation(tmp_path / "seg.dcm", masks, NAMES, image=request.getfixturevalue(kind))
    assert validation_errors(tmp_path / "seg.dcm") == []
    assert "[port catheter]" in dump(tmp_path / "seg.dcm")


@needs_highdicom
def test_the_same_image_and_masks_give_the_same_bytes(tmp_path, masks, synthetic_image):
    for name in ("a.dcm", "b.dcm"):
        write_segmentation(tmp_path / name, masks, NAMES, image=synthetic_image)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    write_segmentation(tmp_path / "c.dcm", ~masks, NAMES, image=synthetic_image)
    first, other = dcmread(tmp_path / "a.dcm"), dcmread(tmp_path / "c.dcm")
    assert first.SeriesInstanceUID == other.SeriesInstanceUID
    assert first.SOPInstanceUID != other.SOPInstanceUID


@needs_highdicom
def test_masks_of_another_matrix_or_without_names_are_refused(tmp_path, masks, patient_image):
    for wrong, names in ((masks[:, 1:], NAMES), (masks, NAMES[:2]), (masks[:0], ())):
        with pytest.raises(MaskMismatchError, match=r"expected \(structures, 24, 40\)"):
            write_segmentation(tmp_path / "seg.dcm", wrong, names, image=patient_image)
    assert not (tmp_path / "seg.dcm").exists()


def test_without_highdicom_the_error_says_how_to_get_it(tmp_path, masks, patient_image, monkeypatch):
    monkeypatch.setattr(dicom_segmentation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblemError, match=r"pip install 'medi2i\[dicom\]'"):
        write_segmentation(tmp_path / "seg.dcm", masks, NAMES, image=patient_image)


@needs_highdicom
@pytest.mark.parametrize(
    "sets", [["", "ISO 2022 IR 87"], ["", "ISO 2022 IR 149"], "ISO_IR 6", "ISO 2022 IR 100", "", None]
)
def test_any_character_set_of_the_image_has_a_segmentation_and_any_name_a_label(make_dicom, tmp_path, sets):
    empty = ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber")
    codes = np.arange(80, dtype=np.uint16).reshape(8, 10)
    image = make_dicom(codes, ReferringPhysicianName="", **dict.fromkeys(empty, ""))
    dataset = dcmread(image)
    dataset.PatientName = "Yamada^Tarou=山田^太郎" if isinstance(sets, list) and "87" in sets[1] else "Doe^J"
    if sets is None:
        dataset.pop("SpecificCharacterSet", None)
    else:
        dataset.SpecificCharacterSet = sets
    dataset.save_as(image)
    wanted = str(dcmread(image).PatientName)
    masks = np.zeros((2, 8, 10), dtype=bool)
    masks[0, 2:5], masks[1, :, 3] = True, True
    write_segmentation(tmp_path / "seg.dcm", masks, ("心臓", "größe"), image=image)
    written = dcmread(tmp_path / "seg.dcm")
    assert [segment.SegmentLabel for segment in written.SegmentSequence] == ["心臓", "größe"]
    assert str(written.PatientName) == wanted
    np.testing.assert_array_equal(written.pixel_array.reshape(masks.shape).astype(bool), masks)
