"""Differences of rows from a named one on the same images, with intervals over patients and seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from medi2i.benchmarks.cells import Cell
from medi2i.benchmarks.measure import read_measure
from medi2i.benchmarks.suite import SuiteConfig

_DRAWS = 4000
_LEVEL = 0.95
_NO_VALUES = frozenset({"id", "patient"})
_Key = tuple[int, str]  # seed, image


def compare_rows(suite: SuiteConfig, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Paired differences of every row from `suite.reference`, for each value that images have.

    Returns:
        `data`, `row`, `value` (`measure.key`), `estimate` (mean over images and seeds), `low`, `high` (None
        where there is only one patient), `images`, `patients` (None when unknown: images are drawn),
        `seeds`.
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


def bootstrap_crossed(
    sums: Float[np.ndarray, "S P"],
    counts: Float[np.ndarray, "S P"],
    rng: np.random.Generator,
    *,
    level: float = _LEVEL,
    n: int = _DRAWS,
) -> tuple[float, float] | None:
    """Percentile interval of a mean over images, where seeds and patients are both drawn with replacement.

    Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007: rows and columns of a crossed
    design are drawn independently; the variance is not underestimated, if anything the contrary. With three
    seeds the share of the seeds in it is rough.

    Args:
        sums: of the differences of a patient's images, by seed and patient.
        counts: of these images.
        rng: source of randomness.
        level: coverage aimed at.
        n: bootstrap samples.

    Returns:
        low and high; None for fewer than two patients.
    """
    seeds, patients = sums.shape
    if patients < 2:
        return None
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=n)
    of_patients = rng.multinomial(patients, np.full(patients, 1 / patients), size=n)
    totals = np.einsum("ns,sp,np->n", of_seeds, sums, of_patients, optimize=True)
    sizes = np.einsum("ns,sp,np->n", of_seeds, counts, of_patients, optimize=True)
    means: Float64[np.ndarray, " N"] = totals[sizes > 0] / sizes[sizes > 0]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
    sums, counts = np.zeros((2, len(seeds), len(patients)))
    for (seed, _), (patient, difference) in pairs.items():
        place = seeds.index(seed), patients.index(patient)
        sums[place] += difference
        counts[place] += 1
    interval = bootstrap_crossed(sums, counts, np.random.default_rng(0))
    low, high = interval if interval is not None else (None, None)
    return {
        "estimate": float(sums.sum() / counts.sum()) if counts.any() else math.nan,
        "low": low,
        "high": high,
        "images": len({image for _, image in pairs}),
        "patients": len(patients),
        "seeds": len(seeds),
    }
