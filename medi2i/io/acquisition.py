"""How a DICOM radiograph was taken, in a few fixed words and numbers.

Only the attributes named here are looked at, and nothing of the file's own wording is returned: what a header
says is turned into words of a fixed list, or into a number. So no name or identifier can pass.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from medi2i.io.dicom_file import looks_like_dicom, quiet_pydicom, read_texts
from medi2i.io.guard import decoding

EXPOSURE_SCALES = ("exposure_index", "deviation_index", "kvp_mas")

_KEYWORDS = (
    "Modality",
    "Manufacturer",
    "ViewPosition",
    "PatientOrientation",
    "DetectorType",
    "ExposureIndex",
    "DeviationIndex",
    "KVP",
    "Exposure",
    "ExposureInuAs",
)
# PS3.3 C.8.1.3 (CR) and C.8.11.5 (DX): the first words are the standard's, the others are met in files
_VIEWS = {
    "PA": ("PA",),
    "AP": ("AP",),
    "lateral": ("LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT", "ML", "LM"),
    "oblique": ("RLO", "LLO", "RAO", "LAO", "RPO", "LPO", "OBL", "OBLIQUE"),
}
_DETECTORS = {
    "DIRECT": "flat_panel",
    "SCINTILLATOR": "flat_panel",
    "STORAGE": "storage_phosphor",
    "FILM": "film",
}
_MODALITIES = {"CR": "storage_phosphor", "DX": "flat_panel", "RF": "fluoroscopy", "XA": "fluoroscopy"}
# words of the manufacturer's name, as they stand in files, to the name used here
_VENDORS = {
    "siemens": "Siemens",
    "ge": "GE",
    "g e": "GE",
    "general electric": "GE",
    "philips": "Philips",
    "fuji": "Fuji",
    "fujifilm": "Fuji",
    "canon": "Canon",
    "agfa": "Agfa",
    "carestream": "Carestream",
    "kodak": "Carestream",
    "konica": "Konica",
    "konicaminolta": "Konica",
    "samsung": "Samsung",
    "hologic": "Hologic",
}
_NO_VENDOR = {"", "unknown", "none", "anonymous", "anonymized", "anonymised", "removed", "na"}


def read_acquisition(path: Path) -> dict[str, str]:
    """What a radiograph's header says of how it was taken; empty for files that are no DICOM.

    Returns:
        those that are known of `view` (PA, AP, lateral, oblique), `detector` (storage_phosphor, flat_panel,
        fluoroscopy, film), `vendor` (a fixed list, or other), and, as decimal numbers, `exposure_index`
        (0018,1411), `deviation_index` (0018,1413), `kvp_mas` (peak kilovoltage times mAs).

    Raises:
        UnreadableImageError: the header is damaged.
    """
    if not looks_like_dicom(path):
        return {}
    import pydicom

    with quiet_pydicom(), decoding(path, "a DICOM header", quote=False):
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(_KEYWORDS))
        values = {keyword: read_texts(dataset, keyword) for keyword in _KEYWORDS}
    found = {
        "view": _view(values["ViewPosition"], values["PatientOrientation"]),
        "detector": _detector(values["DetectorType"], values["Modality"]),
        "vendor": _vendor(values["Manufacturer"]),
        "exposure_index": _number(values["ExposureIndex"], least=0.0),
        "deviation_index": _number(values["DeviationIndex"]),
        "kvp_mas": _kvp_mas(values),
    }
    return {name: value for name, value in found.items() if value is not None}


def find_view(dataset: Any) -> str | None:
    """`view` of `read_acquisition`, of a data set that is read already."""
    return _view(read_texts(dataset, "ViewPosition"), read_texts(dataset, "PatientOrientation"))


def _view(position: list[str], orientation: list[str]) -> str | None:
    """From ViewPosition; else a row that runs to the front or the back is a lateral view.

    A row that runs to the left or right is frontal, and PA and AP are shown alike, so that says nothing more.
    """
    word = position[0].upper() if position else ""
    for view, words in _VIEWS.items():
        if word in words:
            return view
    sideways = not word and len(orientation) == 2 and orientation[0][:1].upper() in {"A", "P"}
    return "lateral" if sideways and orientation[1][:1].upper() in {"F", "H"} else None


def _detector(kind: list[str], modality: list[str]) -> str | None:
    """From DetectorType, else from the modality; a DX without a type counts as a flat panel."""
    by_kind = _DETECTORS.get(kind[0].upper()) if kind else None
    by_modality = _MODALITIES.get(modality[0].upper()) if modality else None
    return by_modality if by_modality == "fluoroscopy" else by_kind or by_modality


def _vendor(manufacturer: list[str]) -> str | None:
    text = manufacturer[0].lower() if manufacturer else ""
    words = "".join(c if c.isalnum() else " " for c in text).split()
    if not words or words[0] in _NO_VENDOR or "".join(words) in _NO_VENDOR:
        return None
    spaced = f" {' '.join(words)} "
    return next((name for known, name in _VENDORS.items() if f" {known} " in spaced), "other")


def _kvp_mas(values: dict[str, list[str]]) -> str | None:
    """Peak kilovoltage times mAs; small exposures are 0 in whole mAs, so µAs stand in for them."""
    kvp = _number(values["KVP"], least=0.0)
    mas = _number(values["Exposure"], least=0.0)
    if mas is None and (uas := _number(values["ExposureInuAs"], least=0.0)) is not None:
        mas = _decimal(float(uas) / 1000)
    return None if kvp is None or mas is None else _decimal(float(kvp) * float(mas))


def _number(texts: list[str], *, least: float = -math.inf) -> str | None:
    """The first value as a decimal number above `least`, None where it is none."""
    try:
        value = float(texts[0])
    except (IndexError, ValueError):
        return None
    return _decimal(value) if math.isfinite(value) and value > least else None


def _decimal(value: float) -> str:
    return f"{value:.6g}"
