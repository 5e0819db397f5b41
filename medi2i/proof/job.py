"""`medi2i evaluate`: controls, certificate and downstream table of a finished run, and its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medi2i.downstream import check_inputs, measure_downstream
from medi2i.errors import InterruptedRunError, UsageError
from medi2i.evaluation import read_results, write_results
from medi2i.io.hold import hold_folder
from medi2i.proof.asked import Asked, interrupted
from medi2i.proof.conclusion import conclude
from medi2i.proof.examination import examine
from medi2i.proof.settings import EvaluateConfig
from medi2i.proof.shares import compute_in_processes, compute_share
from medi2i.proof.takeover import take_over
from medi2i.report import write_report
from medi2i.training.engine import DeviceName
from medi2i.training.interruption import stop_on_signals

_RESULTS = "results.json"


@dataclass(frozen=True)
class EvaluateResult:
    """What an evaluation leaves.

    Attributes:
        run: the run folder, with `report.html`, `certificate.jsonl`, `results.json` and `evaluation/`.
        results: the content of `results.json`.
    """

    run: Path
    results: dict[str, Any]


def evaluate(
    run: Path,
    config: EvaluateConfig | None = None,
    *,
    target_labels: Path | None = None,
    predictions: Mapping[str, Path] | None = None,
    like: Path | None = None,
    device: DeviceName = "auto",
    jobs: int = 1,
) -> EvaluateResult:
    """Judge a finished run: whether anatomy survived, and whether training on its images is worth it.

    What an interrupted call finished, trainings and scores, is not computed again.

    Args:
        run: a run folder of `medi2i adapt`.
        config: settings; the defaults without it.
        target_labels: data set folder of labelled films that no training saw. Without it nothing can be said
            of usefulness, and the report says that.
        predictions: name to folder of masks that other tools found on these films.
        like: another evaluated run; what its evaluation finished that this one needs too is taken over.
        device: where to compute.
        jobs: processes that share the trainings on labelled films; more than one, and a script that calls
            this has to guard its entry point, as `multiprocessing` asks.

    Raises:
        CheckpointError: the run is not finished.
        SplitLeakError: the run has seen a test film or its patient, and that was not allowed.
        UsageError, InputError: the films, their labels or the masks of a tool don't fit; or results on
            labelled films would be lost.
        InterruptedRunError: Ctrl-C or SIGTERM; calling again continues.
    """
    asked = Asked(run, config or EvaluateConfig(), target_labels, predictions or {}, device)
    opened = asked.open()
    results = read_results(run / _RESULTS)
    if target_labels is None:
        _require_nothing_lost(run, results)
    else:  # wrong paths and names are told at once, not after minutes
        check_inputs(asked.config.downstream, asked.case(opened, target_labels))
    if like is not None:
        take_over(like, run)
    try:
        with stop_on_signals() as stop, hold_folder(run):
            if target_labels is not None and jobs > 1:
                compute_in_processes(asked, target_labels, jobs, stop)
            controls, sections = examine(opened, asked.config, stop)
            table = None
            if target_labels is not None:
                case = asked.case(opened, target_labels)
                table = measure_downstream(asked.config.downstream, case, stop=stop)
    except InterruptedRunError as error:
        raise interrupted(run) from error
    sections["downstream"] = None if table is None else table.facts
    concluded = conclude(controls.controls, sections["preservation"], table)
    # the verdict stands first
    written = write_results(run / _RESULTS, concluded | results | sections | concluded)
    write_report(run)
    return EvaluateResult(run, written)


def evaluate_share(
    run: Path,
    config: EvaluateConfig | None = None,
    *,
    shard: tuple[int, int],
    target_labels: Path,
    predictions: Mapping[str, Path] | None = None,
    like: Path | None = None,
    device: DeviceName = "auto",
) -> str:
    """One share of an evaluation, of as many processes or machines as share the run folder.

    The first share also tries the instruments and measures what needs no label. `evaluate` takes up what all
    of them have finished, does the rest, and reaches the verdict.

    Args:
        run, config, target_labels, predictions, like, device: as of `evaluate`.
        shard: (i, n): every n-th training, from the i-th.

    Returns:
        in words, what was done and what comes next.

    Raises:
        As `evaluate`.
    """
    asked = Asked(run, config or EvaluateConfig(), target_labels, predictions or {}, device)
    asked.open()
    if like is not None and shard[0] == 1:
        take_over(like, run)
    try:
        with stop_on_signals() as stop, hold_folder(run, alone=False):
            return compute_share(asked, target_labels, shard, stop)
    except InterruptedRunError as error:
        raise interrupted(run) from error


def _require_nothing_lost(run: Path, results: Mapping[str, Any]) -> None:
    """Refuse to replace a verdict on labelled films by one without them."""
    if results.get("downstream") is not None:
        raise UsageError(
            run,
            found="results on labelled films, and no --target-labels now",
            expected="the same films again: what is finished is not computed twice",
            remedy="add --target-labels, or evaluate a copy of the run",
        )
