"""Checks that every reader makes before and after it decodes, so that no file costs more than it may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from medi2i.errors import Medi2iError, UnreadableImageError, UsageError
from medi2i.image import RadiographHeader

MAX_PIXELS = 80_000_000  # 9,000 x 9,000; the largest stitched spine films have about 40 million
MAX_FILE_BYTES = 1 << 30
RADIOGRAPH = "a single grey projection radiograph"


@contextmanager
def decoding(path: Path, part: str, *, quote: bool = True) -> Iterator[None]:
    """Turn whatever a library raises while it decodes `path` into `UnreadableImageError`.

    Args:
        path: the file.
        part: what is being decoded, e.g. "pixel data".
        quote: repeat the library's own words. False for DICOM headers, whose values may name the patient.

    Raises:
        UnreadableImageError: chained to the library's exception.
    """
    try:
        yield
    except (Medi2iError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # about ten unrelated types; a panic in Rust is not even an Exception
        words = " ".join(str(error).split())[:160] if quote else ""
        reason = f"{type(error).__name__}: {words}" if words else type(error).__name__
        raise UnreadableImageError(
            path,
            found=f"{part} that cannot be decoded ({reason})",
            expected=RADIOGRAPH,
            remedy="export the file again from its source, or leave it out",
        ) from error


def refuse(
    path: Path, found: str, *, expected: str = RADIOGRAPH, remedy: str = "leave it out"
) -> UnreadableImageError:
    """The error for a file that is well-formed and still no input of this package."""
    return UnreadableImageError(path, found=found, expected=expected, remedy=remedy)


def check_file_size(path: Path) -> None:
    """Refuse empty and enormous files before reading them.

    Raises:
        UnreadableImageError: the file is empty, larger than 1 GiB, or cannot be opened.
    """
    with decoding(path, "a file"):
        size = path.stat().st_size
    if size == 0:
        raise refuse(path, "an empty file", remedy="export it again, or leave it out")
    if size > MAX_FILE_BYTES:
        raise refuse(path, f"{size:,} bytes", expected=f"a radiograph of at most {MAX_FILE_BYTES:,} bytes")


def check_matrix(path: Path, rows: int, columns: int) -> None:
    """Refuse a declared matrix that no radiograph has, before memory is taken for it.

    Raises:
        UnreadableImageError: a side is below 2, or there are more than 80 million pixels.
    """
    if rows < 2 or columns < 2 or rows * columns > MAX_PIXELS:
        raise refuse(
            path,
            f"a matrix of {rows} x {columns} (rows x columns)",
            expected=f"at least 2 x 2 and at most {MAX_PIXELS:,} pixels",
            remedy="the header is damaged, or this is no radiograph; leave it out",
        )


def check_finite(path: Path, pixels: np.ndarray) -> None:
    """Refuse NaN and infinity, naming how many there are.

    Raises:
        UnreadableImageError: any pixel is not finite.
    """
    bad = int(pixels.size - np.count_nonzero(np.isfinite(pixels)))
    if bad:
        raise refuse(
            path,
            f"{bad} pixels that are NaN or infinite, of {pixels.size}",
            expected="finite pixels",
            remedy="replace them in the program that made the file",
        )


def check_same_matrix(path: Path, pixels: np.ndarray, header: RadiographHeader) -> None:
    """Refuse to write an image whose matrix is not its template's.

    Raises:
        UsageError: naming both shapes.
    """
    if pixels.shape != (header.rows, header.columns):
        raise UsageError(
            path,
            found=f"pixels of shape {pixels.shape}",
            expected=f"the input's matrix {(header.rows, header.columns)}",
            remedy="resample the result to the input's matrix before writing it",
        )
