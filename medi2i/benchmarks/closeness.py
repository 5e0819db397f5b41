"""How near a run came to the target domain, from what the run itself measured, and what a step costs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medi2i.benchmarks.finished import FinishedRun
from medi2i.benchmarks.measure import Measured, MeasureSettings


class TranslationMeasure(MeasureSettings):
    """Distance to the target's test images, structure kept, and the time of a training step.

    Values, from `results.json` and `log.jsonl`: `distance` (energy distance of all translated images to the
    target's test images, as in the report), `distance_held_out` (of translated test images only),
    `gradient_correlation` (median over all images), `seconds_per_step` (NaN for methods that learn nothing),
    `best_step`.
    """

    name: Literal["translation"] = "translation"

    def measure(self, run: FinishedRun) -> Measured:
        """The run's own numbers."""
        results: dict[str, Any] = json.loads((run.folder / "results.json").read_text(encoding="utf-8"))
        structure = results["structure"]["translated"]
        values = {
            "distance": results["distance"]["translated"],
            "distance_held_out": results["distance_held_out_source"]["translated"]["all"],
            "gradient_correlation": structure["gradient_correlation"]["median"],
            "seconds_per_step": seconds_per_step(run),
            "best_step": results["run"]["best_step"],
        }
        return Measured({key: math.nan if value is None else float(value) for key, value in values.items()})


def seconds_per_step(run: FinishedRun) -> float:
    """Median wall time of a training step over the lines of the log; NaN when nothing was trained."""
    training = run.config.training
    rates = _rates(run.folder / "log.jsonl")
    if training is None or not rates:
        return math.nan
    images = training.batch_size * training.accumulate
    return float(np.median([images / rate for rate in rates]))


def _rates(log: Path) -> list[float]:
    if not log.is_file():
        return []
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [line["images_per_second"] for line in lines if line.get("images_per_second")]
