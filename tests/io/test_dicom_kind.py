import numpy as np
import pytest

from medi2i.errors import UnreadableImageError
from medi2i.io import read_radiograph

SC = "1.2.840.10008.5.1.4.1.1.7"
XA = "1.2.840.10008.5.1.4.1.1.12.1"


@pytest.mark.parametrize(
    ("class_uid", "modality", "words"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", "CT", "CT Image"),
        ("1.2.840.10008.5.1.4.1.1.4", "MR", "MR Image"),
        ("1.2.840.10008.5.1.4.1.1.20", "NM", "Nuclear Medicine"),
        ("1.2.840.10008.5.1.4.1.1.6.1", "US", "Ultrasound"),
        ("1.2.840.10008.5.1.4.1.1.128", "PT", "Positron"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "SEG", "Segmentation"),
        ("1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE", "RT Dose"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "PR", "Grayscale Softcopy Presentation"),
        ("1.2.840.10008.5.1.4.1.1.12.1.1", "XA", "Enhanced XA"),
        (SC, "CT", "modality CT"),
        (SC, "NM", "modality NM"),
        ("1.2.3.4.5", "CR", "unknown class"),
    ],
)
def test_what_is_no_projection_radiograph_is_refused_by_name(make_dicom, ramp, class_uid, modality, words):
    path = make_dicom(ramp, bits=12, SOPClassUID=class_uid, Modality=modality)
    with pytest.raises(UnreadableImageError, match=words):
        read_radiograph(path)


@pytest.mark.parametrize(
    ("class_uid", "modality", "note"),
    [
        ("1.2.840.10008.5.1.4.1.1.1", "CR", None),
        ("1.2.840.10008.5.1.4.1.1.1.1", "DX", None),
        ("1.2.840.10008.5.1.4.1.1.1.1", "PX", "modality PX"),
        ("1.2.840.10008.5.1.4.1.1.1.1.1", "DX", "FOR PROCESSING"),
        ("1.2.840.10008.5.1.4.1.1.1.2", "MG", "mammogram"),
        ("1.2.840.10008.5.1.4.1.1.1.3", "IO", "intra-oral"),
        (XA, "XA", None),
        ("1.2.840.10008.5.1.4.1.1.12.2", "RF", None),
        ("1.2.840.10008.5.1.4.1.1.481.1", "RTIMAGE", None),
        (SC, "OT", "secondary capture"),
    ],
)
def test_projection_radiographs_are_read(make_dicom, ramp, class_uid, modality, note):
    radiograph = read_radiograph(make_dicom(ramp, bits=12, SOPClassUID=class_uid, Modality=modality))
    assert np.array_equal(radiograph.pixels, ramp)
    assert radiograph.header.modality == modality
    assert (note is None and radiograph.header.notes == ()) or note in radiograph.header.notes[0]


def test_the_first_frame_of_a_run_is_read_and_noted(make_dicom, ramp):
    run = np.stack([ramp, ramp + 1, ramp + 2])
    radiograph = read_radiograph(make_dicom(run, bits=12, SOPClassUID=XA, Modality="XA"))
    assert np.array_equal(radiograph.pixels, ramp)
    assert radiograph.header.notes == ("the first of 3 frames was read",)
    with pytest.raises(UnreadableImageError, match="of 3 frames"):
        read_radiograph(make_dicom(run, bits=12, name="cr.dcm"))


def test_colour_is_refused_with_its_photometric_interpretation(make_dicom):
    colour = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(UnreadableImageError, match="PhotometricInterpretation RGB, 3 samples"):
        read_radiograph(make_dicom(colour, photometric="RGB", SOPClassUID=SC, Modality="OT"))
    with pytest.raises(UnreadableImageError, match="PALETTE COLOR"):
        read_radiograph(
            make_dicom(np.zeros((4, 4), np.uint8), PhotometricInterpretation="PALETTE COLOR", name="p.dcm")
        )


@pytest.mark.parametrize(
    "keyword", ["PixelData", "Rows", "Columns", "PhotometricInterpretation", "BitsAllocated"]
)
def test_what_is_missing_is_named(make_dicom, ramp, keyword):
    with pytest.raises(UnreadableImageError, match=f"without {keyword}"):
        read_radiograph(make_dicom(ramp, bits=12, **{keyword: None}))


def test_burned_in_text_is_noted(make_dicom, ramp):
    radiograph = read_radiograph(make_dicom(ramp, bits=12, BurnedInAnnotation="YES"))
    assert "burned" in radiograph.header.notes[0]


def test_the_patient_is_kept_for_grouping_and_out_of_sight(make_dicom, ramp):
    radiograph = read_radiograph(make_dicom(ramp, bits=12))
    assert radiograph.patient_id == "token-id"
    assert "token" not in repr(radiograph) + repr(radiograph.header)
