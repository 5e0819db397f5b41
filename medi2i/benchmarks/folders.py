"""Where a data set of a benchmark is, and what all of its runs share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medi2i.training.engine import DeviceName
from medi2i.training.interruption import StopRequest


@dataclass(frozen=True)
class Folders:
    """Where one data set is.

    Attributes:
        source, target: the two domains.
        truth: true target images of source images, by name.
        films: labelled films that measures test on.
        is_made: made by the benchmark, so that it moves with the benchmark's folder.
    """

    source: Path
    target: Path
    truth: Path | None = None
    films: Path | None = None
    is_made: bool = False

    @property
    def are_there(self) -> bool:
        """Whether they can be looked at; a phantom may be still to be made."""
        return not self.is_made or self.source.is_dir()


@dataclass(frozen=True)
class Groundwork:
    """What a measure is given to make what all runs on a data set share.

    Attributes:
        shared: folder for it; nobody else writes there.
        stop: to be asked in long work.
    """

    folders: Folders
    shared: Path
    device: DeviceName
    stop: StopRequest
