"""From a DICOM file to a pydicom data set, defensively and without a word that could name the patient."""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator, MutableSequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medi2i.io.dicom_codec import check_gdcm_can_be_imported
from medi2i.io.format import read_start
from medi2i.io.guard import MAX_FILE_BYTES, check_file_size, decoding, refuse

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_ALL_REPRESENTATIONS = b"AEASATCSDADSDTFDFLISLOLTOBODOFOLOVOWPNSHSLSQSSSTSVTMUCUIULUNURUSUTUV"
_VALUE_REPRESENTATIONS = frozenset(
    _ALL_REPRESENTATIONS[start : start + 2] for start in range(0, len(_ALL_REPRESENTATIONS), 2)
)


def looks_like_dicom(path: Path) -> bool:
    """Whether the file has a DICOM preamble, or starts with a plausible element as files without one do.

    Such files start in group 0002 or 0008, the group number in either byte order, with an explicit value
    representation or a small implicit length.
    """
    start = read_start(path, 132)
    if start[128:132] == b"DICM":
        return True
    if len(start) < 8:
        return False
    for order in ("<", ">"):
        group, element = struct.unpack(f"{order}HH", start[:4])
        if group not in (0x0002, 0x0008) or element > 0x0100:
            continue
        (length,) = struct.unpack("<I", start[4:8])
        if start[4:6] in _VALUE_REPRESENTATIONS or (order == "<" and length <= 1024):
            return True
    return False


@contextmanager
def quiet_pydicom() -> Iterator[list[str]]:
    """Collect pydicom's warnings as notes, and keep them and its log from the console.

    The notes say only what kind of rule was broken: pydicom repeats the offending values, maybe names.
    """
    logger = logging.getLogger("pydicom")
    level, notes = logger.level, list[str]()
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield notes
    finally:
        logger.setLevel(level)
    kinds = dict.fromkeys(_describe_warning(str(warning.message)) for warning in caught)
    notes.extend(kinds)


def load_dataset(path: Path) -> Any:
    """Parse a file into a pydicom data set whose `file_meta` names a transfer syntax.

    The file is read into memory first, so that a declared length can't take more than the file has.

    Raises:
        UnreadableImageError: the file is empty, too large, a deflate bomb, or no DICOM.
        EnvironmentProblemError: pydicom can't be imported from this working directory.
    """
    check_file_size(path)
    check_gdcm_can_be_imported()
    import pydicom
    from pydicom.dataset import FileMetaDataset

    with decoding(path, "a file"):
        content = path.read_bytes()
    _check_deflated(path, content)
    with decoding(path, "a DICOM header", quote=False):
        dataset = pydicom.dcmread(io.BytesIO(content), force=True)
        count = len(dataset)
        if not hasattr(dataset, "file_meta"):
            dataset.file_meta = FileMetaDataset()
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = _native_syntax(dataset)
    if not count:
        raise refuse(path, "no DICOM element", remedy="the file is damaged or of another kind; leave it out")
    return dataset


def read_texts(dataset: Any, keyword: str) -> list[str]:
    """The values of an attribute as text; none for one that is absent, empty, or can't be decoded."""
    try:
        value = dataset.get(keyword)
    except (ValueError, TypeError, OverflowError):  # a number that is none
        return []
    if value is None or value == "":
        return []
    several = list(value) if isinstance(value, MutableSequence) else [value]
    return [str(one).strip() for one in several]


def check_pixel_data_complete(path: Path, dataset: Any) -> None:
    """Refuse pixel data whose declared length goes beyond the end of the file.

    Raises:
        UnreadableImageError: naming both lengths.
    """
    with decoding(path, "pixel data", quote=False):
        element = dataset.get_item("PixelData")
        declared, held = getattr(element, "length", None), len(element.value or b"")
    if declared is not None and declared != 0xFFFFFFFF and held < declared:
        raise refuse(
            path,
            f"{held:,} bytes of pixel data",
            expected=f"the {declared:,} that the file declares",
            remedy="the file is cut off; copy it again",
        )


def _native_syntax(dataset: Any) -> Any:
    from pydicom import uid

    implicit, little_endian = dataset.original_encoding
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRBigEndian if little_endian is False else uid.ExplicitVRLittleEndian


def _check_deflated(path: Path, content: bytes) -> None:
    """Inflate a deflated data set piece by piece and stop at the limit: pydicom inflates all at once."""
    if content[128:132] != b"DICM" or _DEFLATED not in content[132:1024] or len(content) < 144:
        return
    (meta_length,) = struct.unpack("<I", content[140:144])  # value of (0002,0000)
    with decoding(path, "deflated data"):
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        rest, total = content[144 + meta_length :], 0
        while rest and not inflater.eof and total <= MAX_FILE_BYTES:
            total += len(inflater.decompress(rest, 1 << 24))
            rest = inflater.unconsumed_tail
    if total > MAX_FILE_BYTES:
        raise refuse(path, "deflated data that grows beyond 1 GiB", remedy="leave it out")


def _describe_warning(message: str) -> str:
    for words, note in (
        ("character set", "an unknown character set was assumed to be the default"),
        ("Invalid value for VR", "a header value breaks the rules of its type"),
        ("exceeds the maximum length", "a header value is longer than its type allows"),
        ("trailing padding", "pixel data is longer than the matrix needs"),
        ("excess padding", "pixel data is longer than the matrix needs"),
        ("Overlay", "an overlay is malformed and was ignored"),
        ("Bits Stored", "compressed data and header disagree about the bit depth"),
        ("Pixel Representation", "compressed data and header disagree about the sign"),
    ):
        if words.lower() in message.lower():
            return note
    return "pydicom warned about the file's header or encoding"
