"""Differences of rows from a named one on the same images, with intervals over patients and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medi2i.benchmarks.cells import Cell
from medi2i.benchmarks.measure import read_measure
from medi2i.benchmarks.suite import SuiteConfig
from medi2i.metrics.statistics import crossed_sums_interval

_NO_VALUES = frozenset({"id", "patient"})
_Key = tuple[int, str]  # seed, image


def compare_rows(suite: SuiteConfig, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Paired differences of every row from `suite.reference`, for each value that images have.

    Returns:
        `data`, `row`, `value` (`measure.key`), `estimate` (mean over images and seeds), `low`, `high` (None
        where there is only one patient), `images`, `patients` (an image counts as one where its patient is
        unknown), `seeds`. Seeds enter the interval: with two or three it is wide where they disagree.
    """
    found = []
    for data in suite.data:
        images = {row: _images_of(cells, data, row) for row in suite.rows}
        reference = images[suite.reference or ""]
        for row, mine in images.items():
            if row == suite.reference:
                continue
            for value in mine:
                pairs = _pair(mine[value], reference.get(value, {}))
                if pairs:
                    found.append({"data": data, "row": row, "value": value, **_summarise(pairs)})
    return found


def _images_of(cells: Sequence[Cell], data: str, row: str) -> dict[str, dict[_Key, tuple[str, float]]]:
    """By `measure.key`: (seed, image) to its patient (the image itself when unknown) and its value."""
    found: dict[str, dict[_Key, tuple[str, float]]] = {}
    for cell in cells:
        if (cell.data, cell.row) != (data, row):
            continue
        for settings in cell.measures:
            stored = read_measure(cell.folder, settings)
            for image in (stored or {}).get("images", ()):
                for key, value in image.items():
                    if key in _NO_VALUES or value is None:
                        continue
                    name = f"{(stored or {})['settings']['name']}.{key}"
                    patient = image["patient"] or image["id"]
                    found.setdefault(name, {})[cell.seed, image["id"]] = (patient, value)
    return found


def _pair(
    mine: Mapping[_Key, tuple[str, float]], others: Mapping[_Key, tuple[str, float]]
) -> dict[_Key, tuple[str, float]]:
    """Differences where both have a value."""
    return {key: (mine[key][0], mine[key][1] - others[key][1]) for key in mine if key in others}


def _summarise(pairs: Mapping[_Key, tuple[str, float]]) -> dict[str, Any]:
    seeds = sorted({seed for seed, _ in pairs})
    patients = sorted({patient for patient, _ in pairs.values()})
    sums, counts = np.zeros((2, len(patients), len(seeds)))
    for (seed, _), (patient, difference) in pairs.items():
        place = patients.index(patient), seeds.index(seed)
        sums[place] += difference
        counts[place] += 1
    interval = crossed_sums_interval(sums, counts)
    return {
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "images": len({image for _, image in pairs}),
        "patients": len(patients),
        "seeds": len(seeds),
    }
