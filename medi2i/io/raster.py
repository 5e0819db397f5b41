"""Grey PNG, TIFF and JPEG images."""

from __future__ import annotations

import io
import struct
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medi2i.image import FormatName, Radiograph, RadiographHeader
from medi2i.io.atomic import write_atomically, write_bytes_atomically
from medi2i.io.format import DEFAULT_OPTIONS, DEFAULT_WRITING, ReadOptions, WriteOptions, read_start
from medi2i.io.guard import check_file_size, check_matrix, check_same_matrix, decoding, refuse
from medi2i.io.plain import array_to_radiograph, stored_to_dtype

if TYPE_CHECKING:
    from PIL.Image import Image

_NAMES: dict[str, FormatName] = {"PNG": "png", "TIFF": "tiff", "JPEG": "jpeg"}
_PHOTOMETRIC, _SAMPLE_FORMAT, _BITS_PER_SAMPLE = 262, 339, 258  # TIFF tags
_ORIENTATION = 274  # EXIF tag


def accepts_png(path: Path) -> bool:
    """Whether the file starts as PNG does."""
    return read_start(path, 8) == b"\x89PNG\r\n\x1a\n"


def accepts_tiff(path: Path) -> bool:
    """Whether the file starts as TIFF or BigTIFF does."""
    return read_start(path, 4) in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


def accepts_jpeg(path: Path) -> bool:
    """Whether the file starts as JPEG does."""
    return read_start(path, 3) == b"\xff\xd8\xff"


def read(path: Path, options: ReadOptions = DEFAULT_OPTIONS) -> Radiograph:
    """Read a grey image of 8, 16 or 32 bit; `options` are without effect, spacing is unknown.

    Colour images whose channels are equal count as grey. A TIFF whose white is zero is inverted.

    Raises:
        UnreadableImageError: the file is damaged, coloured, transparent, one-bit, or holds several images.
    """
    check_file_size(path)
    with decoding(path, "image file"), _open(path) as image:
        _check_single(path, image)
        notes: list[str] = []
        array = _decode(path, image, notes)
        if image.getexif().get(_ORIENTATION, 1) != 1:
            notes.append("the EXIF orientation was not applied; rows and columns are as stored")
        return array_to_radiograph(path, array, _NAMES[str(image.format)], notes=tuple(notes))


def write(
    path: Path,
    pixels: np.ndarray,
    *,
    header: RadiographHeader,
    template: Path,
    method: str | None = None,
    options: WriteOptions = DEFAULT_WRITING,
) -> None:
    """Write PNG (also for JPEG input, which would lose again) or TIFF with the input's bit depth.

    Nothing of the input but its depth gets into the file; `method` and `options` have no place in it.

    Raises:
        UsageError: `pixels` don't have the input's matrix or bit depth.
        DiskFullError: there is no room.
    """
    check_same_matrix(path, pixels, header)
    array = stored_to_dtype(path, pixels, _stored_dtype(header), header)
    kind = "TIFF" if header.format == "tiff" else "PNG"
    if array.dtype in (np.uint8, np.uint16, np.float32):
        write_bytes_atomically(path, _encode(array, kind))
    else:
        write_atomically(path, partial(_save_tiff, array), bytes_needed=array.nbytes)


def _encode(array: np.ndarray, kind: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format=kind)
    return buffer.getvalue()


def _save_tiff(array: np.ndarray, path: Path) -> None:
    import SimpleITK  # Pillow writes no signed 16-bit and no unsigned 32-bit TIFF

    writer = SimpleITK.ImageFileWriter()
    writer.SetImageIO("TIFFImageIO")
    writer.SetFileName(str(path))
    writer.Execute(SimpleITK.GetImageFromArray(array))


