import errno
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit

from medi2i.errors import DiskFullError, UsageError
from medi2i.io import dicom_attributes, read_radiograph, write_radiograph

CR = "1.2.840.10008.5.1.4.1.1.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
DX_RAW = "1.2.840.10008.5.1.4.1.1.1.1.1"
SC = "1.2.840.10008.5.1.4.1.1.7"


def coded(value, meaning, scheme="SCT"):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


DX_NEEDS = {
    "ImageLaterality": "U",
    "AnatomicRegionSequence": [coded("816094009", "Chest")],
    "PatientOrientation": ["L", "F"],
    "ImagerPixelSpacing": [0.15, 0.2],
    "BurnedInAnnotation": "NO",
}


def translate(path, codes, method="cyclegan"):
    output = path.with_name("out.dcm")
    write_radiograph(output, codes, header=read_radiograph(path).header, template=path, method=method)
    return output


@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_codes_come_back_as_they_were_written(make_dicom, ramp, bits, photometric):
    dtype = np.uint8 if bits == 8 else np.uint16
    path = make_dicom(
        ramp.astype(dtype),
        bits=bits,
        photometric=photometric,
        RescaleSlope=3,
        RescaleIntercept=-7,
        PixelSpacing=[0.2, 0.3],
    )
    codes = ramp[::-1].astype(dtype)
    again = read_radiograph(translate(path, codes))
    assert np.array_equal(again.pixels, codes)  # bone bright stays bone bright: no second flip
    assert again.header.bits_stored == bits
    assert again.header.value_range == (0, 2**bits - 1)
    assert (again.header.spacing_mm, again.header.spacing_origin) == ((0.2, 0.3), "PixelSpacing")
    assert again.header.notes == ()


def test_the_object_says_what_it_is_and_where_it_comes_from(make_dicom, ramp):
    path = make_dicom(
        ramp, bits=12, photometric="MONOCHROME1", SeriesNumber=4, StudyID="7", BodyPartExamined="CHEST"
    )
    source, derived = dcmread(path), dcmread(translate(path, ramp + 5))
    assert derived.SOPClassUID == CR
    for keyword in (
        "PatientID",
        "PatientName",
        "StudyInstanceUID",
        "StudyID",
        "BodyPartExamined",
        "Modality",
    ):
        assert derived[keyword].value == source[keyword].value
    assert derived.SeriesInstanceUID != source.SeriesInstanceUID
    assert derived.SOPInstanceUID != source.SOPInstanceUID
    assert derived.file_meta.MediaStorageSOPInstanceUID == derived.SOPInstanceUID
    assert derived.SeriesNumber == 1004
    assert list(derived.ImageType) == ["DERIVED", "SECONDARY"]
    assert derived.SyntheticData == "YES"
    assert derived.SeriesDescription == "medi2i cyclegan"
    assert "cyclegan" in derived.DerivationDescription
    reference = derived.SourceImageSequence[0]
    assert (reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID) == (
        CR,
        source.SOPInstanceUID,
    )
    assert derived.ContributingEquipmentSequence[0].Manufacturer == "medi2i"
    assert (derived.PhotometricInterpretation, derived.PresentationLUTShape) == ("MONOCHROME2", "IDENTITY")
    assert (derived.BitsAllocated, derived.BitsStored, derived.HighBit, derived.PixelRepresentation) == (
        16,
        12,
        11,
        0,
    )
    assert (derived.WindowCenter, derived.WindowWidth) == (
        29,
        48,
    )  # codes 5 .. 52: (5 + 52 + 1) / 2, 52 - 5 + 1
    assert derived.file_meta.TransferSyntaxUID.name == "Explicit VR Little Endian"


def test_the_window_spans_the_codes_exactly(make_dicom, ramp):
    shown = read_radiograph(translate(make_dicom(ramp, bits=12), ramp + 5), apply_voi=True).pixels
    assert (shown.min(), shown.max()) == (0, 4095)
    assert shown[0, 1] > 0


def test_what_is_not_on_the_list_does_not_get_in(make_dicom, ramp):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    item.add_new("LUTData", "OW", np.arange(4096, dtype="<u2").tobytes())
    path = make_dicom(
        ramp,
        bits=12,
        private=True,
        RescaleSlope=2,
        RescaleIntercept=1,
        ModalityLUTSequence=[item],
        PixelPaddingValue=0,
        SmallestImagePixelValue=0,
        ShutterShape="CIRCULAR",
        CenterOfCircularShutter=[3, 3],
        RadiusOfCircularShutter=9,
        ExposureInuAs=7,
        ImageComments="token-comment",
        WindowCenterWidthExplanation="token-window",
        OperatorsName="token-operator",
    )
    derived = dcmread(translate(path, ramp))
    text = str(derived)
    for token in ("token-private", "token-comment", "token-window", "token-operator"):
        assert token not in text
    for keyword in (
        "RescaleSlope",
        "ModalityLUTSequence",
        "PixelPaddingValue",
        "ShutterShape",
        "ExposureInuAs",
    ):
        assert keyword not in derived
    assert "SmallestImagePixelValue" not in derived


