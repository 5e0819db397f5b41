"""What a format is: files of one image, which any process may write, and the tables of all, at the end."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from medi2i.data.tables import SPLITS
from medi2i.synthesis.image import SyntheticImage
from medi2i.synthesis.settings import OverlapForm

# What a writer noted of each image of the set, in the order of numbers; asked for anew for every table.
Entries = Callable[[], Iterator[Mapping[str, Any]]]


@dataclass(frozen=True)
class SetFacts:
    """What every table of a set says.

    Attributes:
        structures: names of the mask planes, in order.
        overlap: how overlapping structures are written.
        priority: numbers of structures, the first wins, where one label map is written.
        dataset_id, dataset_name: of nnU-Net.
        licence: under which the set may be used.
        convention: what masks of lungs mean, if known.
        sources_key: hash of the source images.
        set_key: hash of all that the images of a set depend on.
    """

    structures: tuple[str, ...]
    overlap: OverlapForm
    priority: tuple[int, ...] = ()
    dataset_id: int = 501
    dataset_name: str = "medi2i"
    licence: str = "not stated"
    convention: str | None = None
    sources_key: str = ""
    set_key: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """What one image left.

    Attributes:
        files: below the set's folder; the first is the image.
        entry: what the tables need of it; JSON.
        facts: for the manifest.
    """

    files: tuple[str, ...]
    entry: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


class SetWriter(ABC):
    """One format. Same image, same bytes; nothing is kept between calls.

    Attributes:
        overlaps: the ways it can write overlapping structures; the first is its own, unless
            `chooses_overlap`.
        chooses_overlap: whether the user has to choose, because each way loses something.
    """

    overlaps: ClassVar[tuple[OverlapForm, ...]] = ("planes",)
    chooses_overlap: ClassVar[bool] = False

    def __init__(self, out: Path, facts: SetFacts) -> None:
        """A writer of a set.

        Args:
            out: the set's folder.
            facts: what every table says.

        Raises:
            UsageError: the format can't hold such a set.
        """
        self.out, self.facts = out, facts

    @abstractmethod
    def write(self, image: SyntheticImage) -> Written:
        """Write the files of one image, each complete or not at all.

        Raises:
            DiskFullError, EnvironmentProblemError: they can't be written.
        """

    @abstractmethod
    def finish(self, entries: Entries) -> None:
        """Write the tables, of the entries of all images.

        Raises:
            DiskFullError, EnvironmentProblemError: they can't be written.
        """

    @abstractmethod
    def describe(self) -> str:
        """For the card: what the files are, and what reads them. Markdown."""


def list_lines(items: Iterable[object], indent: str = "  ") -> Iterator[str]:
    """A JSON list piece by piece, one item a line."""
    yield "["
    separator = "\n"
    for item in items:
        yield f"{separator}{indent}{json.dumps(item)}"
        separator = ",\n"
    yield "\n]"


def object_lines(members: Iterable[tuple[str, object]]) -> Iterator[str]:
    """A JSON object piece by piece; a member that is an iterator becomes a list, one item a line."""
    yield "{"
    separator = "\n"
    for name, value in members:
        yield f"{separator}{json.dumps(name)}: "
        if isinstance(value, Iterator):
            yield from list_lines(value)
        else:
            yield json.dumps(value)
        separator = ",\n"
    yield "\n}\n"


def patient_lines(entries: Entries) -> Iterator[str]:
    """`patients.csv` of a data set folder.

    Splits that leave a side empty are refused where such a folder is read, so they are left out then; the
    manifest has them.
    """
    with_split = {str(entry["split"]) for entry in entries()} == set(SPLITS)
    yield "file,patient,split\n" if with_split else "file,patient\n"
    for entry in entries():
        split = f",{entry['split']}" if with_split else ""
        yield f"{entry['name']},{entry['patient']}{split}\n"
