import errno
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from dicom_tools import dump, render, validation_errors
from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless, generate_uid

from medi2i.errors import DiskFullError, UnreadableImageError, UsageError
from medi2i.image import IntensityMap, to_full_scale
from medi2i.io import WriteOptions, dicom_attributes, is_image, read_radiograph, write_radiograph
from medi2i.io.dicom_identity import new_uid
from medi2i.io.dicom_write import write_derived_radiograph
from medi2i.io.new_radiograph import NewDicom, write_new_radiograph

CR = "1.2.840.10008.5.1.4.1.1.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
DX_RAW = "1.2.840.10008.5.1.4.1.1.1.1.1"
SC = "1.2.840.10008.5.1.4.1.1.7"


@contextmanager
def unchecked():
    """Let pydicom write and read values that break the rules, as other people's programs do."""
    kept = config.settings.writing_validation_mode, config.settings.reading_validation_mode
    config.settings.writing_validation_mode = config.settings.reading_validation_mode = config.IGNORE
    try:
        yield
    finally:
        config.settings.writing_validation_mode, config.settings.reading_validation_mode = kept


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


DETAILS = WriteOptions(weights_sha256="ab" * 32)


def derive(path, codes, options=DETAILS, name="out.dcm"):
    output = path.with_name(name)
    bits = dcmread(path).BitsStored
    write_derived_radiograph(
        output, codes, template=path, bits_stored=bits, method="cyclegan", options=options
    )
    return output


def test_the_object_names_its_weights_and_codes_its_derivation(make_dicom, ramp):
    derived = dcmread(derive(make_dicom(ramp, bits=12), ramp))
    equipment = derived.ContributingEquipmentSequence[0]
    assert "ab" * 32 in equipment.ContributionDescription
    assert "ab" * 32 in derived.DerivationDescription
    assert equipment.SoftwareVersions
    assert derived.DerivationCodeSequence[0].CodingSchemeDesignator == "99MEDI2I"
    purpose = derived.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0]
    assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("121322", "DCM")


def test_another_matrix_corrects_every_spacing(make_dicom, ramp):
    path = make_dicom(ramp, bits=12, PixelSpacing=[0.2, 0.3], ImagerPixelSpacing=[0.22, 0.33])
    derived = dcmread(derive(path, ramp[::2, ::2].copy()))
    # 6 x 8 pixels became 3 x 4: the same field of view
    assert list(derived.PixelSpacing) == [0.4, 0.6]
    assert list(derived.ImagerPixelSpacing) == [0.44, 0.66]
    derived = dcmread(derive(path, np.repeat(ramp, 3, axis=1)))
    assert list(derived.PixelSpacing) == [0.2, 0.1]


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize(("compression", "syntax"), [("jpeg2000", JPEG2000Lossless), ("rle", RLELossless)])
def test_lossless_compression_keeps_every_code(make_dicom, bits, compression, syntax):
    codes = (
        np.random.default_rng(1).integers(0, 2**bits, (33, 47)).astype(np.uint8 if bits == 8 else np.uint16)
    )
    output = derive(make_dicom(codes, bits=bits), codes, WriteOptions(compression=compression))
    derived = dcmread(output)
    assert derived.file_meta.TransferSyntaxUID == syntax
    assert derived.file_meta.MediaStorageSOPInstanceUID == derived.SOPInstanceUID
    assert derived.get("LossyImageCompression", "00") == "00"
    assert np.array_equal(read_radiograph(output).pixels, codes)


@pytest.mark.parametrize("compression", ["none", "rle", "jpeg2000"])
def test_32_bits_are_kept_and_never_compressed(make_dicom, tmp_path, ramp, compression):
    wide = ramp.astype(np.uint32) + 2**20
    path = make_dicom(ramp, bits=16)
    options = WriteOptions(compression=compression)
    write_derived_radiograph(tmp_path / "a.dcm", wide, template=path, bits_stored=32, options=options)
    assert np.array_equal(read_radiograph(tmp_path / "a.dcm").pixels, wide)
    assert not dcmread(tmp_path / "a.dcm").file_meta.TransferSyntaxUID.is_compressed


def test_images_of_one_series_come_into_one_new_series_for_each_translation(make_dicom, ramp):
    paths = [make_dicom(ramp, bits=12, name=f"{n}.dcm", SeriesInstanceUID="1.2.3.4") for n in range(2)]
    first, second = (dcmread(derive(path, ramp, WriteOptions(series="a"))) for path in paths)
    other = dcmread(derive(paths[0], ramp, WriteOptions(series="b")))
    assert first.SeriesInstanceUID == second.SeriesInstanceUID not in ("1.2.3.4", other.SeriesInstanceUID)
    assert len({each.SOPInstanceUID for each in (first, second, other)}) == 3


