"""The cells of a matrix: one run each, in a folder of its own, and what is still to do."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from medi2i.adaptation import AdaptConfig, adapt, load_run_config
from medi2i.benchmarks.datasets import find_folders
from medi2i.benchmarks.finished import FinishedRun
from medi2i.benchmarks.folders import Folders
from medi2i.benchmarks.measure import MeasureSettings, read_measure, take_measure
from medi2i.benchmarks.suite import SuiteConfig
from medi2i.errors import ConfigError, InterruptedRunError, Medi2iError, OutputExistsError, UsageError
from medi2i.io.atomic import write_text_atomically
from medi2i.training.engine import DeviceName

ELSEWHERE = "elsewhere.txt"  # in the place of a run that is on another machine


class State(StrEnum):
    """How far a cell is."""

    NEW = "to do"
    BEGUN = "begun"
    FAILED = "failed"
    OTHER = "other settings"
    FOREIGN = "holds something else"
    FINISHED = "finished"


@dataclass(frozen=True, eq=False)
class Cell:
    """One row on one data set with one seed.

    Attributes:
        folder: the run folder.
        shared: what the cells of a data set have in common.
        config: with the data set's folders.
        measures: what is to be computed of the run.
        folders: of its data set.
    """

    data: str
    row: str
    seed: int
    folder: Path
    shared: Path
    config: AdaptConfig
    measures: tuple[MeasureSettings, ...]
    folders: Folders

    @property
    def name(self) -> str:
        """Of the cell, in messages and tables."""
        return f"{self.data}/{self.row}/seed{self.seed}"

    @property
    def error_path(self) -> Path:
        """Where its last failure is written."""
        return self.folder.with_name(f"{self.folder.name}.error.json")

    @property
    def run_is_finished(self) -> bool:
        """Whether the run has come to its end, here or elsewhere; the report is what it writes last."""
        written = all((self.folder / name).is_file() for name in ("results.json", "report.html"))
        return written or (self.folder / ELSEWHERE).is_file()

    def missing_measures(self) -> list[MeasureSettings]:
        """What is still to be computed of the run."""
        return [settings for settings in self.measures if read_measure(self.folder, settings) is None]

    def changed_settings(self) -> list[str]:
        """Sections in which the run that is there differs from this cell's settings; empty without a run.

        A run that is elsewhere can't be measured here: a measure that it lacks counts as such a section.
        """
        if not (self.folder / "config.yaml").is_file():
            return []
        try:
            there, wanted = load_run_config(self.folder), self.config
        except ConfigError:  # of another edition of medi2i
            return ["config.yaml"]
        if self.folders.is_made:
            nowhere = dict.fromkeys(("source", "target", "truth"))
            there, wanted = there.model_copy(update=nowhere), wanted.model_copy(update=nowhere)
        changed = [key for key in type(there).model_fields if getattr(there, key) != getattr(wanted, key)]
        lacking = (self.folder / ELSEWHERE).is_file() and self.missing_measures()
        return [*changed, "measures"] if lacking else changed

    def state(self) -> State:
        """How far the cell is, from its files; a run of other settings is not this cell's."""
        if self.changed_settings():
            return State.OTHER
        if self.run_is_finished and not self.missing_measures():
            return State.FINISHED
        begun = (self.folder / "config.yaml").is_file()
        if not begun and self.folder.exists() and (self.folder.is_file() or any(self.folder.iterdir())):
            return State.FOREIGN
        if self.error_path.is_file():
            return State.FAILED
        return State.BEGUN if begun else State.NEW


