"""Which DICOM objects are single grey projection radiographs, and why the others are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medi2i.io.guard import check_matrix, decoding, refuse

CR = "1.2.840.10008.5.1.4.1.1.1"
DX_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
DX_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
RT_IMAGE = "1.2.840.10008.5.1.4.1.1.481.1"

_RAW = "raw detector values (FOR PROCESSING): grey levels differ from a processed radiograph's"
_PROJECTION_CLASSES: dict[str, str | None] = {
    CR: None,
    DX_PRESENTATION: None,
    DX_PROCESSING: _RAW,
    "1.2.840.10008.5.1.4.1.1.1.2": "mammogram: outside this package's tests",
    "1.2.840.10008.5.1.4.1.1.1.2.1": f"mammogram: outside this package's tests; {_RAW}",
    "1.2.840.10008.5.1.4.1.1.1.3": "intra-oral radiograph: outside this package's tests",
    "1.2.840.10008.5.1.4.1.1.1.3.1": f"intra-oral radiograph: outside this package's tests; {_RAW}",
    "1.2.840.10008.5.1.4.1.1.12.1": None,
    "1.2.840.10008.5.1.4.1.1.12.2": None,
    RT_IMAGE: None,
    SECONDARY_CAPTURE: "secondary capture: may be a screenshot or a processed copy",
    "1.2.840.10008.5.1.4.1.1.7.2": "secondary capture: may be a screenshot or a processed copy",
    "1.2.840.10008.5.1.4.1.1.7.3": "secondary capture: may be a screenshot or a processed copy",
}
_PROJECTION_MODALITIES = frozenset(
    {"CR", "DX", "RG", "RF", "XA", "MG", "PX", "IO", "RTIMAGE", "OT", "SC", ""}
)
_CLASSES_OF_FRAMES = ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2")
_NEEDED = ("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation")


def check_is_radiograph(path: Path, dataset: Any) -> list[str]:
    """Refuse every object but single-frame grey projection images, and complete what may be missing.

    Sets BitsStored to BitsAllocated where it is absent.

    Returns:
        notes about what was let through.

    Raises:
        UnreadableImageError: naming the object's kind, or what its pixel description lacks.
    """
    with decoding(path, "a DICOM header", quote=False):
        kind = _name_of_kind(dataset)
        class_uid = str(dataset.get("SOPClassUID", "") or "")
        modality = str(dataset.get("Modality", "") or "").strip().upper()
    notes = [_check_kind(path, class_uid, modality, kind)]
    with decoding(path, "a DICOM header", quote=False):
        missing = [name for name in _NEEDED if dataset.get(name) in (None, "")]
        has_pixels = "PixelData" in dataset
    if not has_pixels or missing:
        raise refuse(
            path,
            f"{kind} without {'PixelData' if not has_pixels else ', '.join(missing)}",
            remedy="leave it out, or export the image itself",
        )
    notes += [_check_grey(path, dataset, kind), _check_frames(path, dataset, class_uid, kind)]
    with decoding(path, "a DICOM header", quote=False):
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        notes += [_describe_burned_in(dataset), _complete_bits(path, dataset)]
    check_matrix(path, rows, columns)
    return [note for note in notes if note]


def _name_of_kind(dataset: Any) -> str:
    """What the object is, in words fit for a message."""
    class_uid = dataset.get("SOPClassUID")
    modality = "".join(c for c in str(dataset.get("Modality", "") or "")[:16] if c.isalnum())
    known = class_uid is not None and class_uid.name != class_uid  # pydicom names the UIDs of the standard
    name = (
        f"a {class_uid.name.removesuffix(' Storage')} object" if known else "a DICOM object of unknown class"
    )
    return f"{name} of modality {modality}" if modality else name


def _check_kind(path: Path, class_uid: str, modality: str, kind: str) -> str | None:
    radiographs = "a projection radiograph (CR, DX, RF, XA, RT image or grey secondary capture)"
    if class_uid in _PROJECTION_CLASSES:
        accepted = modality in _PROJECTION_MODALITIES
    else:  # files without a class still name their modality
        accepted = not class_uid and modality in _PROJECTION_MODALITIES - {"", "OT", "SC"}
    if not accepted:
        raise refuse(path, kind, expected=radiographs)
    if modality == "MG" or modality == "IO" or modality == "PX":
        return _PROJECTION_CLASSES.get(class_uid) or f"modality {modality}: outside this package's tests"
    return _PROJECTION_CLASSES.get(class_uid)


def _check_grey(path: Path, dataset: Any, kind: str) -> str | None:
    with decoding(path, "a DICOM header", quote=False):
        photometric = str(dataset.PhotometricInterpretation).strip().upper()
        samples = int(dataset.get("SamplesPerPixel", 1) or 1)
    if photometric not in {"MONOCHROME1", "MONOCHROME2"} or samples != 1:
        colour = photometric if photometric.replace("_", "").replace(" ", "").isalnum() else "unknown"
        raise refuse(
            path,
            f"{kind} in colour (PhotometricInterpretation {colour[:16]}, {samples} samples a pixel)",
            expected="a grey image (MONOCHROME1 or MONOCHROME2)",
            remedy="export the original grey image",
        )
    return None


def _check_frames(path: Path, dataset: Any, class_uid: str, kind: str) -> str | None:
    with decoding(path, "a DICOM header", quote=False):
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if frames == 1:
        return None
    if frames > 1 and class_uid in _CLASSES_OF_FRAMES:
        return f"the first of {frames} frames was read"
    raise refuse(path, f"{kind} of {frames} frames", remedy="save one object for each frame")


def _complete_bits(path: Path, dataset: Any) -> str | None:
    allocated = int(dataset.BitsAllocated)
    missing = dataset.get("BitsStored") in (None, "")
    if missing:
        dataset.BitsStored = allocated
    stored = int(dataset.BitsStored)
    if allocated not in (8, 16, 32) or not 2 <= stored <= allocated:
        raise refuse(
            path,
            f"BitsAllocated {allocated}, BitsStored {stored}",
            expected="8, 16 or 32 bits allocated, of which 2 or more are stored",
        )
    return "BitsStored is missing; all allocated bits were assumed" if missing else None


def _describe_burned_in(dataset: Any) -> str | None:
    if str(dataset.get("BurnedInAnnotation", "") or "").strip().upper() == "YES":
        return "text is burned into the pixels; it may identify the patient"
    return None
