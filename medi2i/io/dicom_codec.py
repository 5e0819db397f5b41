"""Raw stored values of DICOM pixel data, and what must be checked before a decoder sees them."""

from __future__ import annotations

import importlib.util
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medi2i.errors import EnvironmentProblemError
from medi2i.io.guard import decoding, refuse

_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
# what libjpeg inside gdcm prints before it tries 12 bits
_HARMLESS = frozenset(
    {"Unsupported JPEG data precision 12", "Invalid SOS parameters for sequential JPEG", ""}
)


@dataclass(frozen=True, slots=True)
class Codestream:
    """What a compressed frame says about itself."""

    rows: int
    columns: int
    precision: int


def check_gdcm_can_be_imported() -> None:
    """Refuse a Python path on which gdcm, which pydicom imports, would import a stranger's module `dl`.

    Raises:
        EnvironmentProblemError: a file or folder named `dl` or `DLFCN` can be imported.
    """
    if "gdcm" in sys.modules:
        return
    for name in ("dl", "DLFCN"):
        spec = importlib.util.find_spec(name)
        if spec is None:
            continue
        place = spec.origin or next(iter(spec.submodule_search_locations or []), name)
        raise EnvironmentProblemError(
            place,
            found=f"a Python module or folder named '{name}'",
            expected="none of that name in the working directory or on PYTHONPATH: gdcm would import it",
            remedy="rename it, or run the command from another folder",
        )


def read_stored_values(path: Path, dataset: Any) -> tuple[np.ndarray, list[str]]:
    """Stored values of the first frame, before any LUT.

    Args:
        path: the file, for messages.
        dataset: its pydicom data set, already known to be grey and of plausible size.

    Returns:
        (Rows, Columns) integers within the stored bits, and notes.

    Raises:
        UnreadableImageError: the pixel data is cut off, contradicts the header, or can't be decoded.
    """
    from pydicom.pixels import pixel_array

    shape = (int(dataset.Rows), int(dataset.Columns))
    notes: list[str] = []
    with decoding(path, "pixel data"):
        compressed = bool(dataset.file_meta.TransferSyntaxUID.is_compressed) and not _is_deflated(dataset)
    if compressed:
        stored = _decode_compressed(path, dataset, shape, notes)
    else:
        _check_native(path, dataset, shape)
        with decoding(path, "pixel data"):
            stored = pixel_array(dataset, index=0)
    if stored.shape != shape:
        raise refuse(path, f"decoded pixels of shape {stored.shape}", expected=f"{shape} (Rows, Columns)")
    smallest, largest = stored_range(dataset)
    return np.clip(stored, smallest, largest), notes  # lossy codecs overshoot the stored bits


def stored_range(dataset: Any) -> tuple[int, int]:
    """Smallest and largest value that BitsStored and PixelRepresentation can express."""
    bits = int(dataset.BitsStored)
    if int(dataset.get("PixelRepresentation", 0) or 0) == 1:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def parse_codestream(frame: bytes) -> Codestream | None:
    """Matrix and precision from the header of a JPEG, JPEG-LS or JPEG 2000 frame; None for anything else.

    Sources: ITU-T T.81 B.2.2 (SOF), T.87 C.2.2 (SOF55), T.800 A.5.1 (SIZ).
    """
    if frame[:4] == b"\xff\x4f\xff\x51" and len(frame) >= 43:
        x_size, y_size, x_offset, y_offset = struct.unpack(">4I", frame[8:24])
        return Codestream(y_size - y_offset, x_size - x_offset, (frame[42] & 0x7F) + 1)
    if frame[:2] != b"\xff\xd8":
        return None
    position = 2
    while position + 9 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        is_frame_header = marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC))
        if is_frame_header:
            precision, rows, columns = struct.unpack(">BHH", frame[position + 4 : position + 9])
            return Codestream(rows, columns, precision)
        (length,) = struct.unpack(">H", frame[position + 2 : position + 4])
        position += 2 + length
    return None


