"""Reading and writing radiographs: a new format is one file (`accepts`, `read`, `write`) and one entry."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medi2i.errors import UnreadableImageError
from medi2i.image import Radiograph, RadiographHeader
from medi2i.io import dicom, nifti, numpy_array, raster
from medi2i.io.format import DEFAULT_WRITING, ImageFormat, ReadOptions, WriteOptions

__all__ = [
    "FORMATS",
    "ImageFormat",
    "ReadOptions",
    "WriteOptions",
    "find_format",
    "is_document",
    "is_image",
    "output_name",
    "read_radiograph",
    "write_radiograph",
]

FORMATS: tuple[ImageFormat, ...] = (
    # first, because a DICOM preamble may hold another format's first bytes (dual-personality TIFF)
    ImageFormat("dicom", (".dcm", ".dicom"), dicom.accepts, dicom.read, dicom.write),
    ImageFormat("png", (".png",), raster.accepts_png, raster.read, raster.write),
    ImageFormat("tiff", (".tif", ".tiff"), raster.accepts_tiff, raster.read, raster.write),
    ImageFormat(
        "jpeg", (".jpg", ".jpeg"), raster.accepts_jpeg, raster.read, raster.write, output_suffix=".png"
    ),
    ImageFormat("npy", (".npy",), numpy_array.accepts, numpy_array.read, numpy_array.write),
    ImageFormat("nifti", (".nii", ".nii.gz"), nifti.accepts, nifti.read, nifti.write),
)
_TEXT_SUFFIXES = {
    ".txt",
    ".csv",
    ".tsv",
    ".json",
    ".jsonl",
    ".md",
    ".yaml",
    ".yml",
    ".toml",
    ".xml",
    ".html",
    ".log",
}
_NEVER_IMAGES = _TEXT_SUFFIXES | {".pdf", ".py", ".sh", ".zip", ".tar", ".npz", ".safetensors"}


def find_format(path: Path) -> ImageFormat | None:
    """The format of a file: by content, or else by the end of its name; None for neither."""
    for image_format in FORMATS:
        if image_format.accepts(path):
            return image_format
    return _format_by_suffix(path)


def is_image(path: Path) -> bool:
    """Whether a file calls itself an image, by its name or its first bytes; it may still prove unreadable.

    Hidden files, DICOMDIR, folders, and text are none.
    """
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR" or path.suffix.lower() in _NEVER_IMAGES:
        return False
    return path.is_file() and (_format_by_suffix(path) is not None or find_format(path) is not None)


def is_document(path: Path) -> bool:
    """Whether a file calls itself text or a list of files: what lies beside images and is no image."""
    suffix = path.suffix.lower()
    return suffix in _TEXT_SUFFIXES or suffix == ".pdf" or path.name.upper() == "DICOMDIR"


def read_radiograph(path: Path, *, apply_voi: bool = False, isocenter: bool = False) -> Radiograph:
    """Read one projection radiograph: DICOM, 2-D NIfTI, grey PNG, TIFF, JPEG, or `.npy`.

    Args:
        path: the file.
        apply_voi: apply the VOI LUT or window of a DICOM file.
        isocenter: scale the spacing of an RT image to the isocentre.

    Raises:
        UnreadableImageError: the file is missing, damaged, of no known format, or no grey projection image.
        EnvironmentProblemError: a decoder can't be imported from this working directory.
    """
    if not path.is_file():
        raise UnreadableImageError(
            path,
            found="no such file",
            expected="an image file",
            remedy="check the path, and that the disk is there",
        )
    image_format = find_format(path)
    if image_format is None:
        raise UnreadableImageError(
            path,
            found="content of no known image format",
            expected=f"one of {', '.join(known.name for known in FORMATS)}",
            remedy="convert the file, or leave it out",
        )
    return image_format.read(path, ReadOptions(apply_voi=apply_voi, isocenter=isocenter))


def write_radiograph(
    path: Path,
    pixels: np.ndarray,
    *,
    header: RadiographHeader,
    template: Path,
    method: str | None = None,
    options: WriteOptions = DEFAULT_WRITING,
) -> None:
    """Write a result as its input was stored: format, matrix, spacing and bit depth; JPEG becomes PNG.

    Args:
        path: file to write (`output_name` gives the matching name); written atomically.
        pixels: (H, W) what `IntensityMap.to_stored` returns: unsigned codes, or float32, bone bright.
        header: of the radiograph that was read from `template`.
        template: the input file.
        method: name of the translation, for the description of a DICOM object.
        options: compression, origin and identity of what is written.

    Raises:
        UsageError: `pixels` don't have the input's matrix or bit depth.
        DiskFullError: there is no room.
        EnvironmentProblemError: the folder can't be written to.
    """
    image_format = next(known for known in FORMATS if known.name == header.format)
    image_format.write(path, pixels, header=header, template=template, method=method, options=options)


def output_name(path: Path) -> Path:
    """Relative path of the result for the relative path of an input.

    The name stays, but `.dcm` is added to names without a known suffix, which are DICOM's, and JPEG, which
    would lose again, becomes `.png`.
    """
    image_format = _format_by_suffix(path)
    if image_format is None:
        return path.with_name(f"{path.name}.dcm")
    return path if image_format.output_suffix is None else path.with_suffix(image_format.output_suffix)


def _format_by_suffix(path: Path) -> ImageFormat | None:
    name = path.name.lower()
    return next((known for known in FORMATS if name.endswith(known.suffixes)), None)
