"""NumPy `.npy` images: (H, W) or (1, H, W), never objects."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from medi2i.image import Radiograph, RadiographHeader
from medi2i.io.atomic import write_bytes_atomically
from medi2i.io.format import DEFAULT_OPTIONS, DEFAULT_WRITING, ReadOptions, WriteOptions, read_start
from medi2i.io.guard import check_file_size, check_matrix, check_same_matrix, decoding, refuse
from medi2i.io.plain import array_to_radiograph, stored_to_dtype


def accepts(path: Path) -> bool:
    """Whether the file starts as `.npy` files do."""
    return read_start(path, 6) == b"\x93NUMPY"


def read(path: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Radiograph:
    """Read a `.npy` image; `options` are without effect, spacing is unknown.

    Raises:
        UnreadableImageError: the file is damaged, holds objects, or is no single grey image.
    """
    stored = _open(path)
    image = stored[0] if stored.ndim == 3 else stored
    check_matrix(path, *image.shape)
    with decoding(path, "array"):
        array = np.array(image)
    return array_to_radiograph(path, array, "npy")


def write(
    path: Path,
    pixels: np.ndarray,
    *,
    header: RadiographHeader,
    template: Path,
    method: str | None = None,
    options: WriteOptions = DEFAULT_WRITING,
) -> None:
    """Write pixels with the template's dtype and number of axes; `method` and `options` have no place in it.

    Raises:
        UsageError: `pixels` don't have the template's matrix or bit depth.
        DiskFullError: there is no room.
    """
    check_same_matrix(path, pixels, header)
    stored = _open(template)
    array = stored_to_dtype(path, pixels, stored.dtype, header).reshape(stored.shape)

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes_atomically(path, buffer.getvalue())


def _open(path: Path) -> np.ndarray:
    check_file_size(path)
    with decoding(path, "array"):
        stored: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    if stored.ndim not in (2, 3) or (stored.ndim == 3 and stored.shape[0] != 1):
        raise refuse(
            path,
            f"an array of shape {stored.shape}",
            expected="(rows, columns) or (1, rows, columns)",
            remedy="save one file for each image",
        )
    return stored
