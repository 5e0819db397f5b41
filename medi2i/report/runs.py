"""Several runs on one page: side by side in the order they are given, never ranked by how real they look."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medi2i.errors import UsageError
from medi2i.io.atomic import write_text_atomically
from medi2i.report.comparison import standing
from medi2i.report.headline import least_kept, why_no_gap
from medi2i.report.layout import render
from medi2i.report.results import Results, read_results
from medi2i.report.schema.downstream import Downstream, DownstreamRow
from medi2i.report.schema.verdict import GapClosed
from medi2i.report.tables import Row, Section, Table
from medi2i.report.wording import (
    UNDEFINED,
    by_reason,
    counted,
    duration,
    fixed,
    gap_words,
    patients_words,
    sentence,
    share_words,
    with_interval,
)

_COLUMNS = (
    "Run",
    "Method",
    "Verdict",
    "Gap closed",
    "Dice on films",
    "Certified, least",
    "Gradient correlation",
    "Position",
    "Time",
)


@dataclass(frozen=True, slots=True)
class NamedRun:
    """One run of a comparison."""

    name: str
    results: Results


def write_comparison(runs: Sequence[Path], page: Path) -> Path:
    """Write one page that holds several runs side by side, in the order given.

    Reads each run's `results.json`, nothing else.

    Args:
        runs: run folders, at least two different ones.
        page: the HTML file.

    Returns:
        the path of the page.

    Raises:
        UsageError: fewer than two runs, or one of them twice.
        CheckpointError: `results.json` of a run is missing or damaged.
        DiskFullError: there is no room for the page.
        EnvironmentProblemError: the folder can't be written to.
    """
    _require_several(runs)
    named = [
        NamedRun(name, read_results(run / "results.json"))
        for name, run in zip(_names(runs), runs, strict=True)
    ]
    write_text_atomically(page, render("runs.html.j2", _content(named)))
    return page


def find_differences(runs: Sequence[NamedRun]) -> list[str]:
    """Why the runs can't be compared: what differs of films, folds, seeds, labels and data, in words."""
    found = [_difference("Data", {run.name: _domains(run.results) for run in runs})]
    tested = [(run.name, run.results.downstream) for run in runs if run.results.downstream]
    for title, read in _CONDITIONS.items():
        found.append(_difference(title, {name: read(downstream) for name, downstream in tested}))
    untested = [run.name for run in runs if not run.results.downstream]
    if untested and tested:
        found.append(f"Not tested on labelled films: {', '.join(untested)}.")
    return [difference for difference in found if difference]


def comparison_table(runs: Sequence[NamedRun]) -> Table:
    """One row a run, in the order given."""
    rows = tuple(Row(run.name, _cells(run.results)) for run in runs)
    notes = (
        "Runs stand in the order they were given; none is ranked. How real the images look (position: 0 is "
        "as real images among themselves, 1 as untranslated) never ranks runs.",
        "Gap closed (%) and Dice (no unit, mean over structures) are of the adapter's row that the verdict "
        "is about, with 95 % intervals over patients and seeds. Certified: share of images, in the "
        "structure that was kept least. Gradient correlation (no unit): median over images. Time: of "
        "training and translation.",
    )
    return Table(_COLUMNS, (Section("", rows),), notes)


def adapter_row(results: Results) -> DownstreamRow | None:
    """The row that the verdict is about, else the adapter alone; None where neither was measured."""
    rows = {row.name: row for row in (results.downstream.rows if results.downstream else ())}
    chosen = results.verdict.adapter_row if results.verdict else None
    return rows.get(chosen or "adapter")


def _content(runs: Sequence[NamedRun]) -> dict[str, Any]:
    # imported here: matplotlib is slow, and a check of arguments needs none
    from medi2i.report.usefulness_figures import forest, gap_bar

    bars = [bar for run in runs if (bar := gap_bar(run.name, _gap_of(run.results), adapter=True)) is not None]
    over = ", ".join(
        f"{run.name} {patients_words(gap.n_patients)} and {counted(gap.n_seeds, 'seed')}"
        for run in runs
        if (gap := _gap_of(run.results)) is not None and gap.estimate is not None
    )
    without = [run.name for run in runs if run.name not in {bar.name for bar in bars}]
    return {
        "differences": find_differences(runs),
        "unproven": _unproven(runs),
        "table": comparison_table(runs),
        "figure": forest("runs", bars, f"{over}.") if bars else None,
        "without": by_reason((name, _why_none(runs, name)) for name in without),
        "unmeasured": not any(_was_measured(run.results) for run in runs),
        "reasons": [
            (run.name, run.results.verdict.name, sentence(run.results.verdict.reason))
            for run in runs
            if run.results.verdict
        ],
    }


