"""The tables of an evaluated run as CSV, for programs and spreadsheets; undefined values are empty cells."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from medi2i.io.atomic import write_text_atomically
from medi2i.report.results import Results
from medi2i.report.schema.controls import Controls
from medi2i.report.schema.downstream import Against, Downstream, DownstreamRow, Overlap, StructureScores
from medi2i.report.schema.part import Interval, Share
from medi2i.report.schema.preservation import Preservation

FOLDER = "tables"
_ENDS = ("estimate", "low", "high")
# A text that starts so is a formula to a spreadsheet, and may run what it says.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_Cell = str | int | float | bool | None


def write_tables(results: Results, run: Path) -> list[Path]:
    """Write `tables/*.csv` into the run folder, one file a section that the results have.

    Files of sections that they have not are removed, so that none is of an older measurement.

    Returns:
        the files that were written.

    Raises:
        DiskFullError: there is no room.
        EnvironmentProblemError: the folder can't be written to.
    """
    contents = {
        "downstream.csv": _downstream(results.downstream) if results.downstream else None,
        "preservation.csv": _preservation(results.preservation) if results.preservation else None,
        "controls.csv": _controls(results.controls) if results.controls else None,
    }
    written = []
    for name, lines in contents.items():
        path = run / FOLDER / name
        if lines is None:
            path.unlink(missing_ok=True)
            continue
        write_text_atomically(path, _to_csv(list(lines)))
        written.append(path)
    return written


def _downstream(downstream: Downstream) -> Iterator[Sequence[_Cell]]:
    """One line a row and structure, and one for the mean over structures."""
    unit, tolerance = downstream.settings.unit, f"{downstream.settings.tolerance:g}"
    scores = ("dice", "dice_cared", f"nsd_at_{tolerance}_{unit}", f"hd95_{unit}", f"assd_{unit}")
    yield (
        "row", "protocol", "adapter", "labelled_patients", "structure",
        "films_and_seeds", "missed", "invented",
        *(f"{name}_{end}" for name in scores for end in _ENDS),
        *(f"{name}_{end}" for name in ("cl_dice", "betti_error") for end in _ENDS),
        *(f"dice_minus_source_only_{end}" for end in _ENDS),
        "p", "p_holm", "effect_rank_biserial", "patients",
        *(f"gap_closed_share_{end}" for end in _ENDS), "gap_closed_refused",
        *(f"dice_minus_same_without_adapter_{end}" for end in _ENDS),
        "p_adapter", "p_holm_adapter", "effect_rank_biserial_adapter", "patients_adapter",
    )  # fmt: skip
    for row in downstream.rows:
        start = (row.name, row.protocol, row.adapter, row.labelled_patients)
        yield (
            *start,
            "mean over structures",
            None,
            None,
            None,
            *_overlap(row.mean),
            *_none(6),
            *_compared(row),
        )
        for name, found in row.structures.items():
            counts = (found.n, found.missed, found.invented)
            yield (*start, name, *counts, *_overlap(found), *_thin(found), *_none(18))


def _preservation(preservation: Preservation) -> Iterator[Sequence[_Cell]]:
    """One line a structure."""
    moved = [f"deformation_{rank}_{preservation.unit}" for rank in ("p50", "p95", "max")]
    yield (
        "structure", "images", "certified_images", *(f"certified_share_{end}" for end in _ENDS),
        *(f"{name}_{end}" for name in moved for end in _ENDS), "content_flagged_images",
    )  # fmt: skip
    for item in preservation.structures:
        deformations = (item.deformation_p50, item.deformation_p95, item.deformation_max)
        ends = [end for interval in deformations for end in _ends(interval)]
        yield (item.name, item.n, item.kept, *_ends(item.share), *ends, item.content_flagged)


def _controls(controls: Controls) -> Iterator[Sequence[_Cell]]:
    """One line a control."""
    instruments = list(dict.fromkeys(name for row in controls.results for name in row.by))
    yield (
        "control", "should_be_flagged", "images", *(f"flagged_share_{end}" for end in _ENDS),
        *(f"{name}_flagged_share" for name in instruments), "area_under_roc",
    )  # fmt: skip
    for row in controls.results:
        by = (row.by.get(name) for name in instruments)
        share = Share(estimate=row.flagged, low=row.low, high=row.high)
        yield (row.name, row.expected, row.n, *_ends(share), *by, row.area)


def _overlap(scores: Overlap) -> list[_Cell]:
    means = (scores.dice, scores.dice_cared, scores.nsd, scores.hd95, scores.assd)
    return [end for interval in means for end in _ends(interval)]


def _thin(scores: StructureScores) -> list[_Cell]:
    return [end for interval in (scores.cl_dice, scores.betti_error) for end in _ends(interval)]


def _compared(row: DownstreamRow) -> list[_Cell]:
    gap = row.gap_closed
    closed = _none(4) if gap is None else [gap.estimate, gap.low, gap.high, gap.refused]
    return [*_tested(row.versus_source), *closed, *_tested(row.versus_base)]


def _tested(against: Against | None) -> list[_Cell]:
    if against is None:
        return _none(7)
    return [
        *_ends(against.difference),
        against.p_value,
        against.p_holm,
        against.effect,
        against.n_patients,
    ]


def _ends(interval: Interval | Share | None) -> list[_Cell]:
    """Estimate and bounds; all empty where there is no estimate, though Wilson has bounds without trials."""
    if interval is None or interval.estimate is None:
        return _none(3)
    return [interval.estimate, interval.low, interval.high]


def _none(number: int) -> list[_Cell]:
    return [None] * number


def _to_csv(lines: Sequence[Sequence[_Cell]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([_plain(cell) for cell in line] for line in lines)
    return stream.getvalue()


def _plain(cell: _Cell) -> str | int | float:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS):
        return f"'{cell}"
    return cell
