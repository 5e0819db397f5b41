"""DICOM projection radiographs: the only reader of them in this package.

SimpleITK inverts MONOCHROME1 without a word, and MONAI's PydicomReader transposes the image and loses its
spacing. Here, rows x columns stay; stored values go through modality LUT, VOI (on request) and polarity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medi2i.image import Radiograph, RadiographHeader
from medi2i.io.acquisition import find_view
from medi2i.io.dicom_codec import read_stored_values
from medi2i.io.dicom_file import check_pixel_data_complete, load_dataset, looks_like_dicom, quiet_pydicom
from medi2i.io.dicom_geometry import find_declared_image, find_spacing
from medi2i.io.dicom_kind import check_is_radiograph
from medi2i.io.dicom_values import decode_values
from medi2i.io.dicom_write import write
from medi2i.io.field import find_exposed_field
from medi2i.io.format import DEFAULT_OPTIONS, ReadOptions
from medi2i.io.guard import check_finite, decoding

__all__ = ["accepts", "read", "write"]

_NOT_FRONTAL = {"lateral": "a lateral view, by its header", "oblique": "an oblique view, by its header"}


def accepts(path: Path) -> bool:
    """Whether the file's content is DICOM, with or without a preamble."""
    return looks_like_dicom(path)


def read(path: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Radiograph:
    """Read a single-frame CR, DX, RF, XA, RT image or grey secondary capture.

    Of RF and XA runs the first frame is read. Mammograms, dental images and raw detector images pass with
    a note. `valid` leaves out declared padding and shutters, and what `find_exposed_field` finds.

    Raises:
        UnreadableImageError: the object is of another kind, in colour, damaged, or in an unknown encoding.
        EnvironmentProblemError: pydicom or gdcm can't be imported from this working directory.
    """
    with quiet_pydicom() as warned:
        dataset = load_dataset(path)
        notes = (*check_is_radiograph(path, dataset), *_describe_view(path, dataset))
        check_pixel_data_complete(path, dataset)
        stored, codec_notes = read_stored_values(path, dataset)
        decoded = decode_values(path, dataset, stored, apply_voi=options.apply_voi)
        check_finite(path, decoded.pixels)
        spacing = find_spacing(path, dataset, isocenter=options.isocenter)
        declared, geometry_notes = find_declared_image(path, dataset, stored)
        with decoding(path, "a DICOM header", quote=False):
            patient_id = str(dataset.get("PatientID", "") or "").strip() or None
            modality = "".join(c for c in str(dataset.get("Modality", "") or "") if c.isalnum())[:16] or None
    header = RadiographHeader(
        format="dicom",
        rows=stored.shape[0],
        columns=stored.shape[1],
        spacing_mm=spacing.spacing_mm,
        spacing_origin=spacing.origin,
        bits_stored=int(dataset.BitsStored),
        value_range=decoded.value_range,
        modality=modality,
        notes=(*notes, *codec_notes, *decoded.notes, *spacing.notes, *geometry_notes, *warned),
    )
    # declared padding may be more extreme than a collimator's edge, and hide it
    image = np.where(declared, decoded.pixels, np.median(decoded.pixels[declared]))
    valid = declared & find_exposed_field(image)
    return Radiograph(decoded.pixels, valid if valid.any() else declared, header, patient_id)


def _describe_view(path: Path, dataset: Any) -> tuple[str, ...]:
    """A lateral view among frontal ones teaches a network the wrong anatomy, so it is said."""
    with decoding(path, "a DICOM header", quote=False):
        view = find_view(dataset)
    return (_NOT_FRONTAL[view],) if view in _NOT_FRONTAL else ()
