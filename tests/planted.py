"""A folder of images in which an identity is planted wherever one can stand."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image, PngImagePlugin
from pydicom import config
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

HEADER, NAME, DATE, UID = "TKN7QX", "DOEJOHN", "19010203", "1.2.826.0.99887766"
SHAPE, STRUCTURES = (24, 30), ("heart", "lung")
_TEXT = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
_DATES = {"DA": DATE, "DT": f"{DATE}010203", "AS": "099Y"}
# what makes it a readable radiograph; all else holds the token
_NEEDED = {
    "SpecificCharacterSet",
    "Modality",
    "PhotometricInterpretation",
    "SOPClassUID",
    "ShutterShape",
    "PresentationLUTShape",
}


@contextmanager
def unchecked():
    """Let pydicom write values that break the rules of their type."""
    kept = config.settings.writing_validation_mode
    config.settings.writing_validation_mode = config.IGNORE
    try:
        yield
    finally:
        config.settings.writing_validation_mode = kept


def planted_dataset() -> Dataset:
    """A CR with the token in every text element of the dictionary, at the top and in code sequences."""
    dataset = Dataset()
    for tag, (vr, multiplicity, _name, retired, keyword) in DicomDictionary.items():
        group = tag >> 16
        if retired or not keyword or keyword in _NEEDED or group in (0, 2, 4, 0x7FE0, 0xFFFE, 0xFFFC):
            continue
        if vr in _TEXT:
            several = multiplicity.startswith("2")
            dataset.add_new(tag, vr, [HEADER, HEADER] if several else HEADER)
        elif vr in _DATES:
            dataset.add_new(tag, vr, _DATES[vr])
        elif vr == "UI":
            dataset.add_new(tag, vr, f"{UID}.{tag}")
        elif vr == "SQ" and "LUT" not in keyword:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = HEADER, HEADER, HEADER
            item.private_block(0x0009, HEADER, create=True).add_new(0x01, "LO", HEADER)
            dataset.add_new(tag, vr, [item])
    dataset.private_block(0x0009, HEADER, create=True).add_new(0x01, "LO", HEADER)
    return dataset


def write_planted_dicom(path: Path, **values: object) -> None:
    """The planted CR as a file; some values may be other ones."""
    codes = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint16).reshape(SHAPE)
    with unchecked():
        dataset = planted_dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.1", "CR"
        dataset.set_pixel_data(codes, "MONOCHROME2", 12, generate_instance_uid=False)
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.file_meta.SourceApplicationEntityTitle = HEADER
        dataset.preamble = HEADER.encode().ljust(128, b"\0")
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)


def write_planted_folder(root: Path) -> Path:
    """DICOM, PNG and NIfTI images, a damaged one, masks, valid area, tables: all with the patient's name."""
    images = root / "images" / NAME
    write_planted_dicom(images / f"{NAME}.film.dcm")
    write_planted_dicom(images / f"{NAME}.2019")  # a name without a known suffix
    codes = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint8).reshape(SHAPE)
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", HEADER)
    Image.fromarray(codes).save(images / f"{NAME}.png", pnginfo=text)
    nifti = nibabel.Nifti1Image(codes.T, np.diag([0.3, 0.2, 1, 1]))
    nifti.header["descrip"] = HEADER
    nifti.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", HEADER.encode()))
    nibabel.save(nifti, images / f"{NAME}.nii.gz")
    (images / f"{NAME}_bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + NAME.encode())
    masks = np.zeros((2, *SHAPE), dtype=bool)
    masks[0, 2:9, 3:9] = masks[1, 5:20, 5:22] = True
    for path in images.iterdir():
        folder = root / "masks" / NAME / path.name
        folder.mkdir(parents=True)
        for name, mask in zip(STRUCTURES, masks, strict=True):
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{name}.png", pnginfo=text)
    (root / "valid" / NAME).mkdir(parents=True)
    valid = Image.fromarray(np.full(SHAPE, 255, np.uint8))
    valid.save(root / "valid" / NAME / f"{NAME}.png", pnginfo=text)
    (root / "dataset.json").write_text(json.dumps({"structures": STRUCTURES}))
    rows = [f"{NAME}/{path.name},{HEADER}-{n}" for n, path in enumerate(sorted(images.iterdir()))]
    (root / "patients.csv").write_text("\n".join(["file,patient", *rows]) + "\n")
    return root
