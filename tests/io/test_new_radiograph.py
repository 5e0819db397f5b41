import errno
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_tools import validation_errors
from pydicom import dcmread

from medi2i.errors import DiskFullError, UsageError
from medi2i.io import read_radiograph
from medi2i.io.new_radiograph import NewDicom, write_new_radiograph

ABOUT = NewDicom(
    patient_key="0123456789ab",
    number=3,
    source_to_detector_mm=1800.0,
    source_to_isocenter_mm=1500.0,
    view="PA",
    series="settings",
)
NAMES = {"png": "image.png", "nifti": "image.nii.gz", "dicom": "image.dcm"}


@pytest.fixture
def codes() -> np.ndarray:
    """(7, 5) codes over all 16 bits: not square, no two alike."""
    return np.linspace(0, 65535, 35).round().astype(np.uint16).reshape(7, 5)


@pytest.mark.parametrize("kind", ["png", "nifti", "dicom"])
def test_pixels_and_spacing_come_back(tmp_path, codes, kind):
    path = tmp_path / "new" / NAMES[kind]
    spacing = (0.85, 1 / 3)
    write_new_radiograph(path, codes, format=kind, spacing_mm=spacing, dicom=ABOUT)
    again = read_radiograph(path)
    assert np.array_equal(again.pixels, codes.astype(np.float32))
    assert (again.header.format, again.header.bits_stored) == (kind, 16)
    assert again.header.value_range == (0, 65535)
    if kind == "png":
        assert again.header.spacing_mm is None
    else:
        assert again.header.spacing_mm == pytest.approx(spacing, rel=1e-6)
    assert [entry.name for entry in path.parent.iterdir()] == [NAMES[kind]]


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_dicom_keeps_its_bit_depth(tmp_path, codes, bits):
    few = (codes >> (16 - bits)).astype(np.uint16)
    write_new_radiograph(
        tmp_path / "a.dcm", few, format="dicom", spacing_mm=(1, 2), bits_stored=bits, dicom=ABOUT
    )
    again = read_radiograph(tmp_path / "a.dcm")
    assert np.array_equal(again.pixels, few)
    assert again.header.bits_stored == bits
    assert again.header.spacing_origin == "ImagerPixelSpacing"


