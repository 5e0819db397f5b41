"""Radiographs that were computed and have no input file: 16-bit PNG, NIfTI, or a DICOM object of their own.

The DICOM class is Computed Radiography Image Storage: Digital X-Ray requires statements about anatomy,
detector and acquisition that nobody can make honestly of a computed image (PS3.3 A.26), CR lets what is
unknown be empty (PS3.3 A.2). Same image and same description give the same bytes: identifiers are hashes, and
there is no date.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt16

from medi2i.errors import UsageError
from medi2i.image import RadiographHeader, SpacingMm
from medi2i.io import raster
from medi2i.io.atomic import write_bytes_atomically
from medi2i.io.dicom_conformance import complete_class
from medi2i.io.dicom_encoding import encode_file, set_pixels
from medi2i.io.dicom_file import quiet_pydicom
from medi2i.io.dicom_identity import make_synthetic_patient, new_uid
from medi2i.io.dicom_kind import CR
from medi2i.io.dicom_origin import Making, describe_making, software_version
from medi2i.io.format import Compression

NewFormat = Literal["png", "dicom", "nifti"]
_FEWEST_BITS = 10
# view position (PS3.3 C.8.1.1), and where rows and columns run in the patient (C.7.6.1.1.1)
VIEWS = {
    "PA": ("PA", ["L", "F"]),
    "AP": ("AP", ["L", "F"]),
    "left lateral": ("LL", ["P", "F"]),
    "right lateral": ("RL", ["A", "F"]),
}


@dataclass(frozen=True, slots=True)
class NewDicom:
    """What a DICOM object says of a computed radiograph: of a patient who doesn't exist.

    Attributes:
        patient_key: made-up identity, e.g. a hash; study and series are derived from it.
        series: what sets one series of this patient apart from others, e.g. a hash of the settings.
        number: of the image in its series, from 1.
        view: "PA", "AP", "left lateral" or "right lateral"; None if unknown.
        source_to_detector_mm, source_to_isocenter_mm: along the central ray; None if unknown.
        description: how the image was made, in plain words without identity.
        study: what sets one study of this patient apart from others, e.g. a hash of the data set.
        method: name of the translation that gave the image its look; None for a plain projection.
        weights_sha256: hash of that method's weights.
    """

    patient_key: str
    number: int
    source_to_detector_mm: float | None = None
    source_to_isocenter_mm: float | None = None
    view: str | None = None
    series: str = ""
    description: str = "Digitally reconstructed radiograph"
    study: str = ""
    method: str | None = None
    weights_sha256: str | None = None


def write_new_radiograph(
    path: Path,
    pixels: UInt16[np.ndarray, "H W"],
    *,
    format: NewFormat,
    spacing_mm: SpacingMm | None,
    bits_stored: int = 16,
    dicom: NewDicom | None = None,
    compression: Compression = "none",
) -> None:
    """Write a computed image so that `read_radiograph` gives the same pixels back.

    Args:
        path: file to write, atomically.
        pixels: codes 0 ... 2**bits_stored - 1, bone bright.
        format: `png` holds no spacing; `nifti` has axes (column, row), and is gzipped if `path` ends in
            `.gz`.
        spacing_mm: (row, column) distance of pixel centres on the detector; None if unknown, which NIfTI can
            only say as 1 mm.
        bits_stored: 10 to 16 for DICOM; 16 for the others, which can't say otherwise.
        dicom: what the DICOM object says; needed for that format only.
        compression: lossless, of DICOM pixel data.

    Raises:
        UsageError: pixels are no such codes, or the format can't hold what it is given.
        DiskFullError: there is no room; no file is left.
        EnvironmentProblemError: the folder can't be written to.
    """
    _check_codes(path, pixels, bits_stored, format)
    if format == "png":
        rows, columns = pixels.shape
        header = RadiographHeader("png", rows, columns, bits_stored=16, value_range=(0.0, 65535.0))
        raster.write(path, pixels, header=header, template=path)
    elif format == "nifti":
        write_bytes_atomically(path, _encode_nifti(path, pixels, spacing_mm))
    elif dicom is None:
        raise UsageError(
            path, found="no description", expected="one for a DICOM object", remedy="pass dicom=NewDicom(...)"
        )
    else:
        with quiet_pydicom():
            # in memory first: pydicom hides the operating system's reason of a failed write
            content = encode_file(_build_dicom(path, pixels, spacing_mm, bits_stored, dicom), compression)
        write_bytes_atomically(path, content)


def _check_codes(path: Path, pixels: np.ndarray, bits_stored: int, format_name: NewFormat) -> None:
    fewest = _FEWEST_BITS if format_name == "dicom" else 16
    if not fewest <= bits_stored <= 16:
        raise UsageError(
            path,
            found=f"{bits_stored} bits for {format_name}",
            expected="10 to 16 bits for DICOM, 16 bits for PNG and NIfTI",
            remedy="scale the image to 16 bits, or write DICOM",
        )
    if pixels.ndim != 2 or pixels.dtype != np.uint16 or int(pixels.max(initial=0)) >= 2**bits_stored:
        raise UsageError(
            path,
            found=f"{pixels.dtype} pixels of shape {pixels.shape} up to {pixels.max(initial=0)}",
            expected=f"uint16 codes (H, W) below {2**bits_stored}",
            remedy="round the image to codes of that many bits",
        )


def _encode_nifti(path: Path, pixels: UInt16[np.ndarray, "H W"], spacing_mm: SpacingMm | None) -> bytes:
    import nibabel

    row_mm, column_mm = spacing_mm or (1.0, 1.0)
    image = nibabel.Nifti1Image(np.ascontiguousarray(pixels.T), np.diag([column_mm, row_mm, 1.0, 1.0]))
    image.header.set_xyzt_units("mm")
    content: bytes = image.to_bytes()
    # no time stamp, so that the same image gives the same file
    return gzip.compress(content, 6, mtime=0) if path.name.endswith(".gz") else content


def _build_dicom(
    path: Path,
    pixels: UInt16[np.ndarray, "H W"],
    spacing_mm: SpacingMm | None,
    bits_stored: int,
    about: NewDicom,
) -> Any:
    from pydicom.dataset import Dataset

    if about.view is not None and about.view not in VIEWS:
        raise UsageError(
            path, found=f"view '{about.view}'", expected=f"one of {', '.join(VIEWS)}", remedy="correct it"
        )
    created = Dataset()
    created.SOPClassUID, created.Modality = CR, "CR"
    make_synthetic_patient(created, about.patient_key)
    created.SeriesNumber, created.InstanceNumber = 1, about.number
    created.Manufacturer, created.ManufacturerModelName = "medi2i", "medi2i"
    created.SoftwareVersions = software_version()
    series = "medi2i" if about.method is None else f"medi2i {about.method}"
    making = Making(about.description, series, about.method, about.weights_sha256, projected=True)
    describe_making(created, making)
    created.BurnedInAnnotation, created.LossyImageCompression = "NO", "00"
    if about.view is not None:
        created.ViewPosition, created.PatientOrientation = VIEWS[about.view]
    _set_geometry(created, spacing_mm, about)
    complete_class(created)
    set_pixels(created, pixels, bits_stored)
    _identify(created, pixels, about)
    return created


def _set_geometry(created: Any, spacing_mm: SpacingMm | None, about: NewDicom) -> None:
    """Spacing on the detector, distances, and the magnification that follows from them, as far as known."""
    from pydicom.valuerep import format_number_as_ds

    if spacing_mm is not None:
        created.ImagerPixelSpacing = [format_number_as_ds(float(side)) for side in spacing_mm]
    to_detector, to_isocenter = about.source_to_detector_mm, about.source_to_isocenter_mm
    if to_detector is not None:
        created.DistanceSourceToDetector = format_number_as_ds(float(to_detector))
    if to_isocenter is not None:
        created.DistanceSourceToPatient = format_number_as_ds(float(to_isocenter))
    if to_detector is not None and to_isocenter is not None:
        created.EstimatedRadiographicMagnificationFactor = format_number_as_ds(to_detector / to_isocenter)


def _identify(created: Any, pixels: UInt16[np.ndarray, "H W"], about: NewDicom) -> None:
    """Identifiers that are hashes: of the patient, of the series, and of all that the object holds."""
    held = hashlib.sha256(np.ascontiguousarray(pixels).tobytes())
    spacing = created.get("ImagerPixelSpacing")
    held.update(repr((pixels.shape, about, spacing, created.BitsStored)).encode())
    patient = about.patient_key
    created.StudyInstanceUID = new_uid(None, patient, "study", about.study)
    created.SeriesInstanceUID = new_uid(None, patient, "series", about.study, about.series)
    created.SOPInstanceUID = new_uid(None, patient, "image", held.hexdigest())
