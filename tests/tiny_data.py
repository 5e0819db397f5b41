"""Data set folders of a few small images, and the smallest configuration that trains on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from medi2i.io.masks import write_mask_folder, write_mask_nifti

STRUCTURES = ("heart", "lung")
SOURCE_SHAPE, TARGET_SHAPE = (32, 40), (36, 36)

TINY_CYCLEGAN = """
adapter:
  name: cyclegan
  generator: {width: 4, blocks: 1, residual_output: true}
  discriminator: {width: 4, layers: 1}
  structure_losses: [{name: gradient_correlation, weight: 1.0}]
data: {working_size: 32, crop_size: 32}
training: {steps: 4, validate_every: 2, preview_every: 4, log_every: 2, average: 0.9}
evaluation: {feature_size: 64, floor_repeats: 10, worst: 2}
"""


def make_scene(number: int, shape: tuple[int, int], *, film: bool = False) -> np.ndarray:
    """(H, W) random structures between 0.1 and 0.9, without flat borders; films are brighter and noisier."""
    rng = np.random.default_rng([number, film])
    smooth = gaussian_filter(rng.normal(size=shape), 3)
    scene = smooth / smooth.std() + rng.normal(scale=0.3 if film else 0.1, size=shape)
    scene = (scene - scene.min()) / np.ptp(scene)
    scene = np.sqrt(scene) if film else scene
    return 0.1 + 0.8 * scene


def save_png(path: Path, scene: np.ndarray, bits: int = 16) -> Path:
    """Write an image in [0, 1] as grey PNG of 8 or 16 bit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codes = np.rint(scene * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    Image.fromarray(codes).save(path)
    return path


def load_png(path: Path) -> np.ndarray:
    """(H, W) stored codes."""
    with Image.open(path) as image:
        return np.array(image)


def make_masks(shape: tuple[int, int]) -> np.ndarray:
    """(2, H, W): two rectangles that overlap."""
    masks = np.zeros((2, *shape), dtype=bool)
    masks[0, 4:16, 4:20] = masks[1, 10:24, 12:30] = True
    return masks


def write_source(folder: Path, *, images: int = 12, patients: int = 6, masks: str = "nifti") -> Path:
    """16-bit DRRs with masks (`nifti`, `png` or `none`), a spacing, and two images a patient."""
    for number in range(images):
        save_png(folder / "images" / f"drr_{number:02d}.png", make_scene(number, SOURCE_SHAPE))
        if masks == "nifti":
            file = folder / "masks" / f"drr_{number:02d}.nii.gz"
            write_mask_nifti(file, make_masks(SOURCE_SHAPE), spacing_mm=(2.0, 3.0))
        elif masks == "png":
            write_mask_folder(folder / "masks" / f"drr_{number:02d}", make_masks(SOURCE_SHAPE), STRUCTURES)
    tables = {"structures": STRUCTURES, "spacing_mm": [2.0, 3.0]}
    (folder / "dataset.json").write_text(json.dumps(tables))
    write_patients(folder, [(f"drr_{n:02d}.png", f"source-{n % patients}") for n in range(images)])
    return folder


def write_target(folder: Path, *, images: int = 12) -> Path:
    """8-bit films, one a patient, without spacing."""
    for number in range(images):
        save_png(folder / f"film_{number:02d}.png", make_scene(number, TARGET_SHAPE, film=True), bits=8)
    write_patients(folder, [(f"film_{n:02d}.png", f"target-{n}") for n in range(images)])
    return folder


def write_patients(folder: Path, rows: Sequence[tuple[str, ...]], columns: str = "file,patient") -> Path:
    """`patients.csv` with one row a tuple."""
    path = folder / "patients.csv"
    path.write_text("\n".join([columns, *(",".join(row) for row in rows)]) + "\n")
    return path


def write_tiny_config(path: Path) -> Path:
    """The YAML of a CycleGAN that trains in a second."""
    path.write_text(TINY_CYCLEGAN)
    return path


def save_dicom(
    path: Path, codes: np.ndarray, *, bits: int = 12, inverted: bool = False, **values: object
) -> Path:
    """Write codes as a CR object of (0.2, 0.3) mm; `inverted` stores MONOCHROME1."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.1", "CR"
    dataset.PatientID, dataset.PatientName = "token-7", "Token^Seven"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.ImagerPixelSpacing = [0.2, 0.3]
    stored = (2**bits - 1 - codes) if inverted else codes
    photometric = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.set_pixel_data(stored.astype(np.uint16), photometric, bits)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path