@pytest.mark.parametrize(
    ("keyword", "value", "mended"),
    [
        ("AcquisitionDate", "1993.02.24", "19930224"),
        ("AcquisitionTime", "17:58:00", "175800"),
        ("PatientAge", "62", None),
        ("PatientAge", "062Y", "062Y"),
        ("PatientSex", "X", ""),
        ("BurnedInAnnotation", "no", "NO"),
        ("BurnedInAnnotation", "PERHAPS", None),
        ("BodyPartExamined", "chest", "CHEST"),
        ("DistanceSourceToDetector", 1800.1234567890123, 1800.12345678901),
        ("PatientID", "x" * 70, "x" * 70),  # an archive finds the patient by it
    ],
)
def test_values_that_break_the_rules_are_mended_or_left_out(make_dicom, ramp, keyword, value, mended):
    with unchecked():
        path = make_dicom(ramp, bits=12, **{keyword: value})
        derived = dcmread(derive(path, ramp))
        assert derived.get(keyword) == mended


def test_empty_items_are_not_carried_over(make_dicom, ramp):
    view = coded("399348003", "antero-posterior")
    view.ViewModifierCodeSequence = []
    path = make_dicom(ramp, bits=12, ViewCodeSequence=[view], AnatomicRegionSequence=[])
    derived = dcmread(derive(path, ramp))
    assert "ViewModifierCodeSequence" not in derived.ViewCodeSequence[0]
    assert "AnatomicRegionSequence" not in derived


@pytest.mark.parametrize(
    ("part", "side", "kept"),
    [("CHEST", "L", "absent"), ("HAND", "L", "L"), ("HAND", None, None), (None, None, None)],
)
def test_what_there_is_one_of_has_no_side(make_dicom, ramp, part, side, kept):
    about = {name: value for name, value in (("BodyPartExamined", part), ("Laterality", side)) if value}
    derived = dcmread(derive(make_dicom(ramp, bits=12, **about), ramp))
    assert (derived.Laterality or None if "Laterality" in derived else "absent") == kept


