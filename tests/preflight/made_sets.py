"""Phantom data sets for the audit: clean ones, and ways to plant one fault each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import zoom

from medi2i.drr.phantom import PhantomConfig, write_phantom_dataset
from medi2i.io.masks import read_mask_nifti, write_mask_nifti

PATIENTS, SIDE = 10, 128
_SMALL = {
    "workers": 1,
    "patient": {"voxel_mm": [8, 6, 8], "field_mm": [400, 308, 416]},
    "geometry": {
        "rows": SIDE,
        "columns": SIDE,
        "detector_spacing_mm": [3, 3],
        "source_to_detector_mm": 1800,
        "source_to_isocenter_mm": 1600,
    },
}


@dataclass(frozen=True)
class Domains:
    """Two data set folders that a test may change."""

    source: Path
    target: Path

    @property
    def films(self) -> list[Path]:
        return sorted((self.target / "images").glob("*.png"))

    @property
    def masks(self) -> list[Path]:
        return sorted((self.source / "masks").glob("*.nii.gz"))


def render_phantoms(folder: Path) -> Path:
    """`frontal/{drr,xray,truth,xray_masks}`, and `lateral/` with one film."""
    frontal = {**_SMALL, "source_patients": PATIENTS, "target_patients": PATIENTS, "target_masks": True}
    write_phantom_dataset(PhantomConfig.model_validate(frontal), folder / "frontal")
    lateral = {**_SMALL, "source_patients": 1, "target_patients": 1, "view": "lateral", "seed": 5}
    write_phantom_dataset(PhantomConfig.model_validate(lateral), folder / "lateral")
    return folder


def copy_domains(phantoms: Path, folder: Path) -> Domains:
    """The clean set: DRRs with masks, and films of other patients."""
    source = Path(shutil.copytree(phantoms / "frontal" / "drr", folder / "drr"))
    return Domains(source, Path(shutil.copytree(phantoms / "frontal" / "xray", folder / "xray")))


def load(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def change(path: Path, how: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write an image anew as what `how` makes of its codes."""
    save(path, how(load(path)))


def invert(pixels: np.ndarray) -> np.ndarray:
    return np.iinfo(pixels.dtype).max - pixels


def to_eight_bit(pixels: np.ndarray) -> np.ndarray:
    return (pixels / pixels.max() * 255).astype(np.uint8)


def copy_otherwise(pixels: np.ndarray) -> np.ndarray:
    """The same picture in another matrix and tone, with a little noise."""
    small = np.clip(zoom(pixels / 65535, 0.9, order=1), 0, 1) ** 0.7
    noise = np.random.default_rng(3).normal(scale=0.004, size=small.shape)
    return (np.clip(small + noise, 0, 1) * 60000).astype(np.uint16)


def collimate(pixels: np.ndarray) -> np.ndarray:
    border = SIDE // 6
    inner = np.zeros_like(pixels)
    inner[border:-border, border:-border] = pixels[border:-border, border:-border]
    return inner


def write_text(pixels: np.ndarray) -> np.ndarray:
    page = Image.new("L", pixels.shape[::-1])
    ImageDraw.Draw(page).text((4, 2), "DOE JOHN 1961", fill=255)
    written = np.array(page) > 100
    return np.where(written, pixels.max(), pixels // 2).astype(pixels.dtype)


def edit_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def crop_mask(path: Path, structures: int) -> None:
    planes = _read(path, structures)
    write_mask_nifti(path, planes[:, :-8], spacing_mm=(3.0, 3.0))


def empty_mask(path: Path, structures: int) -> None:
    write_mask_nifti(path, np.zeros_like(_read(path, structures)), spacing_mm=(3.0, 3.0))


def _read(path: Path, structures: int) -> np.ndarray:
    return read_mask_nifti(path, tuple(f"s{number}" for number in range(structures)))