def plan_cells(
    suite: SuiteConfig, out: Path, *, rows: Sequence[str] = (), shard: tuple[int, int] = (1, 1)
) -> list[Cell]:
    """All cells of a suite, in an order in which every row has its first seed early.

    Args:
        suite: what to run.
        out: the benchmark's folder.
        rows: only these rows; all without it.
        shard: (i, n), whose call it is: each keeps what its cells share to itself.

    Raises:
        ConfigError: a row's preset or changes are wrong, or a data set has no folder.
        UsageError: no such row.
    """
    for row in rows:
        if row not in suite.rows:
            raise UsageError(
                f"--only {row}",
                found=f"no such row in suite '{suite.name}'",
                expected=f"one of {', '.join(suite.rows)}",
                remedy="check its name",
            )
    folders = {name: find_folders(name, data, out) for name, data in suite.data.items()}
    chosen = [row for row in suite.rows if not rows or row in rows]
    number, count = shard
    shared = out / ("shared" if count == 1 else f"shared-{number}of{count}")
    return [
        _plan_cell(suite, out, data, folders[data], row, seed, shared / data)
        for seed in suite.seeds
        for data in suite.data
        for row in chosen
    ]


def share_of(cells: Sequence[Cell], shard: tuple[int, int]) -> list[Cell]:
    """Every n-th cell from the i-th; the shares of all i are disjoint and cover the matrix."""
    number, count = shard
    return list(cells[number - 1 :: count])


def describe_suite(cells: Sequence[Cell]) -> list[tuple[str, State]]:
    """Name and state of each cell."""
    return [(cell.name, cell.state()) for cell in cells]


def require_measurable(cells: Iterable[Cell]) -> None:
    """Refuse data on which a measure that is still to be taken could not be, before anything is trained.

    Raises:
        UsageError: they lack something that a measure needs.
    """
    done: set[tuple[str, str]] = set()
    for cell in cells:
        for settings in cell.missing_measures():
            if (cell.data, settings.name) not in done:
                done.add((cell.data, settings.name))
                settings.check(cell.folders)


def complete_cell(cell: Cell, device: DeviceName) -> bool:
    """Do what is missing of a cell: the run, its measures; a failure is written down beside the run.

    Returns:
        whether the cell is finished.

    Raises:
        InterruptedRunError: a stop was requested; the next call goes on.
    """
    try:
        _require_same_settings(cell)
        if not cell.run_is_finished:
            begun = (cell.folder / "config.yaml").is_file()
            adapt(cell.config, out=cell.folder, resume=begun, device=device)
        run = FinishedRun(cell.folder, cell.shared, cell.folders.films, device=device)
        for settings in cell.missing_measures():
            take_measure(run, settings)
    except InterruptedRunError:
        raise
    except Exception as error:  # one cell that fails must not end the others; it is told at the end
        record_failure(cell, error)
        return False
    cell.error_path.unlink(missing_ok=True)
    return True


def record_failure(cell: Cell, error: Exception) -> None:
    """Write why a cell failed; errors that have no remedy of their own come with their traceback."""
    facts: dict[str, Any] = {"cell": cell.name, "error": f"{type(error).__name__}: {error}"}
    if not isinstance(error, Medi2iError):
        facts["traceback"] = traceback.format_exception(error)
    write_text_atomically(cell.error_path, json.dumps(facts, indent=1))


def read_failure(cell: Cell) -> str | None:
    """Why a cell failed at its last attempt; None if it did not, or is finished."""
    if not cell.error_path.is_file() or cell.state() is State.FINISHED:
        return None
    error: str = json.loads(cell.error_path.read_text(encoding="utf-8"))["error"]
    return error


def _plan_cell(
    suite: SuiteConfig, out: Path, data: str, folders: Folders, row: str, seed: int, shared: Path
) -> Cell:
    places = {
        "source": str(folders.source),
        "target": str(folders.target),
        "truth": None if folders.truth is None else str(folders.truth),
    }
    return Cell(
        data=data,
        row=row,
        seed=seed,
        folder=out / "cells" / data / row / f"seed{seed}",
        shared=shared,
        config=suite.adapt_config(row, seed).model_copy(update=places),
        measures=suite.measures,
        folders=folders,
    )


def _require_same_settings(cell: Cell) -> None:
    """Refuse to take a run of other settings for this cell's."""
    changed = cell.changed_settings()
    if changed:
        raise OutputExistsError(
            cell.folder,
            found=f"a run with other settings ({', '.join(changed)})",
            expected=f"the settings of row '{cell.row}'",
            remedy="remove this folder to run it again, or choose another --out",
        )