def test_a_lossy_file_whose_header_forgot_it_says_so_with_its_ratio(shared_data, tmp_path):
    source = shared_data / "xray_dicom" / "nema_wg04" / "RG3_JPLY"
    radiograph = read_radiograph(source)
    codes = radiograph.pixels.astype(np.uint16)
    write_radiograph(tmp_path / "a.dcm", codes, header=radiograph.header, template=source)
    derived, before = dcmread(tmp_path / "a.dcm"), dcmread(source)
    assert (derived.LossyImageCompression, derived.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    if not before.get("LossyImageCompressionRatio"):
        native = before.Rows * before.Columns * before.BitsAllocated / 8
        assert float(derived.LossyImageCompressionRatio) == pytest.approx(
            native / len(before.PixelData), abs=0.01
        )


DRR = {"ImageType": ["DERIVED", "SECONDARY", "DRR"], "StudyInstanceUID": "1.2.3.5", "StudyDate": "19010203"}


def test_what_comes_from_a_drr_leaves_patient_and_study(make_dicom, ramp):
    path = make_dicom(ramp, bits=12, OperatorsName="token-operator", StudyDescription="token-study", **DRR)
    output = derive(path, ramp, WriteOptions(patient_key="c0ffee"))
    derived = dcmread(output)
    assert (derived.PatientID, str(derived.PatientName)) == ("c0ffee", "Synthetic^c0ffee")
    assert derived.StudyInstanceUID != "1.2.3.5"
    assert not derived.StudyDate
    for token in (b"token", b"Token", b"19010203"):
        assert token not in output.read_bytes()
    # images of one study stay in one study
    assert derived.StudyInstanceUID == dcmread(derive(path, ramp, DETAILS)).StudyInstanceUID
    # nobody gave a key: a patient of its own, never the real one
    assert dcmread(derive(path, ramp)).PatientID not in {"token-id", dcmread(derive(path, ramp)).PatientID}


def test_a_drr_of_medi2i_keeps_its_made_up_patient(tmp_path, ramp):
    about = NewDicom("beef", 1, view="PA")
    path = tmp_path / "drr.dcm"
    write_new_radiograph(path, ramp, format="dicom", spacing_mm=(0.5, 0.5), bits_stored=12, dicom=about)
    before, derived = dcmread(path), dcmread(derive(path, ramp, WriteOptions(patient_key="c0ffee")))
    assert derived.PatientID == before.PatientID == "beef"
    assert derived.StudyInstanceUID != before.StudyInstanceUID
    codes = [item.CodeValue for item in derived.DerivationCodeSequence]
    assert codes == ["113074", "TRANSLATED"]  # volume rendering, then the translation
    again = dcmread(derive(tmp_path / "out.dcm", ramp, DETAILS, "again.dcm"))
    assert (again.PatientID, again.StudyInstanceUID) == ("beef", derived.StudyInstanceUID)


def test_a_stripped_object_keeps_numbers_and_known_words_only(make_dicom, ramp):
    region = coded("51185008", "token-meaning")
    path = make_dicom(
        ramp,
        bits=12,
        private=True,
        BodyPartExamined="CHEST",
        ViewPosition="TOKEN",
        ViewCodeSequence=[coded("R-10206", "token-view", "SRT"), coded("token", "token", "99TOKEN")],
        AnatomicRegionSequence=[region],
        ImagerPixelSpacing=[0.15, 0.2],
        Manufacturer="token-maker",
        SOPInstanceUID="1.2.3.99887766",
        StudyInstanceUID="1.2.3.99887766.1",
        SeriesInstanceUID="1.2.3.99887766.2",
    )
    options = WriteOptions(uid_secret=b"secret", patient_key="c0ffee", series="a")
    output = derive(path, ramp, options)
    derived = dcmread(output)
    assert (derived.PatientID, derived.BodyPartExamined) == ("c0ffee", "CHEST")
    assert list(derived.ImagerPixelSpacing) == [0.15, 0.2]
    assert [item.CodeMeaning for item in derived.ViewCodeSequence] == ["antero-posterior"]
    assert derived.AnatomicRegionSequence[0].CodeMeaning == "Thorax"
    assert not derived.ViewPosition
    assert "PatientIdentityRemoved" not in derived  # that would speak for the pixels, too
    for token in (b"token", b"Token", b"TOKEN", b"99887766"):
        assert token not in output.read_bytes()
    again = dcmread(derive(path, ramp, options))
    assert again.StudyInstanceUID == derived.StudyInstanceUID
    assert again.SeriesInstanceUID == derived.SeriesInstanceUID
    reference = [each.SourceImageSequence[0].ReferencedSOPInstanceUID for each in (derived, again)]
    assert reference[0] == reference[1]
    other = dcmread(derive(path, ramp, WriteOptions(uid_secret=b"other", patient_key="c0ffee")))
    assert other.StudyInstanceUID != derived.StudyInstanceUID


def test_identifiers_are_unique_and_valid_over_100_000():
    drawn = {generate_uid() for _ in range(100_000)}
    keyed = {new_uid(b"secret", "uid", str(number)) for number in range(20_000)}
    plain = {new_uid(None, "uid", str(number)) for number in range(20_000)}
    assert len(drawn | keyed | plain) == 140_000
    assert all(UID(uid).is_valid for uid in list(keyed)[:1000] + list(plain)[:1000])


@pytest.mark.parametrize("kind", ["CR", "DX", "RG", "OT"])
@pytest.mark.parametrize("options", [DETAILS, WriteOptions(uid_secret=b"s", patient_key="a", series="b")])
def test_the_validator_finds_no_error(make_dicom, kind, options):
    codes = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    classes = {"CR": CR, "DX": DX, "RG": SC, "OT": SC}
    path = make_dicom(codes, bits=12, SOPClassUID=classes[kind], Modality=kind, **DX_NEEDS)
    output = derive(path, codes, options)
    assert dcmread(output).SOPClassUID == classes[kind]
    assert validation_errors(output) == []


def test_every_real_radiograph_that_can_be_read_is_written_and_valid(shared_data, tmp_path):
    written = 0
    for path in sorted((shared_data / "xray_dicom").rglob("*")):
        if not path.is_file() or not is_image(path):
            continue
        try:
            radiograph = read_radiograph(path)
        except UnreadableImageError:
            continue
        header = radiograph.header
        full_scale = 2 * to_full_scale(radiograph.pixels, header) - 1
        codes = IntensityMap(0.0, 1.0).to_stored(full_scale, header)
        output = tmp_path / f"{path.name}.dcm"
        write_radiograph(output, codes, header=header, template=path, options=DETAILS)
        assert np.array_equal(read_radiograph(output).pixels, codes), path.name
        assert read_radiograph(output).header.spacing_mm == header.spacing_mm
        written += 1
    assert written == 21
    for output in sorted(tmp_path.glob("*.dcm")):  # last: it skips where the validator is absent
        assert validation_errors(output) == [], output.name


@pytest.mark.parametrize("compression", ["none", "jpeg2000", "rle"])
def test_dcmtk_opens_and_draws_it(make_dicom, tmp_path, compression):
    codes = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    output = derive(make_dicom(codes, bits=12), codes, WriteOptions(compression=compression))
    assert "(0008,001c) CS [YES]" in dump(output)
    if compression == "jpeg2000":  # dcmtk has no decoder of it
        return
    picture = render(output, tmp_path / "a.pgm").astype(int)
    assert (picture[0, 0], picture[-1, -1]) == (0, 255)
    assert (np.diff(picture.ravel()) >= 0).all()  # bone bright, window over all codes