def _stored_dtype(header: RadiographHeader) -> np.dtype:
    if header.bits_stored is None:
        return np.dtype(np.float32)
    signed = header.bits_stored in (7, 15, 31) or (
        header.value_range is not None and header.value_range[0] < 0
    )
    size = 1 if header.bits_stored <= 8 else 2 if header.bits_stored <= 16 else 4
    return np.dtype(f"{'i' if signed else 'u'}{size}")


def _open(path: Path) -> Image:
    from PIL import Image

    with warnings.catch_warnings():
        # check_matrix refuses large images by our own limit; metadata oddities don't concern the pixels
        warnings.simplefilter("ignore")
        return Image.open(path, formats=list(_NAMES))


def _check_single(path: Path, image: Image) -> None:
    check_matrix(path, image.height, image.width)
    frames = getattr(image, "n_frames", 1)
    if frames != 1:
        raise refuse(path, f"{frames} images in one file", remedy="save one file for each image")
    if image.mode == "1":
        raise refuse(
            path,
            "one bit a pixel",
            expected="a grey image of at least 8 bits",
            remedy="this looks like a mask: put it into the masks folder",
        )


def _decode(path: Path, image: Image, notes: list[str]) -> np.ndarray:
    if image.format == "PNG" and _is_wide_colour_png(path):
        import SimpleITK  # Pillow cuts 16-bit colour to 8 bits without a word

        wide = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path), imageIO="PNGImageIO"))
        return _to_grey(path, wide, _png_has_alpha(path), notes)
    if image.mode == "P":
        notes.append("palette image read as grey")
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in {"RGB", "RGBA", "LA"}:
        return _to_grey(path, np.asarray(image), image.mode.endswith("A"), notes)
    if image.mode == "L" or image.mode == "F" or image.mode.startswith("I"):
        return _to_stored_type(image, notes)
    raise refuse(path, f"colours ({image.mode})", remedy="convert the image to grey")


def _to_grey(path: Path, channels: np.ndarray, has_alpha: bool, notes: list[str]) -> np.ndarray:
    """(H, W, C) with equal colour channels, and an opaque last one if `has_alpha`, as (H, W)."""
    if has_alpha:
        if (channels[..., -1] != np.iinfo(channels.dtype).max).any():
            raise refuse(path, "transparent pixels", remedy="save the image without an alpha channel")
        channels = channels[..., :-1]
    if (channels != channels[..., :1]).any():
        raise refuse(path, "colours (red, green and blue differ)", remedy="convert the image to grey")
    notes.append("colour image with equal channels read as grey")
    return channels[..., 0]


def _to_stored_type(image: Image, notes: list[str]) -> np.ndarray:
    """Pixels in the type the file declares; Pillow widens or reinterprets some."""
    array = np.asarray(image)
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None:  # PNG and JPEG: Pillow gives "I" only for 16-bit grey PNG of old files
        return array.astype(np.uint16) if array.dtype == np.int32 else array
    bits = int(tags.get(_BITS_PER_SAMPLE, (8,))[0])
    kind = {2: "i", 3: "f"}.get(int(tags.get(_SAMPLE_FORMAT, (1,))[0]), "u")
    if kind != "f" and bits in (8, 16, 32):
        array = array.astype(f"{kind}{bits // 8}", casting="unsafe")
    if tags.get(_PHOTOMETRIC) == 0 and image.mode != "L":  # Pillow itself inverts 8-bit images
        notes.append("white is zero in this TIFF; inverted so that bone is bright")
        largest = array.max() if array.dtype.kind == "f" else np.iinfo(array.dtype).max
        smallest = array.min() if array.dtype.kind in "if" else 0
        array = largest - array + smallest
    return array


def _is_wide_colour_png(path: Path) -> bool:
    depth, colour = _png_depth_and_colour(path)
    return depth == 16 and colour != 0


def _png_has_alpha(path: Path) -> bool:
    return _png_depth_and_colour(path)[1] in (4, 6)


def _png_depth_and_colour(path: Path) -> tuple[int, int]:
    depth, colour = struct.unpack("BB", read_start(path, 26)[24:26])
    return depth, colour
