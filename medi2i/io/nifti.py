"""2-D NIfTI images, whose axes are (x = column, y = row) and are transposed to rows x columns."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from medi2i.image import Radiograph, RadiographHeader, SpacingMm
from medi2i.io.atomic import write_bytes_atomically
from medi2i.io.format import DEFAULT_OPTIONS, DEFAULT_WRITING, ReadOptions, WriteOptions, read_start
from medi2i.io.guard import check_file_size, check_matrix, check_same_matrix, decoding, refuse
from medi2i.io.plain import array_to_radiograph, stored_to_dtype

_TO_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
_MAX_OFFSET = 1 << 20


def accepts(path: Path) -> bool:
    """Whether the file starts with a NIfTI-1 or NIfTI-2 header, gzipped or not."""
    try:
        with _open(path) as file:
            start = file.read(348)
    except (OSError, EOFError, zlib.error):
        return False
    return start[344:348] == b"n+1\0" or start[4:8] == b"n+2\0"


def read(path: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Radiograph:
    """Read a 2-D NIfTI image; `options` are without effect.

    Raises:
        UnreadableImageError: the file is damaged, a volume, coloured, or of a type that images don't have.
    """
    image = _load(path)
    with decoding(path, "NIfTI voxels"):
        scaled = (image.dataobj.slope, image.dataobj.inter) != (1.0, 0.0)
        stored = np.asarray(image.dataobj) if scaled else np.asarray(image.dataobj.get_unscaled())
        array = stored.reshape(image.shape[:2]).T
    spacing_mm, notes = _spacing(path, image)
    if scaled:
        notes += ("scaled integers, read and written as floating point",)
    return array_to_radiograph(path, array, "nifti", spacing_mm=spacing_mm, notes=notes)


def write(
    path: Path,
    pixels: np.ndarray,
    *,
    header: RadiographHeader,
    template: Path,
    method: str | None = None,
    options: WriteOptions = DEFAULT_WRITING,
) -> None:
    """Write pixels with the template's affine, header, axes and type; `method` has no place in the format.

    To strip the identity, only affine, units, axes and type are kept: headers and their extensions hold text.

    Raises:
        UsageError: `pixels` don't have the template's matrix or bit depth.
        DiskFullError: there is no room.
    """
    check_same_matrix(path, pixels, header)
    image = _load(template)
    array = stored_to_dtype(path, pixels, np.dtype(image.get_data_dtype()), header)
    nifti_header = _bare_header(image) if options.strips_identity else image.header.copy()
    nifti_header.set_data_dtype(array.dtype)
    nifti_header["cal_min"] = nifti_header["cal_max"] = 0  # the template's display window
    result = type(image)(array.T.reshape(image.shape), image.affine, nifti_header)
    content: bytes = result.to_bytes()
    # no time stamp, so that the same image gives the same file
    write_bytes_atomically(path, gzip.compress(content, 6, mtime=0) if path.name.endswith(".gz") else content)


def _bare_header(image: Any) -> Any:
    """A header that says the template's units and nothing else of it; the affine is the image's own."""
    bare = type(image.header)()
    bare.set_xyzt_units(image.header.get_xyzt_units()[0])
    return bare


def _load(path: Path) -> Any:
    """The image with its voxels in memory; shape and type are checked before they are read."""
    check_file_size(path)
    with decoding(path, "NIfTI header"), _open(path) as file:
        kind = _image_class(file.read(348))
        file.seek(0)
        header = kind.header_class.from_fileobj(file)
        shape, dtype, offset = header.get_data_shape(), header.get_data_dtype(), int(header.get_data_offset())
    _check_layout(path, shape, dtype)
    with decoding(path, "NIfTI voxels"), _open(path) as file:
        if not 0 <= offset <= _MAX_OFFSET:
            raise refuse(path, f"voxels that start at byte {offset}", expected="a header of at most 1 MiB")
        expected = offset + int(np.prod(shape)) * dtype.itemsize
        content = file.read(expected)
        if len(content) < expected:
            raise refuse(
                path,
                f"{len(content):,} bytes",
                expected=f"the {expected:,} that its header declares",
                remedy="the file is cut off; copy it again",
            )
        return kind.from_bytes(content)


def _check_layout(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if len(shape) < 2 or any(side != 1 for side in shape[2:]):
        raise refuse(
            path,
            f"a NIfTI of {' x '.join(map(str, shape))} voxels",
            expected="a 2-D image (columns, rows) or (columns, rows, 1)",
            remedy="give one file for each radiograph; a CT volume has to be rendered first",
        )
    if dtype.kind not in "uif":
        raise refuse(path, f"NIfTI voxels of type {dtype}", expected="grey integers or floating point")
    check_matrix(path, shape[1], shape[0])


def _open(path: Path) -> BinaryIO:
    """The file's content, unzipped if it is zipped, whatever its name says."""
    zipped = read_start(path, 2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path)) if zipped else path.open("rb")


def _image_class(start: bytes) -> Any:
    import nibabel

    return nibabel.Nifti2Image if start[4:8] == b"n+2\0" else nibabel.Nifti1Image


def _spacing(path: Path, image: Any) -> tuple[SpacingMm | None, tuple[str, ...]]:
    """(row, column) spacing in millimetres from the lengths of the affine's columns."""
    from nibabel.affines import voxel_sizes

    with decoding(path, "NIfTI affine"):
        unit = image.header.get_xyzt_units()[0]
        per_column, per_row = (float(size) * _TO_MM.get(unit, 1.0) for size in voxel_sizes(image.affine)[:2])
    if not (np.isfinite([per_row, per_column]).all() and per_row > 0 and per_column > 0):
        return None, (f"NIfTI spacing {per_row} x {per_column} is impossible and was ignored",)
    if per_row == per_column == 1.0:
        return (1.0, 1.0), ("NIfTI spacing is exactly 1 mm, which converters write when they know none",)
    return (per_row, per_column), ()
