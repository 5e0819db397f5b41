"""A finished run as measures see it: beside the run itself, what a data set has for all of its runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medi2i.adaptation.run_folder import RunFolder


@dataclass(frozen=True)
class FinishedRun(RunFolder):
    """One run of a benchmark.

    Attributes:
        shared: what runs on the same data set have in common (trained segmenters).
        films: labelled films of the target domain, where the suite names some.
    """

    shared: Path
    films: Path | None = None