def _decode_compressed(path: Path, dataset: Any, shape: tuple[int, int], notes: list[str]) -> np.ndarray:
    from pydicom.pixels import pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    with decoding(path, "pixel data"):
        frame = _first_frame(dataset)
    codestream = parse_codestream(frame)
    _check_codestream(path, codestream, shape)
    stored: np.ndarray
    with decoding(path, f"pixel data ({syntax.name})"), _caught_stderr() as printed:
        if syntax == _JPEG_EXTENDED and codestream is not None and codestream.precision == 12:
            stored = _decode_jpeg_12_bit(frame, shape)
        else:
            stored = pixel_array(dataset, index=0)
    if any(line not in _HARMLESS for line in printed):
        notes.append("the decoder found the compressed data damaged; part of the image may be wrong")
    return stored


def _is_deflated(dataset: Any) -> bool:
    # pydicom inflates the whole data set, after which the pixel data is native
    return str(dataset.file_meta.TransferSyntaxUID) == "1.2.840.10008.1.2.1.99"


def _first_frame(dataset: Any) -> bytes:
    from pydicom.encaps import generate_frames

    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    frame: bytes = next(generate_frames(dataset.PixelData, number_of_frames=frames))
    return frame


def _check_native(path: Path, dataset: Any, shape: tuple[int, int]) -> None:
    """Length and bit position, which pydicom would not complain about or only after taking memory."""
    with decoding(path, "pixel data"):
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
        needed = shape[0] * shape[1] * int(dataset.BitsAllocated) // 8 * frames
        held = len(dataset.PixelData)
        high_bit = int(dataset.get("HighBit", int(dataset.BitsStored) - 1))
    if held < needed:
        raise refuse(
            path,
            f"{held:,} bytes of pixel data",
            expected=f"{needed:,} for {shape[0]} x {shape[1]} pixels",
            remedy="the file is cut off or its header is wrong; export it again",
        )
    if high_bit != int(dataset.BitsStored) - 1:
        raise refuse(
            path,
            f"HighBit {high_bit} with BitsStored {int(dataset.BitsStored)}",
            expected="HighBit = BitsStored - 1",
            remedy="rewrite the file with a current DICOM toolkit",
        )


def _check_codestream(path: Path, codestream: Codestream | None, shape: tuple[int, int]) -> None:
    """A decoder takes memory for what the codestream says, whatever Rows and Columns say."""
    if codestream is not None and (codestream.rows, codestream.columns) != shape:
        raise refuse(
            path,
            f"a compressed image of {codestream.rows} x {codestream.columns}",
            expected=f"the header's {shape[0]} x {shape[1]} (Rows x Columns)",
            remedy="the file is damaged; export it again",
        )


def _decode_jpeg_12_bit(frame: bytes, shape: tuple[int, int]) -> np.ndarray:
    """12-bit JPEG Extended by gdcm directly: pydicom's plugins refuse it.

    The precision given to gdcm is the codestream's, not BitsStored: given fewer bits it wraps overshoots
    around to black.
    """
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((shape[1], shape[0], 1))
    image.SetDataElement(element)
    # stored values pass unchanged, whatever the polarity: that is decided after the LUTs
    monochrome = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(monochrome))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(_JPEG_EXTENDED)))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, 0))
    text = image.GetBuffer()
    if text is None:
        raise ValueError("gdcm gave up")
    buffer = text.encode("utf-8", "surrogateescape")  # gdcm returns char* as str
    return np.frombuffer(buffer, dtype=np.uint16).reshape(shape)


@contextmanager
def _caught_stderr() -> Iterator[list[str]]:
    """Collect the lines that C decoders print: the only way in which some of them report damage."""
    lines: list[str] = []
    try:
        kept = os.dup(2)
    except OSError:  # a process without standard error prints nothing
        yield lines
        return
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            lines.extend(caught.read(65536).decode("utf-8", "replace").splitlines())
