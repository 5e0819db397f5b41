"""`medi2i evaluate`: controls, certificate and downstream table of a finished run, and its verdict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medi2i.adaptation.results import version_of
from medi2i.adaptation.run_folder import RunFolder
from medi2i.downstream import Case, check_inputs, measure_downstream, take_share
from medi2i.errors import InterruptedRunError, UsageError
from medi2i.evaluation import read_results, write_results
from medi2i.preservation import (
    RunControls,
    judge_instruments,
    measure_hidden,
    measure_planted,
    measure_preservation,
    measure_realism,
)
from medi2i.proof.conclusion import conclude
from medi2i.proof.settings import EvaluateConfig
from medi2i.proof.takeover import FOLDER, take_over
from medi2i.report import write_report
from medi2i.training.engine import DeviceName
from medi2i.training.interruption import StopRequest, stop_on_signals

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

    Raises:
        CheckpointError: the run is not finished.
        SplitLeakError: the run has seen a test film or its patient, and that was not allowed.
        UsageError, InputError: the films, their labels or the masks of a tool don't fit; or results on
            labelled films would be lost.
        InterruptedRunError: Ctrl-C or SIGTERM; calling again continues.
    """
    config = config or EvaluateConfig()
    opened = _open(run, device)
    results = read_results(run / _RESULTS)
    if target_labels is None:
        _require_nothing_lost(run, results)
    else:  # wrong paths and names are told at once, not after minutes
        check_inputs(config.downstream, _case(opened, target_labels, predictions))
    if like is not None:
        take_over(like, run)
    try:
        with stop_on_signals() as stop:
            controls = judge_instruments(
                opened.domains, out=run, config=config.preservation, seed=config.seed, stop=stop
            )
            sections = _examine_once(opened, controls, config, stop)
            table = None
            if target_labels is not None:
                case = _case(opened, target_labels, predictions)
                table = measure_downstream(config.downstream, case, stop=stop)
    except InterruptedRunError as error:
        raise _interrupted(run) from error
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
    config = config or EvaluateConfig()
    opened = _open(run, device)
    case = _case(opened, target_labels, predictions)
    check_inputs(config.downstream, case)
    if like is not None and shard[0] == 1:
        take_over(like, run)
    try:
        with stop_on_signals() as stop:
            told = take_share(config.downstream, case, shard, stop=stop)
            if shard[0] == 1:
                controls = judge_instruments(
                    opened.domains, out=run, config=config.preservation, seed=config.seed, stop=stop
                )
                _examine_once(opened, controls, config, stop)
    except InterruptedRunError as error:
        raise _interrupted(run) from error
    return told


def _examine_once(
    opened: RunFolder, controls: RunControls, config: EvaluateConfig, stop: StopRequest
) -> dict[str, Any]:
    """`_examine`, or what an earlier call with the same settings, weights and thresholds found."""
    facts = {
        "medi2i": version_of("medi2i"),
        "config": config.model_dump(mode="json", include={"seed", "preservation"}),
        "weights": opened.translator.origin["weights_sha256"],
        "images": [row.sha256 for row in opened.domains.source],
        "controls": controls.section,
    }
    key = hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()
    path = opened.folder / FOLDER / "examined.json"
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if kept.get("key") != key:
        kept = write_results(path, {"key": key, "sections": _examine(opened, controls, config, stop)})
    sections: dict[str, Any] = kept["sections"]
    return sections


def _examine(
    opened: RunFolder, controls: RunControls, config: EvaluateConfig, stop: StopRequest
) -> dict[str, Any]:
    """Everything that needs no label of a film."""
    settings, domains, run = config.preservation, opened.domains, opened.folder
    seed, translate = config.seed, opened.translate_source
    preservation = measure_preservation(
        domains, opened.translation, controls, out=run, config=settings, stop=stop
    )
    preservation["content_controls"] = measure_planted(
        domains, translate, controls, out=run, config=settings, seed=seed, stop=stop
    )
    preservation["steganography"] = measure_hidden(
        domains,
        translate,
        opened.translate_back if opened.bidirectional else None,
        config=settings,
        seed=seed,
        stop=stop,
    )
    realism = measure_realism(
        domains,
        opened.translation,
        feature_size=opened.config.evaluation.feature_size,
        config=settings,
        seed=seed,
        stop=stop,
    )
    return {"controls": dict(controls.section), "preservation": preservation, "realism": realism}


def _open(run: Path, device: DeviceName) -> RunFolder:
    if not run.is_dir():
        raise UsageError(
            run,
            found="no such folder",
            expected="the run folder of a finished `medi2i adapt`",
            remedy="check the path",
        )
    return RunFolder(run, device=device)


def _case(opened: RunFolder, films: Path, predictions: Mapping[str, Path] | None) -> Case:
    return Case(
        domains=opened.domains,
        translated=opened.folder / "translated",
        source=opened.config.folder("source"),
        target=opened.config.folder("target"),
        films=films,
        out=opened.folder / FOLDER,
        translate_films=opened.translator,
        extra=predictions or {},
        device=opened.device,
    )


def _interrupted(run: Path) -> InterruptedRunError:
    return InterruptedRunError(
        run,
        found="interrupted",
        expected="to come to the end",
        remedy="run the same command again: trainings and scores that are finished are kept",
    )


def _require_nothing_lost(run: Path, results: Mapping[str, Any]) -> None:
    """Refuse to replace a verdict on labelled films by one without them."""
    if results.get("downstream") is not None:
        raise UsageError(
            run,
            found="results on labelled films, and no --target-labels now",
            expected="the same films again: what is finished is not computed twice",
            remedy="add --target-labels, or evaluate a copy of the run",
        )
