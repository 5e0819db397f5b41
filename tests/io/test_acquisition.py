import numpy as np
import pytest
from tiny_data import save_dicom, save_png

from medi2i.errors import UnreadableImageError
from medi2i.io.acquisition import read_acquisition

_CODES = np.arange(12, dtype=np.uint16).reshape(3, 4)


def read(tmp_path, **values):
    return read_acquisition(save_dicom(tmp_path / "film.dcm", _CODES, **values))


@pytest.mark.parametrize(
    ("position", "orientation", "view"),
    [
        ("PA", ["L", "F"], "PA"),
        ("AP ", ["R", "F"], "AP"),
        ("LL", ["L", "F"], "lateral"),
        ("RLO", None, "oblique"),
        ("", ["A", "F"], "lateral"),
        ("", ["PL", "HF"], "lateral"),
        ("", ["L", "F"], None),  # frontal, but PA and AP are shown alike
        ("", ["A", "L"], None),  # a row to the front and a column to the left: an axial plane
        ("SCHMIDT", ["A", "F"], None),  # a word that is none of the standard's
        (None, None, None),
    ],
)
def test_the_view_is_of_the_position_and_else_of_the_orientation(tmp_path, position, orientation, view):
    values = {"ViewPosition": position, "PatientOrientation": orientation}
    found = read(tmp_path, **{key: value for key, value in values.items() if value is not None})
    assert found.get("view") == view


@pytest.mark.parametrize(
    ("modality", "kind", "detector"),
    [
        ("CR", None, "storage_phosphor"),
        ("DX", None, "flat_panel"),
        ("DX", "STORAGE", "storage_phosphor"),
        ("DX", "DIRECT", "flat_panel"),
        ("DX", "FILM", "film"),
        ("RF", "SCINTILLATOR", "fluoroscopy"),
        ("OT", "SCINTILLATOR", "flat_panel"),
        ("OT", None, None),
    ],
)
def test_the_detector_is_of_its_type_and_else_of_the_modality(tmp_path, modality, kind, detector):
    values = {"DetectorType": kind} if kind else {}
    assert read(tmp_path, Modality=modality, **values).get("detector") == detector


@pytest.mark.parametrize(
    ("manufacturer", "vendor"),
    [
        ("SIEMENS Healthineers", "Siemens"),
        ('"GE Healthcare"', "GE"),
        ("General Electric Co.", "GE"),
        ("G.E. Medical Systems", "GE"),
        ("GENERAL MEDICAL MERATE", "other"),
        ("Philips Medical Systems", "Philips"),
        ("FUJIFILM Corporation", "Fuji"),
        ("Fuji Photo Film Co., Ltd.", "Fuji"),
        ("Eastman Kodak Company", "Carestream"),
        ("KONICA MINOLTA", "Konica"),
        ("Canon Inc.", "Canon"),
        ("Practice of Dr. Jane Doe", "other"),
        ("GEORGE SMITH", "other"),
        ("Anonymized", None),
        ("", None),
    ],
)
def test_vendors_are_words_of_a_fixed_list(tmp_path, manufacturer, vendor):
    assert read(tmp_path, Manufacturer=manufacturer).get("vendor") == vendor


def test_exposures_are_numbers(tmp_path):
    found = read(tmp_path, ExposureIndex="412.5", DeviationIndex="-1.3", KVP="125", Exposure=3)
    assert found["exposure_index"] == "412.5"
    assert found["deviation_index"] == "-1.3"
    assert found["kvp_mas"] == "375"


def test_an_exposure_below_half_a_mas_is_taken_from_its_microampere_seconds(tmp_path):
    assert read(tmp_path, KVP="80", Exposure=0, ExposureInuAs=250)["kvp_mas"] == "20"  # 80 kV x 0.25 mAs
    assert "kvp_mas" not in read(tmp_path, KVP="80", Exposure=0)
    assert "kvp_mas" not in read(tmp_path, KVP="0", Exposure=4)


def test_nothing_that_names_the_patient_is_returned(tmp_path):
    values = {
        "PatientName": "Doe^Jane",
        "PatientID": "secret-1",
        "InstitutionName": "St. Somewhere",
        "Manufacturer": "Doe Jane Imaging",
        "ViewPosition": "DOE",
        "SeriesDescription": "chest Doe",
        "DetectorType": "DOE",
    }
    assert read(tmp_path, **values) == {"detector": "storage_phosphor", "vendor": "other"}


def test_other_files_say_nothing_and_a_damaged_header_is_an_error(tmp_path):
    assert read_acquisition(save_png(tmp_path / "film.png", np.full((4, 4), 0.5))) == {}
    path = tmp_path / "film.dcm"
    path.write_bytes(bytes(128) + b"DICM" + b"\x08\x00\x60\x00ZZ\xff\xff12")  # no such type
    with pytest.raises(UnreadableImageError):
        read_acquisition(path)
