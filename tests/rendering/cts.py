"""Tiny CT patients as files."""

from pathlib import Path

import nibabel
import numpy as np

from medi2i.config import validate_config
from medi2i.rendering import DRRConfig

SETTINGS = {
    "views": 3,
    "geometry": {
        "rows": 24,
        "columns": 32,
        "detector_spacing_mm": [4.0, 4.0],
        "source_to_detector_mm": 1200.0,
        "source_to_isocenter_mm": 1000.0,
    },
    "mask_threshold_mm": 1.0,
}
STRUCTURES = ("lung", "heart")


def make_config(**changes) -> DRRConfig:
    """A rendering of a second or less."""
    return validate_config({**SETTINGS, **changes}, DRRConfig, "test")


def write_patient(folder: Path, *, radius_mm: float = 24.0, structures=STRUCTURES) -> Path:
    """`ct.nii.gz` and `segmentations/` of a ball of water with two structures in it, one on each side."""
    sides = np.array([3.0, 3.0, 3.0])
    affine = np.diag([*sides, 1.0])
    affine[:3, 3] = -sides * 9.5
    x, y, z = np.einsum("ab,bijk->aijk", affine[:3, :3], np.indices((20, 20, 20))) + affine[:3, 3].reshape(
        3, 1, 1, 1
    )
    ball = x**2 + y**2 + z**2 < radius_mm**2
    masks = {"lung": ball & (x > 6), "heart": ball & (x < -6) & (z < 6)}
    hounsfield = np.where(ball, 40, -1000)
    hounsfield[masks["lung"]] = -800
    folder.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(hounsfield.astype(np.int16), affine), folder / "ct.nii.gz")
    (folder / "segmentations").mkdir()
    for name in structures:
        image = nibabel.Nifti1Image(masks[name].astype(np.uint8), affine)
        nibabel.save(image, folder / "segmentations" / f"{name}.nii.gz")
    return folder


def write_patients(folder: Path, count: int = 3) -> Path:
    """A folder of patients of different sizes."""
    for number in range(count):
        write_patient(folder / f"jane-doe-{number}", radius_mm=20.0 + 2 * number)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
