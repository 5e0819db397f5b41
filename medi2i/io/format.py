"""What a file format is to this package: a name, its suffixes, and three functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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


class Writer(Protocol):
    """Writes `pixels` (`IntensityMap.to_stored`) to `path` as `template` was stored."""

    def __call__(
        self, path: Path, pixels: np.ndarray, *, header: RadiographHeader, template: Path, method: str | None
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
