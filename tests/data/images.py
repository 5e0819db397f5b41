"""Small images and settings for the tests of decoding, crops and batches."""

import numpy as np
import torch

from medi2i.data.dataset_folder import discover
from medi2i.data.decoding import decoded_images
from medi2i.data.manifest import inspect_folder
from medi2i.data.settings import DataConfig, FramingConfig
from medi2i.image import IntensityConfig, IntensityMap

FULL = IntensityMap(0.0, 1.0)
STILL = FramingConfig(zoom=0, aspect=0, rotation_deg=0)


def make_config(**values) -> DataConfig:
    defaults = {"working_size": None, "crop_size": 32, "minimum_valid": 0.0}
    return DataConfig.model_validate(defaults | values)


def make_image(pixels: np.ndarray, **planes: np.ndarray) -> dict[str, torch.Tensor]:
    image = torch.as_tensor(pixels, dtype=torch.float32)[None]
    planes = {key: torch.as_tensor(value, dtype=torch.float32) for key, value in planes.items()}
    return {"image": image, "valid": torch.ones_like(image)} | planes


def load_domain(folder, config, **options):
    found = discover(folder)
    rows, _ = inspect_folder(found, "source", IntensityConfig(), salt=b"")
    return decoded_images(rows, found.root, FULL, config, **options)
