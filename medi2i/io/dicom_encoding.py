"""Pixels into a DICOM data set, and the data set into a file's bytes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from medi2i.io.dicom_origin import software_version
from medi2i.io.format import Compression


def set_pixels(created: Any, pixels: np.ndarray, bits: int) -> None:
    """Set all that describes pixels: MONOCHROME2, unsigned, `bits` stored, a window that clips nothing."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    smallest, largest = int(pixels.min()), int(pixels.max())
    created.file_meta = FileMetaDataset()
    created.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if bits > 16:
        _set_wide_pixels(created, pixels, bits)
    else:
        created.set_pixel_data(np.ascontiguousarray(pixels), "MONOCHROME2", bits)
    # the narrowest LINEAR window that clips nothing (PS3.3 C.11.2.1.2)
    created.WindowCenter, created.WindowWidth = (smallest + largest + 1) / 2, max(largest - smallest + 1, 2)


def _set_wide_pixels(created: Any, pixels: np.ndarray, bits: int) -> None:
    """What `set_pixel_data` does, for the 32 bits that it doesn't know."""
    from pydicom.uid import generate_uid

    created.SamplesPerPixel, created.PhotometricInterpretation = 1, "MONOCHROME2"
    created.Rows, created.Columns = pixels.shape
    created.BitsAllocated, created.BitsStored, created.HighBit = 32, bits, bits - 1
    created.PixelRepresentation = 0
    created.add_new("PixelData", "OW", np.ascontiguousarray(pixels, dtype="<u4").tobytes())
    created.SOPInstanceUID = generate_uid()


def encode_file(created: Any, compression: Compression = "none") -> bytes:
    """The file's bytes, its pixels compressed without loss on request; those of 32 bits stay as they are."""
    from pydicom.uid import JPEG2000Lossless, RLELossless

    if created.BitsAllocated > 16:  # neither standard compression nor viewers have a place for them
        compression = "none"
    if compression == "jpeg2000":
        created.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    elif compression == "rle":
        created.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    # set_pixel_data made a new SOPInstanceUID; the file's header must carry the same
    created.file_meta.MediaStorageSOPClassUID = created.SOPClassUID
    created.file_meta.MediaStorageSOPInstanceUID = created.SOPInstanceUID
    created.file_meta.ImplementationVersionName = f"MEDI2I {software_version()}"[:16]
    encoded = io.BytesIO()
    created.save_as(encoded, enforce_file_format=True)
    return encoded.getvalue()
