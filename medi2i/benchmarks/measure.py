"""What every measure of a benchmark has: settings, values over the images, and values of each image."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medi2i.benchmarks.finished import FinishedRun
from medi2i.benchmarks.folders import Folders, Groundwork
from medi2i.config import Config
from medi2i.data.manifest import ManifestRow
from medi2i.evaluation import write_results
from medi2i.evaluation.domains import patients

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """What one measure found in one run.

    Attributes:
        values: by name; NaN where undefined.
        images: one row an image: `id`, `patient` (a label without identity; None when unknown), and what was
            measured on it.
    """

    values: dict[str, float]
    images: list[dict[str, Any]] = field(default_factory=list)


class MeasureSettings(Config, ABC):
    """Base of every measure's settings; a measure has a unique `name` and is computed once a run."""

    name: str

    def check(self, folders: Folders) -> None:
        """Refuse data that this can't be measured on, as far as they are there; most measures take all.

        It is asked before anything is made, and again once phantoms are.

        Raises:
            UsageError: the data lack something.
        """

    def prepare(self, ground: Groundwork) -> None:
        """Make what all runs on a data set share; most measures need nothing."""

    @abstractmethod
    def measure(self, run: FinishedRun) -> Measured:
        """The measure of a finished run."""


def measure_path(run: Path, name: str) -> Path:
    """Where a run keeps a measure."""
    return run / "measures" / f"{name}.json"


def read_measure(run: Path, settings: MeasureSettings) -> dict[str, Any] | None:
    """A measure that was taken with these very settings; None when it was not taken, or with others."""
    path = measure_path(run, settings.name)
    if not path.is_file():
        return None
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None  # cut off by hand: it is measured again
    return stored if is_of(stored, settings) else None


def is_of(stored: Mapping[str, Any], settings: MeasureSettings) -> bool:
    """Whether a stored measure was taken with these very settings; not, if it is of another edition."""
    try:
        return type(settings).model_validate(stored["settings"]) == settings
    except (ValueError, KeyError, TypeError):
        return False


def take_measure(run: FinishedRun, settings: MeasureSettings) -> None:
    """Measure, and write the result beside the run."""
    begin = time.monotonic()
    measured = settings.measure(run)
    write_results(
        measure_path(run.folder, settings.name),
        {
            "settings": settings.model_dump(mode="json"),
            "values": measured.values,
            "images": measured.images,
            "seconds": round(time.monotonic() - begin, 1),
        },
    )


def mean_values(images: Sequence[Row], keys: Sequence[str]) -> dict[str, float]:
    """Mean of each key over the images where it is defined; NaN without one."""
    means = {}
    for key in keys:
        values = np.array([row.get(key, np.nan) for row in images], dtype=float)
        defined = values[np.isfinite(values)]
        means[key] = float(defined.mean()) if defined.size else float("nan")
    return means


def patient_numbers(rows: Sequence[ManifestRow]) -> dict[str, str | None]:
    """A patient label for each image (by id), the same in every run of the same folder."""
    labels: Sequence[str | None] = patients(rows) or [None] * len(rows)
    return {row.id: label for row, label in zip(rows, labels, strict=True)}
