"""A data set of dark scenes with a bright square and a brighter one inside it, and a segmenter for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from medi2i.io.masks import write_mask_folder
from medi2i.segmentation import SegmenterConfig
from tests.tiny_data import save_png, write_patients

NAMES = ("inner", "outer")
SIDE = 32


def write_squares(folder: Path, *, images: int = 12, names: tuple[str, ...] = NAMES, first: int = 0) -> Path:
    """16-bit PNGs of 32 x 32 pixels with masks, one patient an image."""
    for number in range(first, first + images):
        rng = np.random.default_rng(number)
        top, left = rng.integers(2, 14, size=2)
        masks = np.zeros((2, SIDE, SIDE), dtype=bool)
        masks[1, top : top + 16, left : left + 16] = True
        masks[0, top + 4 : top + 12, left + 4 : left + 12] = True
        scene = 0.1 + 0.3 * masks[1] + 0.4 * masks[0] + 0.05 * rng.random((SIDE, SIDE))
        save_png(folder / "images" / f"scene_{number:02d}.png", scene)
        write_mask_folder(folder / "masks" / f"scene_{number:02d}", masks, names)
    (folder / "dataset.json").write_text(json.dumps({"structures": names}))
    numbers = range(first, first + images)
    write_patients(folder, [(f"scene_{n:02d}.png", f"patient-{n}") for n in numbers])
    return folder


def tiny_config(**changes: Any) -> SegmenterConfig:
    """A U-Net of two levels that learns squares in a few dozen steps."""
    values: dict[str, Any] = {
        "widths": [8, 16],
        "optimizer": {"learning_rate": 0.02, "betas": [0.9, 0.999]},
        "data": {"working_size": 32, "crop_size": 32, "framing": {"zoom": 0.1}},
        "training": {"steps": 6, "batch_size": 4, "average": 0.9, "validate_every": 3, "log_every": 1},
    }
    return SegmenterConfig.model_validate(values | changes)
