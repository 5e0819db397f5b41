"""Suites of a few seconds, and finished cells that were never run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medi2i.benchmarks import Cell, SuiteConfig
from medi2i.benchmarks.measure import measure_path

FAST = ("evaluation.feature_size=64", "evaluation.floor_repeats=10", "evaluation.worst=0")


def tiny_suite(folder: Path, **values: Any) -> SuiteConfig:
    """Histogram matching and a CycleGAN of four steps; `folder` holds `src`, `tgt` and `tiny.yaml`."""
    chosen = {
        "name": "tiny",
        "data": {"toy": {"source": str(folder / "src"), "target": str(folder / "tgt")}},
        "base": {"set": FAST},
        "rows": {"histogram": {"config": "histogram"}, "cyclegan": {"config": str(folder / "tiny.yaml")}},
        "seeds": [0, 1],
        "measures": [{"name": "translation"}],
    }
    return SuiteConfig.model_validate(chosen | values)


def pretend_finished(cell: Cell, values: dict[str, Any], images: list[dict[str, Any]] | None = None) -> None:
    """Write what a finished cell with one measure leaves."""
    cell.folder.mkdir(parents=True)
    for name in ("results.json", "report.html"):
        (cell.folder / name).touch()
    settings = cell.measures[0]
    path = measure_path(cell.folder, settings.name)
    path.parent.mkdir()
    stored = {"settings": settings.model_dump(mode="json"), "values": values, "images": images or []}
    path.write_text(json.dumps(stored))