def test_the_object_says_how_it_was_made_and_of_whom_it_is_not(tmp_path, codes):
    write_new_radiograph(tmp_path / "a.dcm", codes, format="dicom", spacing_mm=(0.2, 0.3), dicom=ABOUT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        created = dcmread(tmp_path / "a.dcm")
        created.walk(lambda _dataset, element: element.value)
    assert created.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1"
    assert created.file_meta.MediaStorageSOPInstanceUID == created.SOPInstanceUID
    assert (created.SyntheticData, list(created.ImageType)) == ("YES", ["DERIVED", "SECONDARY"])
    assert (created.PatientID, created.PatientIdentityRemoved) == ("0123456789ab", "YES")
    assert (created.BurnedInAnnotation, created.PhotometricInterpretation) == ("NO", "MONOCHROME2")
    assert [float(side) for side in created.ImagerPixelSpacing] == [0.2, 0.3]
    assert "PixelSpacing" not in created
    assert float(created.EstimatedRadiographicMagnificationFactor) == 1.2
    assert (created.DistanceSourceToDetector, created.DistanceSourceToPatient) == (1800, 1500)
    assert (created.ViewPosition, list(created.PatientOrientation)) == ("PA", ["L", "F"])
    assert created.DerivationDescription == ABOUT.description
    for keyword in ("StudyDate", "StudyTime", "PatientBirthDate", "PatientSex", "AccessionNumber"):
        assert created[keyword].value in (None, "")
    assert not [element for element in created if element.VR in ("DA", "TM", "DT") and element.value]


@pytest.mark.parametrize(
    ("view", "position", "orientation"),
    [
        ("AP", "AP", ["L", "F"]),
        ("left lateral", "LL", ["P", "F"]),  # the patient faces the image's left, so rows run backwards
        ("right lateral", "RL", ["A", "F"]),
    ],
)
def test_the_view_is_told_in_dicom_terms(tmp_path, codes, view, position, orientation):
    about = replace(ABOUT, view=view)
    write_new_radiograph(tmp_path / "a.dcm", codes, format="dicom", spacing_mm=(1, 1), dicom=about)
    created = dcmread(tmp_path / "a.dcm")
    assert (created.ViewPosition, list(created.PatientOrientation)) == (position, orientation)


@pytest.mark.parametrize("kind", ["png", "nifti", "dicom"])
def test_the_same_image_gives_the_same_bytes(tmp_path, codes, kind):
    for folder in ("one", "two"):
        write_new_radiograph(
            tmp_path / folder / NAMES[kind], codes, format=kind, spacing_mm=(1.5, 2), dicom=ABOUT
        )
    assert (tmp_path / "one" / NAMES[kind]).read_bytes() == (tmp_path / "two" / NAMES[kind]).read_bytes()


def test_images_of_a_patient_share_study_and_series_only(tmp_path, codes):
    abouts = [
        ABOUT,
        replace(ABOUT, number=4),
        replace(ABOUT, series="other"),
        replace(ABOUT, patient_key="b"),
    ]
    created = []
    for number, about in enumerate(abouts):
        path = tmp_path / f"{number}.dcm"
        write_new_radiograph(path, codes, format="dicom", spacing_mm=(1, 1), dicom=about)
        created.append(dcmread(path))
    first, second, other_series, other_patient = created
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != other_series.SeriesInstanceUID
    assert first.StudyInstanceUID == other_series.StudyInstanceUID != other_patient.StudyInstanceUID
    assert len({each.SOPInstanceUID for each in created}) == 4


@pytest.mark.parametrize(
    ("kind", "bits", "change", "words"),
    [
        ("png", 12, 4, "12 bits for png"),
        ("dicom", 9, 8, "9 bits for dicom"),
        ("dicom", 12, 0, "up to 65535"),
        ("nifti", 16, None, "float64 pixels"),
    ],
)
def test_pixels_that_the_file_could_not_hold_are_refused(tmp_path, codes, kind, bits, change, words):
    pixels = codes / 2 if change is None else (codes >> change).astype(np.uint16)
    with pytest.raises(UsageError, match=words):
        write_new_radiograph(
            tmp_path / "a", pixels, format=kind, spacing_mm=(1, 1), bits_stored=bits, dicom=ABOUT
        )
    assert list(tmp_path.iterdir()) == []


def test_a_dicom_object_needs_a_description_and_a_known_view(tmp_path, codes):
    with pytest.raises(UsageError, match="no description"):
        write_new_radiograph(tmp_path / "a.dcm", codes, format="dicom", spacing_mm=(1, 1))
    with pytest.raises(UsageError, match="view 'oblique'"):
        about = replace(ABOUT, view="oblique")
        write_new_radiograph(tmp_path / "a.dcm", codes, format="dicom", spacing_mm=(1, 1), dicom=about)


@pytest.mark.parametrize("kind", ["png", "nifti", "dicom"])
def test_a_full_disk_leaves_no_file(tmp_path, codes, kind, monkeypatch):
    def write_bytes(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(DiskFullError, match="make room"):
        write_new_radiograph(tmp_path / NAMES[kind], codes, format=kind, spacing_mm=(1, 1), dicom=ABOUT)
    assert list(tmp_path.iterdir()) == []


def test_a_translated_image_of_a_synthetic_patient_says_so(tmp_path, codes):
    about = NewDicom(
        "beef", 1, method="munit", weights_sha256="ab" * 32, study="set", description="A mixture"
    )
    path = tmp_path / "a.dcm"
    write_new_radiograph(path, codes, format="dicom", spacing_mm=None, dicom=about, compression="rle")
    created = dcmread(path)
    assert np.array_equal(read_radiograph(path).pixels, codes)
    assert created.file_meta.TransferSyntaxUID.name == "RLE Lossless"
    assert created.SeriesDescription == "medi2i munit"
    assert created.DerivationDescription == f"A mixture, weights sha256 {'ab' * 32}"
    assert [item.CodeValue for item in created.DerivationCodeSequence] == ["113074", "TRANSLATED"]
    assert "ab" * 32 in created.ContributingEquipmentSequence[0].ContributionDescription
    assert "ImagerPixelSpacing" not in created
    write_new_radiograph(
        tmp_path / "b.dcm", codes, format="dicom", spacing_mm=None, dicom=replace(about, study="other")
    )
    assert dcmread(tmp_path / "b.dcm").StudyInstanceUID != created.StudyInstanceUID


def test_the_validator_finds_no_error(tmp_path, codes):
    for number, about in enumerate((ABOUT, NewDicom("beef", 1, method="munit"))):
        path = tmp_path / f"{number}.dcm"
        write_new_radiograph(path, codes, format="dicom", spacing_mm=(0.2, 0.3), dicom=about)
        assert validation_errors(path) == []
