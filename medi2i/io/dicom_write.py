"""A translated radiograph as a derived DICOM object, built by allow-list from the object it came from.

It stays in its patient and study, in a new series, and says that it is derived and synthetic. What is not in
the lists of `dicom_attributes` (private tags, dose, overlays, LUTs, padding, shutters) does not get in.
"""

from __future__ import annotations

import copy
import io
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from medi2i.errors import UsageError
from medi2i.image import RadiographHeader
from medi2i.io.atomic import write_bytes_atomically
from medi2i.io.dicom_attributes import EMPTY_IF_ABSENT, KEPT_ACQUISITION, KEPT_DX, KEPT_PATIENT_AND_STUDY
from medi2i.io.dicom_file import load_dataset, quiet_pydicom
from medi2i.io.dicom_geometry import read_spacing
from medi2i.io.dicom_kind import CR, DX_PRESENTATION, DX_PROCESSING, SECONDARY_CAPTURE
from medi2i.io.guard import check_same_matrix, decoding

_LOSSY_SYNTAXES = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}


def write(
    path: Path, pixels: np.ndarray, *, header: RadiographHeader, template: Path, method: str | None = None
) -> None:
    """Write a derived object that keeps nothing of what the template says about grey levels.

    CR stays CR, DX becomes DX for presentation, everything else becomes Secondary Capture. The result is
    MONOCHROME2, unsigned, uncompressed, with `header.bits_stored` bits and a window over its own range.

    Args:
        path: file to write.
        pixels: (H, W) unsigned codes, bone bright (`IntensityMap.to_stored`).
        header: of the radiograph that was read from `template`.
        template: the DICOM file that was translated.
        method: name of the translation for the series and derivation descriptions.

    Raises:
        UsageError: `pixels` don't have the template's matrix or bit depth.
        UnreadableImageError: the template can no longer be read.
        DiskFullError: there is no room.
    """
    check_same_matrix(path, pixels, header)
    bits = header.bits_stored
    if bits is None or pixels.dtype.kind != "u" or int(pixels.max()) >= 2**bits:
        raise UsageError(
            path,
            found=f"{pixels.dtype} pixels up to {pixels.max()}",
            expected=f"unsigned codes of {bits} bits",
            remedy="pass what IntensityMap.to_stored returns for this header",
        )
    with quiet_pydicom():
        source = load_dataset(template)
        with decoding(template, "a DICOM header", quote=False):
            derived = _build(source, method)
            set_pixels(derived, pixels, bits)
        # in memory first: pydicom hides the operating system's reason of a failed write
        write_bytes_atomically(path, encode_file(derived))


def _build(source: Any, method: str | None) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.uid import generate_uid

    derived = Dataset()
    source_class = str(source.get("SOPClassUID", "") or "")
    derived.SOPClassUID = _output_class(source_class)
    is_dx = derived.SOPClassUID == DX_PRESENTATION
    for keyword in (*KEPT_PATIENT_AND_STUDY, *KEPT_ACQUISITION, *(KEPT_DX if is_dx else ())):
        if keyword in source:
            derived[keyword] = copy.deepcopy(source[keyword])
    for keyword in EMPTY_IF_ABSENT:
        if keyword not in derived:
            setattr(derived, keyword, None)
    if not derived.get("StudyInstanceUID"):
        derived.StudyInstanceUID = generate_uid()
    if not derived.get("Modality"):
        derived.Modality = "OT"
    if "ImagePlanePixelSpacing" in source and "ImagerPixelSpacing" not in derived:
        # Secondary capture has no image plane; the imager's spacing is the same plane's
        derived.ImagerPixelSpacing = copy.deepcopy(source.ImagePlanePixelSpacing)
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        if keyword in derived and read_spacing(derived, keyword, []) is None:
            del derived[keyword]  # zeros and the like: the reader doesn't believe them, so nobody else should
    derived.SOPInstanceUID, derived.SeriesInstanceUID = generate_uid(), generate_uid()
    derived.SeriesNumber = min(int(source.get("SeriesNumber") or 0) + 1000, 2**31 - 1)
    _describe_derivation(derived, source, source_class, method)
    complete_class(derived, is_dx)
    derived.remove_private_tags()
    return derived


