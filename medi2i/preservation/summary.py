"""What is said of all images of a run: by instrument, by structure, by image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medi2i.data.manifest import ManifestRow
from medi2i.evaluation.controls import INSTRUMENTS, PairScores, flags_of
from medi2i.metrics.statistics import mean_interval, wilson_interval
from medi2i.preservation.certificate import CertificateRow, unit_of
from medi2i.preservation.controls import RunControls
from medi2i.preservation.structures import StructureScores


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredImage:
    """One image: scores, what they say of it, and how many millimetres a pixel of the measuring matrix is.

    `mm_per_px` is NaN without a spacing.
    """

    row: ManifestRow
    patient: str
    whole: PairScores
    structures: Mapping[str, StructureScores]
    certificate: Sequence[CertificateRow]
    mm_per_px: float


def instrument_rows(measured: Sequence[MeasuredImage], controls: RunControls) -> list[dict[str, Any]]:
    """Images flagged by each instrument, image sanity last; shares of the images it can tell of."""
    rows: list[dict[str, Any]] = []
    for name in INSTRUMENTS:
        limit = controls.thresholds[name]
        scores = [one.whole.scores[name] for one in measured]
        defined = [score for score in scores if not math.isnan(score)] if math.isfinite(limit) else []
        flagged = [score > limit for score in defined]
        rows.append(
            {
                "name": name,
                "unit": unit_of(name),
                "threshold": limit if math.isfinite(limit) else None,
                "calibrated_on": controls.calibrated_on,
                "n": len(defined),
                "flagged": sum(flagged),
                "undefined": len(scores) - len(defined),
                "share": share_of(sum(flagged), len(flagged)),
            }
        )
    insane = sum(bool(one.whole.sanity) for one in measured)
    words = "fixed limits of medi2i.metrics.structure.sanity_flags"
    rows.append(
        {"name": "sanity", "unit": unit_of("sanity"), "threshold": None, "calibrated_on": words}
        | {"n": len(measured), "flagged": insane, "undefined": 0, "share": share_of(insane, len(measured))}
    )
    return rows


def structure_rows(measured: Sequence[MeasuredImage], unit: str, *, known: bool) -> list[dict[str, Any]]:
    """By structure: how many were kept, and how far they moved, in the unit of the whole section."""
    names = list(dict.fromkeys(name for one in measured for name in one.structures))
    rows = []
    for name in names:
        having = [one for one in measured if name in one.structures]
        groups = [one.patient for one in having] if known else None
        verdicts = {one.row.id: _row_of(one, name) for one in having}
        told = [row for row in verdicts.values() if row.preserved is not None]
        kept = sum(row.preserved is True for row in told)
        moved = {
            f"deformation_{part}": asdict(
                mean_interval([_moved(one, name, part, unit) for one in having], groups).within(0, math.inf)
            )
            for part in ("p50", "p95", "max")
        }
        by_content = sum(row.by == "content" for row in told)
        rows.append(
            {"name": name, "n": len(told), "n_unknown": len(having) - len(told), "kept": kept}
            | {"share": share_of(kept, len(told)), **moved, "content_flagged": by_content}
        )
    return rows


def _row_of(one: MeasuredImage, name: str) -> CertificateRow:
    return next(row for row in one.certificate if row.structure == name)


def _moved(one: MeasuredImage, name: str, part: str, unit: str) -> float:
    scores = one.structures[name]
    px = {"p50": scores.p50_px, "p95": scores.p95_px, "max": scores.max_px}[part]
    return px * one.mm_per_px if unit == "mm" else px


def image_row(one: MeasuredImage, controls: RunControls) -> dict[str, Any]:
    return {
        "id": one.row.id,
        "split": one.row.split,
        "patient": one.patient,
        "flags": list(flags_of(one.whole, controls.thresholds)),
        **one.whole.scores,
        "sanity": list(one.whole.sanity),
    }


def count_uncertified(measured: Sequence[MeasuredImage]) -> dict[str, int]:
    """Rows of the certificate that say no, and that say nothing, by why."""
    counts: dict[str, int] = {}
    for row in (row for one in measured for row in one.certificate if row.preserved is not True):
        key = row.by or "not known"
        counts[key] = counts.get(key, 0) + 1
    return counts


def share_of(count: int, n: int) -> dict[str, float]:
    """A share with its Wilson interval; NaN without trials."""
    low, high = wilson_interval(count, n)
    return {"estimate": count / n if n else math.nan, "low": low, "high": high}
