"""`results.json` and its pictures to one HTML file that opens offline, and its tables as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medi2i.io.atomic import write_text_atomically
from medi2i.report import anatomy, control_tables, planted, tables, usefulness
from medi2i.report.description import compose
from medi2i.report.headline import EVALUATE, headline
from medi2i.report.layout import render
from medi2i.report.paragraph import methods_paragraph
from medi2i.report.pictures import inline_kept, inline_worst
from medi2i.report.readers import describe_readers, reader_table
from medi2i.report.realism import realism_table
from medi2i.report.results import Results, read_results
from medi2i.report.schema.downstream import Downstream
from medi2i.report.spreadsheets import write_tables
from medi2i.report.wording import gap_words, method_name, moment


def write_report(run: Path) -> Path:
    """Write `report.html`: the verdict, what was done, what was kept, on one page without links to elsewhere.

    Reads `results.json` and the pictures that it names, nothing else. Of a run that `medi2i evaluate`
    measured it writes the tables as `tables/*.csv`, too.

    Args:
        run: the run folder.

    Returns:
        the path of the page.

    Raises:
        CheckpointError: `results.json` or a picture is missing, damaged, or outside the run folder.
        DiskFullError: there is no room for the page.
        EnvironmentProblemError: the folder can't be written to.
    """
    results = read_results(run / "results.json")
    content = _measured(results) | _evaluated(results)
    content["pictures"] = inline_worst(run, results)
    content["least_kept"] = inline_kept(run, results)
    page = run / "report.html"
    write_text_atomically(page, render("run.html.j2", content))
    write_tables(results, run)
    return page


def _measured(results: Results) -> dict[str, Any]:
    """What the page shows of every run."""
    # imported here: a process that only trains never draws
    from medi2i.report.figures import distance_figure, structure_figure

    return {
        "method": method_name(results.run.method),
        "finished": moment(results.run.finished),
        "results": results,
        "words": compose(results),
        "data": tables.data_table(results),
        "distance": tables.distance_table(results),
        "distance_figure": distance_figure(results),
        "structure": tables.structure_table(results),
        "structure_figure": structure_figure(results),
        "truth": tables.truth_table(results.truth, results.run.method) if results.truth else None,
        "readers": reader_table(results.reader_study) if results.reader_study else None,
        "reader_words": describe_readers(results.reader_study) if results.reader_study else "",
        "checks": tables.check_table(results),
        "facts": tables.fact_rows(results),
    }


def _evaluated(results: Results) -> dict[str, Any]:
    """What the page shows of a run that `medi2i evaluate` measured; parts that it lacks are None."""
    from medi2i.report.control_figures import dose_figure
    from medi2i.report.usefulness_figures import trade_off_figure

    downstream, preservation, controls = results.downstream, results.preservation, results.controls
    content: dict[str, Any] = {
        "headline": headline(results),
        "evaluate": EVALUATE,
        "evaluated": any((results.verdict, downstream, preservation, controls)),
        "paragraph": methods_paragraph(results),
        "gap": _gap(results),
        "trade_off_figure": trade_off_figure(results),
        "realism": realism_table(results.realism, results.run.method) if results.realism else None,
        "downstream": _downstream(downstream) if downstream else None,
        "preservation": None,
        "controls": None,
    }
    if preservation:
        content_controls = preservation.content_controls
        content["preservation"] = {
            "words": anatomy.describe_anatomy(preservation, controls),
            "structures": anatomy.structure_share_table(preservation),
            "instruments": anatomy.instrument_table(preservation),
            "planted_words": planted.describe_planted(content_controls) if content_controls else "",
            "planted": planted.planted_table(content_controls) if content_controls else None,
            "hidden": planted.describe_hidden(preservation.steganography),
        }
    if controls:
        content["controls"] = {
            "words": control_tables.describe_controls(controls),
            "table": control_tables.control_table(controls),
            "figure": dose_figure(controls),
        }
    return content


def _downstream(downstream: Downstream) -> dict[str, Any]:
    """Words, tables and figures of the films."""
    from medi2i.report.usefulness_figures import budget_figure, gap_figure

    return {
        "words": usefulness.describe_films(downstream),
        "mean": usefulness.mean_table(downstream),
        "difference": usefulness.difference_table(downstream),
        "structures": usefulness.structure_tables(downstream),
        "pixels": usefulness.pixel_table(downstream),
        "labels": usefulness.label_table(downstream),
        "label_words": usefulness.describe_labels(downstream),
        "gap_figure": gap_figure(downstream),
        "budget_figure": budget_figure(downstream),
    }


def _gap(results: Results) -> str:
    """Gap closed in a sentence, or why it is refused; empty where not measured or worth nothing."""
    invalid = results.verdict is not None and results.verdict.name == "INVALID"
    if (gap := results.gap_closed) is None or invalid:
        return ""
    if gap.estimate is None:
        return f"'{gap.row}' has no share of the gap: {gap.refused or 'it is undefined'}."
    share, _, ends = gap_words(gap.estimate, gap.low, gap.high).partition(" (")
    interval = f" (95 % interval {ends}" if ends else ""
    return f"'{gap.row}' closed {share}{interval} of the gap between source only and the oracle."