@pytest.mark.parametrize(
    ("source_class", "modality", "output_class"),
    [
        (CR, "CR", CR),
        (DX, "DX", DX),
        (DX_RAW, "DX", DX),
        ("1.2.840.10008.5.1.4.1.1.12.1", "XA", SC),
        ("1.2.840.10008.5.1.4.1.1.1.2", "MG", SC),
        ("1.2.840.10008.5.1.4.1.1.481.1", "RTIMAGE", SC),
        (SC, "OT", SC),
    ],
)
def test_the_class_stays_where_the_standard_lets_it(make_dicom, ramp, source_class, modality, output_class):
    needed = DX_NEEDS if modality == "DX" else {}
    path = make_dicom(ramp, bits=12, SOPClassUID=source_class, Modality=modality, **needed)
    output = translate(path, ramp)
    derived = dcmread(output)
    assert derived.SOPClassUID == derived.file_meta.MediaStorageSOPClassUID == output_class
    assert derived.SourceImageSequence[0].ReferencedSOPClassUID == source_class
    assert np.array_equal(read_radiograph(output).pixels, ramp)
    if output_class == DX:
        assert derived.PresentationIntentType == "FOR PRESENTATION"
        assert (derived.RescaleSlope, derived.RescaleIntercept) == (1, 0)


def test_an_rt_image_keeps_its_spacing_as_the_imagers(make_dicom, ramp):
    path = make_dicom(
        ramp,
        bits=12,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.481.1",
        Modality="RTIMAGE",
        ImagePlanePixelSpacing=[0.4, 0.5],
    )
    header = read_radiograph(translate(path, ramp)).header
    assert (header.spacing_mm, header.spacing_origin) == ((0.4, 0.5), "ImagerPixelSpacing")


def test_lossy_history_is_carried_over(make_dicom, ramp, shared_data):
    path = make_dicom(ramp, bits=12, LossyImageCompression="01", LossyImageCompressionRatio=12)
    derived = dcmread(translate(path, ramp))
    assert (derived.LossyImageCompression, derived.LossyImageCompressionRatio) == ("01", 12)
    source = next((shared_data / "xray_dicom" / "misc_xray").glob("1.2.276*.dcm"))
    assert dcmread(source, stop_before_pixels=True).file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    radiograph = read_radiograph(source)
    output = path.with_name("lossy.dcm")
    write_radiograph(output, radiograph.pixels.astype(np.uint8), header=radiograph.header, template=source)
    assert dcmread(output).LossyImageCompression == "01"


def test_names_outside_ascii_survive(make_dicom, ramp):
    path = make_dicom(ramp, bits=12, SpecificCharacterSet="ISO_IR 100", PatientName="M\u00fcller^J\u00f6rg")
    assert str(dcmread(translate(path, ramp)).PatientName) == "M\u00fcller^J\u00f6rg"


def test_two_results_of_one_source_have_different_identifiers(make_dicom, ramp):
    path = make_dicom(ramp, bits=12)
    first, second = (dcmread(translate(path, ramp)) for _ in range(2))
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.StudyInstanceUID == second.StudyInstanceUID


@pytest.mark.parametrize("codes", [np.full((6, 8), 4096, np.uint16), np.zeros((6, 8), np.float32)])
def test_what_are_no_codes_of_the_depth_is_refused(make_dicom, ramp, codes):
    path = make_dicom(ramp, bits=12)
    with pytest.raises(UsageError, match="unsigned codes of 12 bits"):
        translate(path, codes)


def test_each_nema_transfer_syntax_round_trips(shared_data, tmp_path):
    folder = shared_data / "xray_dicom" / "nema_wg04"
    for name in ("RG1_J2KI", "RG3_J2KR", "RG2_JLSL", "RG3_JLSN", "XA1_JPLL", "RG3_JPLY"):
        radiograph = read_radiograph(folder / name)
        codes = radiograph.pixels.astype(np.uint16)
        write_radiograph(tmp_path / f"{name}.dcm", codes, header=radiograph.header, template=folder / name)
        again = read_radiograph(tmp_path / f"{name}.dcm")
        assert np.array_equal(again.pixels, radiograph.pixels)
        assert again.header.bits_stored == radiograph.header.bits_stored
        assert again.header.spacing_mm == radiograph.header.spacing_mm


def test_pydicom_knows_every_attribute_on_the_lists():
    from pydicom.datadict import tag_for_keyword

    lists = [value for name, value in vars(dicom_attributes).items() if name.isupper() and name[0] != "_"]
    keywords = [keyword for each in lists if each is not dicom_attributes.UNPAIRED_PARTS for keyword in each]
    assert len(keywords) > 90
    assert all(tag_for_keyword(keyword) for keyword in keywords)


def test_an_impossible_spacing_is_not_passed_on(make_dicom, ramp):
    path = make_dicom(ramp, bits=12, PixelSpacing=[0.0, 0.0], ImagerPixelSpacing=[0.15, 0.15])
    derived = dcmread(translate(path, ramp))
    assert "PixelSpacing" not in derived
    assert list(derived.ImagerPixelSpacing) == [0.15, 0.15]


def test_a_full_disk_is_named_as_such(make_dicom, ramp, monkeypatch):
    path = make_dicom(ramp, bits=12)

    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFullError, match=r"out\.dcm"):
        translate(path, ramp)
    assert not path.with_name("out.dcm").exists()
