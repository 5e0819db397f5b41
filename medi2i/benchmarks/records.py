"""What is finished of a matrix as one file, for machines that share no folder: `cells.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medi2i.adaptation import AdaptConfig
from medi2i.benchmarks.cells import ELSEWHERE, Cell, State
from medi2i.benchmarks.measure import is_of, measure_path, read_measure
from medi2i.config import dump_config
from medi2i.errors import CheckpointError
from medi2i.io.atomic import write_text_atomically

RECORDS = "cells.jsonl"
_PLACES = {"source", "target", "truth"}  # other machines have their folders elsewhere


def write_records(cells: Sequence[Cell], out: Path) -> None:
    """`cells.jsonl`: a line a finished cell, with its settings and its measures, and no path."""
    lines = [
        json.dumps(
            {
                "cell": cell.name,
                "settings": _settings(cell.config),
                "measures": [read_measure(cell.folder, settings) for settings in cell.measures],
            }
        )
        for cell in cells
        if cell.state() is State.FINISHED
    ]
    write_text_atomically(out / RECORDS, "".join(line + "\n" for line in lines))


def join_records(cells: Sequence[Cell], path: Path) -> int:
    """Count what another machine finished as finished here; cells that are begun here are left alone.

    Whether its data are the same can't be seen from the file: names of data sets are taken at their word.

    Args:
        cells: of the whole suite.
        path: `cells.jsonl` of a benchmark of the same suite.

    Returns:
        how many cells were taken; those of other settings, or without all of the suite's measures, are not.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    known, taken = {cell.name: cell for cell in cells}, 0
    for record in _read(path):
        cell = known.get(record["cell"])
        if cell is None or cell.state() is not State.NEW or record["settings"] != _settings(cell.config):
            continue
        # the suite's own settings find what is taken, so that no name in the file becomes a path
        found = [
            (settings.name, measure)
            for settings in cell.measures
            for measure in record["measures"]
            if is_of(measure, settings)
        ]
        if {name for name, _ in found} != {settings.name for settings in cell.measures}:
            continue
        for name, measure in found:
            write_text_atomically(measure_path(cell.folder, name), json.dumps(measure))
        write_text_atomically(cell.folder / "config.yaml", dump_config(cell.config))
        write_text_atomically(cell.folder / ELSEWHERE, "the run itself is on another machine\n")
        taken += 1
    return taken


def _settings(config: AdaptConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude=_PLACES)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for record in records:
            _require_shape(record)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            path,
            found=f"no readable records ({type(error).__name__})",
            expected=f"{RECORDS} as `medi2i benchmark` writes it",
            remedy="copy it anew from the other machine",
        ) from error
    return records


def _require_shape(record: Any) -> None:
    """Refuse with the error of a missing key what is no record of a cell."""
    if not isinstance(record["cell"], str) or not isinstance(record["settings"], dict):
        raise TypeError("no name or no settings")
    for measure in record["measures"]:
        _ = measure["values"], measure["images"]
        if not isinstance(measure["settings"]["name"], str):
            raise TypeError("no name of a measure")
