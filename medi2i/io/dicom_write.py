"""A translated radiograph as a derived DICOM object, built by allow-list from the object it came from.

It stays in its patient and study, in a new series (`dicom_identity` has who leaves them), and says that it is
derived and synthetic. What is not in the lists of `dicom_attributes` (private tags, dose, overlays, LUTs,
padding, shutters, signatures) does not get in.
"""

from __future__ import annotations

import copy
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt

from medi2i.errors import UsageError
from medi2i.image import RadiographHeader
from medi2i.io.atomic import write_bytes_atomically
from medi2i.io.dicom_attributes import NEEDED_BY_DX
from medi2i.io.dicom_conformance import complete_class, mend_values
from medi2i.io.dicom_encoding import encode_file, set_pixels
from medi2i.io.dicom_file import load_dataset, quiet_pydicom
from medi2i.io.dicom_geometry import read_spacing
from medi2i.io.dicom_identity import identify, is_computed, mapped_uid
from medi2i.io.dicom_kind import CR, DX_PRESENTATION, DX_PROCESSING, SECONDARY_CAPTURE
from medi2i.io.dicom_origin import Making, describe_making, refer_to_source, software_version
from medi2i.io.format import DEFAULT_WRITING, WriteOptions
from medi2i.io.guard import check_same_matrix, decoding

_LOSSY_SYNTAXES = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}
_DX_BITS = range(6, 17)


def write(
    path: Path,
    pixels: np.ndarray,
    *,
    header: RadiographHeader,
    template: Path,
    method: str | None = None,
    options: WriteOptions = DEFAULT_WRITING,
) -> None:
    """Write a derived object with the template's matrix and bit depth, see `write_derived_radiograph`.

    Args:
        path: file to write.
        pixels: (H, W) unsigned codes, bone bright (`IntensityMap.to_stored`).
        header: of the radiograph that was read from `template`.
        template: the DICOM file that was translated.
        method: name of the translation for the series and derivation descriptions.
        options: compression, origin and identity.

    Raises:
        UsageError: `pixels` don't have the template's matrix or bit depth.
        UnreadableImageError: the template can no longer be read.
        DiskFullError: there is no room.
    """
    check_same_matrix(path, pixels, header)
    bits = header.bits_stored or 0
    write_derived_radiograph(
        path, pixels, template=template, bits_stored=bits, method=method, options=options
    )


def write_derived_radiograph(
    path: Path,
    pixels: UInt[np.ndarray, "H W"],
    *,
    template: Path,
    bits_stored: int,
    method: str | None = None,
    options: WriteOptions = DEFAULT_WRITING,
) -> None:
    """Write what was made of a DICOM radiograph as a derived object that keeps nothing of its grey levels.

    CR stays CR; DX becomes DX for presentation if it has what that class demands; all else becomes Secondary
    Capture. The result is MONOCHROME2, unsigned, with a window over its own range, and readable by
    `read_radiograph` with the same pixels. It is a new instance of a new series. Patient and study are the
    template's, unless that is a computed image (a DRR), or `options` strip the identity.

    Args:
        path: file to write, atomically.
        pixels: codes 0 ... 2**bits_stored - 1, bone bright, of the template's field of view; with another
            matrix than the template's, the spacing is corrected by it.
        template: the DICOM file that the image was made from.
        bits_stored: bit depth of the codes; the template's, as a rule.
        method: name of the translation, for descriptions.
        options: `weights_sha256`, `compression`, `series`; `patient_key` names the synthetic patient.

    Raises:
        UsageError: `pixels` are no codes of that depth.
        UnreadableImageError: the template can't be read.
        DiskFullError: there is no room.
    """
    if pixels.dtype.kind != "u" or int(pixels.max()) >= 2**bits_stored:
        raise UsageError(
            path,
            found=f"{pixels.dtype} pixels up to {pixels.max()}",
            expected=f"unsigned codes of {bits_stored} bits",
            remedy="pass what IntensityMap.to_stored returns for this header",
        )
    with quiet_pydicom():
        source = load_dataset(template)
        with decoding(template, "a DICOM header", quote=False):
            derived = _build(source, pixels.shape, bits_stored, method, options)
            set_pixels(derived, pixels, bits_stored)
        # in memory first: pydicom hides the operating system's reason of a failed write
        write_bytes_atomically(path, encode_file(derived, options.compression))