def _output_class(source_class: str) -> str:
    if source_class == CR:
        return CR
    return DX_PRESENTATION if source_class in (DX_PRESENTATION, DX_PROCESSING) else SECONDARY_CAPTURE


def _describe_derivation(derived: Any, source: Any, source_class: str, method: str | None) -> None:
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes

    name, version, now = method or "translation", software_version(), datetime.now().astimezone()
    derived.ImageType = ["DERIVED", "SECONDARY"]
    derived.SyntheticData = "YES"
    derived.SeriesDescription = f"medi2i {name}"[:64]
    derived.DerivationDescription = f"Appearance translated by medi2i {version}, method {name}"[:1024]
    derived.ContentDate, derived.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    derived.InstanceCreationDate, derived.InstanceCreationTime = derived.ContentDate, derived.ContentTime
    reference = Dataset()
    reference.ReferencedSOPClassUID = source_class or SECONDARY_CAPTURE
    reference.ReferencedSOPInstanceUID = str(source.get("SOPInstanceUID", "") or derived.SOPInstanceUID)
    reference.PurposeOfReferenceCodeSequence = [_code(codes.DCM.SourceImageForImageProcessingOperation)]
    if source.get("SOPInstanceUID"):
        derived.SourceImageSequence = [reference]
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = [_code(codes.DCM.ModifyingEquipment)]
    equipment.Manufacturer, equipment.ManufacturerModelName = "medi2i", "medi2i"
    equipment.SoftwareVersions = version
    equipment.ContributionDescription = "Image appearance translation"
    derived.ContributingEquipmentSequence = [equipment]
    syntax = str(source.file_meta.TransferSyntaxUID)
    if syntax in _LOSSY_SYNTAXES and derived.get("LossyImageCompression") != "01":
        derived.LossyImageCompression, derived.LossyImageCompressionMethod = "01", _LOSSY_SYNTAXES[syntax]


def complete_class(derived: Any, is_dx: bool) -> None:
    """What the object's class requires and the template may lack."""
    derived.PresentationLUTShape = "IDENTITY"
    if derived.SOPClassUID == SECONDARY_CAPTURE:
        derived.ConversionType = "WSD"  # workstation
    elif derived.SOPClassUID == CR:
        for keyword in ("BodyPartExamined", "ViewPosition"):
            if keyword not in derived:
                setattr(derived, keyword, None)
    if is_dx:
        derived.PresentationIntentType = "FOR PRESENTATION"
        derived.RescaleIntercept, derived.RescaleSlope, derived.RescaleType = 0, 1, "US"
        derived.PixelIntensityRelationship = derived.get("PixelIntensityRelationship") or "LOG"
        derived.PixelIntensityRelationshipSign = -1  # bright, high values are where fewer photons arrive


def set_pixels(derived: Any, pixels: np.ndarray, bits: int) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    smallest, largest = int(pixels.min()), int(pixels.max())
    derived.file_meta = FileMetaDataset()
    derived.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    derived.set_pixel_data(np.ascontiguousarray(pixels), "MONOCHROME2", bits)
    # the narrowest LINEAR window that clips nothing (PS3.3 C.11.2.1.2)
    derived.WindowCenter, derived.WindowWidth = (smallest + largest + 1) / 2, max(largest - smallest + 1, 2)


def encode_file(derived: Any) -> bytes:
    """The file's bytes."""
    # set_pixel_data made a new SOPInstanceUID; the file's header must carry the same
    derived.file_meta.MediaStorageSOPClassUID = derived.SOPClassUID
    derived.file_meta.MediaStorageSOPInstanceUID = derived.SOPInstanceUID
    derived.file_meta.ImplementationVersionName = f"MEDI2I {software_version()}"[:16]
    encoded = io.BytesIO()
    derived.save_as(encoded, enforce_file_format=True)
    return encoded.getvalue()


def _code(code: Any) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        code.value,
        code.scheme_designator,
        code.meaning,
    )
    return item


def software_version() -> str:
    try:
        return metadata.version("medi2i")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
