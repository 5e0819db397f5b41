"""Small files written where each test needs them, and the shared real data where it is there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CR = "1.2.840.10008.5.1.4.1.1.1"


@pytest.fixture
def shared_data() -> Path:
    """Folder of the shared real data."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("MEDI2I_TEST_DATA", default))
    if not (folder / "xray_dicom").is_dir():
        pytest.skip(f"shared real data is not at {folder}; set MEDI2I_TEST_DATA")
    return folder


@pytest.fixture
def make_dicom(tmp_path: Path) -> Callable[..., Path]:
    """Write a CR object: `make_dicom(pixels, bits=12, photometric="MONOCHROME2", PatientID=...)`."""

    def make(
        pixels: np.ndarray,
        *,
        bits: int | None = None,
        photometric: str = "MONOCHROME2",
        name: str = "image.dcm",
        syntax: str = ExplicitVRLittleEndian,
        private: bool = False,
        **attributes: Any,
    ) -> Path:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = attributes.pop("SOPClassUID", CR)
        dataset.Modality = "CR"
        dataset.PatientID, dataset.PatientName = "token-id", "Token^Name"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.set_pixel_data(pixels, photometric, bits or pixels.dtype.itemsize * 8)
        for keyword, value in attributes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        if private:
            dataset.private_block(0x0009, "VENDOR", create=True).add_new(0x01, "LO", "token-private")
        if syntax != ExplicitVRLittleEndian:
            dataset.file_meta.TransferSyntaxUID = syntax
        path = tmp_path / name
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(path, enforce_file_format=True)
        return path

    return make


@pytest.fixture
def ramp() -> np.ndarray:
    """(6, 8) uint16 codes 0 .. 47: not square, no two pixels alike."""
    return np.arange(48, dtype=np.uint16).reshape(6, 8)
