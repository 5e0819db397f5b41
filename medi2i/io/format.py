"""What a file format is to this package: a name, its suffixes, and three functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from medi2i.image import FormatName, Radiograph, RadiographHeader


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a caller may ask of a reader; formats without the notion ignore it.

    Attributes:
        apply_voi: apply the DICOM VOI LUT or window after the modality LUT.
        isocenter: give an RT image's spacing at the isocentre instead of at its image plane.
    """

    apply_voi: bool = False
    isocenter: bool = False


DEFAULT_OPTIONS = ReadOptions()
Compression = Literal["none", "jpeg2000", "rle"]


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What a caller may ask of a writer; formats without the notion ignore it.

    Attributes:
        weights_sha256: hash of the weights that made the image; a DICOM object names it.
        compression: lossless compression of DICOM pixel data of up to 16 bits.
        series: what DICOM images of one source series must share to come into one new series; None gives
            each image a series of its own.
        patient_key: made-up identity, e.g. a salted hash, for objects that must not stay in their patient.
        uid_secret: with it, nothing of the template's identity is kept: only what
            `dicom_identity` lists gets into the file, and identifiers are mapped by a hash keyed with it.
    """

    weights_sha256: str | None = None
    compression: Compression = "none"
    series: str | None = None
    patient_key: str | None = None
    uid_secret: bytes | None = field(default=None, repr=False)

    @property
    def strips_identity(self) -> bool:
        """Whether nothing of the template's identity may be kept."""
        return self.uid_secret is not None


DEFAULT_WRITING = WriteOptions()


class Writer(Protocol):
    """Writes `pixels` (`IntensityMap.to_stored`) to `path` as `template` was stored."""

    def __call__(
        self,
        path: Path,
        pixels: np.ndarray,
        *,
        header: RadiographHeader,
        template: Path,
        method: str | None = None,
        options: WriteOptions = DEFAULT_WRITING,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """One entry of the `FORMATS` table.

    Attributes:
        name: as in `RadiographHeader.format`.
        suffixes: lower-case endings of file names; the first is given to files without one.
        accepts: whether a file's first bytes are of this format.
        read: decode a file.
        write: write a result in this format.
        output_suffix: ending of results, where it is not the input's (lossy formats).
    """

    name: FormatName
    suffixes: tuple[str, ...]
    accepts: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], Radiograph]
    write: Writer
    output_suffix: str | None = None


def read_start(path: Path, count: int) -> bytes:
    """The first `count` bytes of a file; none if it cannot be opened (reading it will say why)."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""