def _build(
    source: Any, shape: tuple[int, ...], bits_stored: int, method: str | None, options: WriteOptions
) -> Any:
    from pydicom.dataset import Dataset

    source_class = str(source.get("SOPClassUID", "") or "")
    derived = Dataset()
    is_dx = source_class in (DX_PRESENTATION, DX_PROCESSING) and bits_stored in _DX_BITS
    identify(derived, source, options, is_dx=is_dx)
    _set_spacing(derived, source, shape)
    _describe_lossy_history(derived, source)
    derived.remove_private_tags()
    mend_values(derived)
    if not derived.get("Modality"):
        derived.Modality = "OT"
    derived.SOPClassUID = _output_class(derived, source_class, is_dx)
    _describe(derived, source, source_class, method, options)
    complete_class(derived)
    return derived


def _output_class(derived: Any, source_class: str, is_dx: bool) -> str:
    """CR and DX stay what they are where they may call themselves so."""
    if source_class == CR:
        derived.Modality = "CR"
        return CR
    complete = all(derived.get(keyword) for keyword in NEEDED_BY_DX)
    return DX_PRESENTATION if is_dx and complete and derived.Modality == "DX" else SECONDARY_CAPTURE


def _set_spacing(derived: Any, source: Any, shape: tuple[int, ...]) -> None:
    """Drop impossible spacings, and scale the others to the matrix; both state the same field of view."""
    from pydicom.valuerep import format_number_as_ds

    if "ImagePlanePixelSpacing" in source and "ImagerPixelSpacing" not in derived:
        # Secondary capture has no image plane; the imager's spacing is the same plane's
        derived.ImagerPixelSpacing = copy.deepcopy(source.ImagePlanePixelSpacing)
    scale = int(source.Rows) / shape[0], int(source.Columns) / shape[1]
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        if keyword not in derived:
            continue
        spacing_mm = read_spacing(derived, keyword, [])
        if spacing_mm is None:
            del derived[keyword]  # zeros and the like: the reader doesn't believe them, so nobody else should
        elif scale != (1.0, 1.0):
            corrected = [side * factor for side, factor in zip(spacing_mm, scale, strict=True)]
            setattr(derived, keyword, [format_number_as_ds(side) for side in corrected])


def _describe_lossy_history(derived: Any, source: Any) -> None:
    """What was once lossy stays so; the file's own encoding counts where the header forgets it."""
    method = _LOSSY_SYNTAXES.get(str(source.file_meta.TransferSyntaxUID))
    if method is None:
        return
    derived.LossyImageCompression = "01"
    if not derived.get("LossyImageCompressionMethod"):
        derived.LossyImageCompressionMethod = method
    if not derived.get("LossyImageCompressionRatio"):
        native = int(source.Rows) * int(source.Columns) * int(source.BitsAllocated) / 8
        frames = int(source.get("NumberOfFrames", 1) or 1)
        derived.LossyImageCompressionRatio = f"{native * frames / max(len(source.PixelData), 1):.2f}"


def _describe(
    derived: Any, source: Any, source_class: str, method: str | None, options: WriteOptions
) -> None:
    name, now = method or "translation", datetime.now().astimezone()
    making = Making(
        description=f"Appearance translated by medi2i {software_version()}, method {name}",
        series=f"medi2i {name}",
        method=name,
        weights_sha256=options.weights_sha256,
        projected=is_computed(source),
    )
    describe_making(derived, making)
    derived.ContentDate, derived.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    derived.InstanceCreationDate, derived.InstanceCreationTime = derived.ContentDate, derived.ContentTime
    instance = str(source.get("SOPInstanceUID", "") or "")
    if instance:
        refer_to_source(derived, source_class or SECONDARY_CAPTURE, mapped_uid(instance, options.uid_secret))
