"""`RadiographReader`: this package's readers inside MONAI's `LoadImage`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader

from medi2i.image import Radiograph
from medi2i.io import is_image, read_radiograph


class RadiographReader(ImageReader):
    """Reader for `LoadImaged(keys, reader=RadiographReader(), ensure_channel_first=True)`.

    The array is (H, W) float32, rows x columns, bone bright. Metadata: `affine` (4 x 4, its first two
    diagonal elements the row and column spacing, 1 where unknown), `spacing_mm` (NaN where unknown),
    `spacing_origin`, `valid` (H, W) bool, `format`, `bits_stored` and `value_range` (0 and NaN for floating
    point). Nothing in it identifies a patient. `valid` has the stored matrix: take it out of the metadata
    before images of different sizes are batched.

    Args:
        apply_voi: apply the VOI LUT or window of DICOM files.
        isocenter: scale the spacing of RT images to the isocentre.
    """

    def __init__(self, *, apply_voi: bool = False, isocenter: bool = False) -> None:
        self.apply_voi = apply_voi
        self.isocenter = isocenter

    def verify_suffix(self, filename: Sequence[str | Path] | str | Path) -> bool:
        """Whether all files call themselves images of a format this package reads."""
        return all(is_image(path) for path in _to_paths(filename))

    def read(self, data: Sequence[str | Path] | str | Path, **kwargs: Any) -> list[Path]:
        """Only take note of the files: they are decoded in `get_data`.

        `LoadImage` tries MONAI's own readers after any error here; these transpose and invert radiographs.
        """
        return _to_paths(data)

    def get_data(self, img: list[Path]) -> tuple[np.ndarray, dict[str, Any]]:
        """Decode the file.

        Returns:
            pixels (H, W), and metadata.

        Raises:
            UnreadableImageError: the file is no readable radiograph, or there are several.
        """
        if len(img) != 1:
            raise ValueError(f"{len(img)} files given; a radiograph is one file")
        radiograph = read_radiograph(img[0], apply_voi=self.apply_voi, isocenter=self.isocenter)
        return radiograph.pixels, _describe(radiograph)


def _describe(radiograph: Radiograph) -> dict[str, Any]:
    """Metadata of plain values of fixed types, which batches can be collated from."""
    header = radiograph.header
    row, column = header.spacing_mm or (1.0, 1.0)
    return {
        "affine": np.diag([row, column, 1.0, 1.0]),
        "original_affine": np.diag([row, column, 1.0, 1.0]),
        "spatial_shape": np.array([header.rows, header.columns]),
        "original_channel_dim": "no_channel",
        "spacing_mm": header.spacing_mm or (math.nan, math.nan),
        "spacing_origin": header.spacing_origin,
        "format": header.format,
        "bits_stored": header.bits_stored or 0,
        "value_range": header.value_range or (math.nan, math.nan),
        "valid": radiograph.valid,
    }


def _to_paths(data: Sequence[str | Path] | str | Path) -> list[Path]:
    return [Path(data)] if isinstance(data, str | Path) else [Path(item) for item in data]