def _cells(results: Results) -> tuple[str, ...]:
    where, gap = standing(results), _gap_of(results)
    invalid = _is_invalid(results)
    row = None if invalid else adapter_row(results)
    least = least_kept(results.preservation) if results.preservation and not invalid else None
    verdict = results.verdict.name if results.verdict else "not evaluated"
    kept = results.structure.translated.gradient_correlation.median
    return (
        results.run.method,
        verdict,
        _two_lines(gap_words(gap.estimate, gap.low, gap.high)) if gap else UNDEFINED,
        with_interval(row.mean.dice, 3) if row else UNDEFINED,
        _two_lines(share_words(least.share)) if least else UNDEFINED,
        fixed(kept, 2),
        fixed(where.position(where.translated), 2),
        duration(results.run.seconds),
    )


def _two_lines(value: str) -> str:
    estimate, _, ends = value.partition(" (")
    return f"{estimate}\n{ends.removesuffix(')')}" if ends else estimate


def _why_none(runs: Sequence[NamedRun], name: str) -> str:
    results = next(run.results for run in runs if run.name == name)
    if _is_invalid(results):
        return "the verdict is INVALID, so no share is shown"
    return why_no_gap(results) or "not measured"


def _was_measured(results: Results) -> bool:
    """Whether there is nothing left to measure of its gap: it was, or its measurements are INVALID."""
    return _is_invalid(results) or results.gap_closed is not None or results.downstream is not None


def _gap_of(results: Results) -> GapClosed | None:
    """What a run may be shown with: of an INVALID one no number is worth anything."""
    return None if _is_invalid(results) else results.gap_closed


def _is_invalid(results: Results) -> bool:
    return results.verdict is not None and results.verdict.name == "INVALID"


def _unproven(runs: Sequence[NamedRun]) -> str:
    """What equal counts leave open; empty where the films themselves were compared, or there are none."""
    measured = [run.results.downstream for run in runs if run.results.downstream]
    if not measured or all(downstream.settings.folds_hash for downstream in measured):
        return ""
    return "Films are compared by their numbers alone: equal numbers do not prove equal films."


def _difference(title: str, values: Mapping[str, str]) -> str:
    """`Seeds differ: a, b: 0; c: 1.`, runs with one value together; empty where all have the same."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        groups.setdefault(value, []).append(name)
    if len(groups) < 2:
        return ""
    said = "; ".join(f"{', '.join(names)}: {value}" for value, names in groups.items())
    return f"{title} differ. {said}."


def _films(downstream: Downstream) -> str:
    films = downstream.films
    text = f"{counted(films.n_images, 'film')} of {patients_words(films.n_patients)}"
    return f"{text}, structures {', '.join(films.structures)}"


def _folds(downstream: Downstream) -> str:
    known = downstream.settings.folds_hash
    return counted(downstream.settings.folds, "fold") + (f" ({known[:12]})" if known else "")


def _seeds(downstream: Downstream) -> str:
    return ", ".join(map(str, downstream.settings.seeds))


def _labels(downstream: Downstream) -> str:
    labels = downstream.labels
    conventions = f"{labels.source_convention or 'not stated'} and {labels.target_convention or 'not stated'}"
    joined = ", ".join(f"{name} = {' + '.join(parts)}" for name, parts in labels.map.items())
    return f"{conventions}, {joined}"


def _scoring(downstream: Downstream) -> str:
    settings = downstream.settings
    text = f"{settings.segmenter}, NSD at {settings.tolerance:g} {settings.unit}"
    return f"{text}, transductive" if settings.transductive else text


def _domains(results: Results) -> str:
    return " and ".join(
        f"{counted(domain.n_images, f'{name} image')} ({domain.splits.get('test', 0):,} for testing)"
        for name, domain in (("source", results.data.source), ("target", results.data.target))
    )


# What has to be the same for scores of two runs to be compared, by its name in a sentence.
_CONDITIONS: dict[str, Callable[[Downstream], str]] = {
    "Labelled films": _films,
    "Folds": _folds,
    "Seeds": _seeds,
    "Labels": _labels,
    "Segmenters and tolerances": _scoring,
}


def _require_several(runs: Sequence[Path]) -> None:
    different = {run.resolve() for run in runs}
    if len(runs) < 2 or len(different) < len(runs):
        raise UsageError(
            "runs",
            found=f"{counted(len(runs), 'run')}, {len(different)} of them different",
            expected="two or more different runs",
            remedy="name each run folder once; `medi2i report RUN` writes the page of one",
        )


def _names(runs: Sequence[Path]) -> list[str]:
    """Folder names; whole paths as given where two folders have the same."""
    short = [run.resolve().name for run in runs]
    return short if len(set(short)) == len(short) else [str(run) for run in runs]
