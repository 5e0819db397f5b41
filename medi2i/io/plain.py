"""What formats without a medical header share: from an array of some dtype to a `Radiograph`, and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medi2i.errors import UsageError
from medi2i.image import FormatName, Radiograph, RadiographHeader, SpacingMm
from medi2i.io.field import find_exposed_field
from medi2i.io.guard import check_finite, check_matrix, refuse


def array_to_radiograph(
    path: Path,
    array: np.ndarray,
    format_name: FormatName,
    *,
    spacing_mm: SpacingMm | None = None,
    notes: tuple[str, ...] = (),
) -> Radiograph:
    """Describe a decoded array (H, W) by its dtype.

    Signed integers without negative values count as unsigned with one bit less. Spacing, where the format
    states one, is NIfTI's.

    Raises:
        UnreadableImageError: the dtype is none that images have, or pixels are NaN or infinite.
    """
    check_matrix(path, *array.shape)
    bits, value_range = _describe_dtype(path, array)
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, which is refused next
        pixels = array.astype(np.float32)
    check_finite(path, pixels)
    if bits is not None and bits > 24:
        notes = (*notes, f"{bits}-bit integers are kept to 24 bits of precision")
    header = RadiographHeader(
        format=format_name,
        rows=array.shape[0],
        columns=array.shape[1],
        spacing_mm=spacing_mm,
        spacing_origin="unknown" if spacing_mm is None else "NIfTI",
        bits_stored=bits,
        value_range=value_range,
        notes=notes,
    )
    return Radiograph(pixels=pixels, valid=find_exposed_field(pixels), header=header)


def stored_to_dtype(path: Path, pixels: np.ndarray, dtype: np.dtype, header: RadiographHeader) -> np.ndarray:
    """Unsigned codes, or float32, as the dtype the input had; the inverse of `array_to_radiograph`.

    Raises:
        UsageError: `pixels` are no codes of `header.bits_stored` bits.
    """
    if header.bits_stored is None:
        return pixels.astype(dtype if dtype.kind == "f" else np.float32)
    if pixels.dtype.kind != "u" or int(pixels.max()) >= 2**header.bits_stored:
        raise UsageError(
            path,
            found=f"{pixels.dtype} pixels up to {pixels.max()}",
            expected=f"unsigned codes of {header.bits_stored} bits",
            remedy="pass what IntensityMap.to_stored returns for this header",
        )
    smallest = 0 if header.value_range is None else int(header.value_range[0])
    return (pixels.astype(np.int64) + smallest).astype(dtype)


def _describe_dtype(path: Path, array: np.ndarray) -> tuple[int | None, tuple[float, float] | None]:
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "f":
        return None, None
    if kind not in "ui" or size > 4:
        raise refuse(
            path,
            f"pixels of type {array.dtype}",
            expected="8, 16 or 32 bit integers, or floating point",
            remedy="save the image as uint16 or float32",
        )
    bits = 8 * size
    if kind == "u":
        return bits, (0.0, float(2**bits - 1))
    half = float(2 ** (bits - 1))
    return (bits, (-half, half - 1)) if array.min() < 0 else (bits - 1, (0.0, half - 1))
