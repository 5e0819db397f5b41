"""The main job, from its start to the report."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medi2i.adaptation.settings import AdaptConfig
from medi2i.adaptation.stages import Stages, check_settings
from medi2i.data.manifest import Skipped
from medi2i.errors import OutputExistsError
from medi2i.io.hold import hold_folder
from medi2i.report import write_report
from medi2i.training.engine import DeviceName
from medi2i.training.interruption import stop_on_signals


@dataclass(frozen=True)
class AdaptResult:
    """What a finished job leaves.

    Attributes:
        run: the run folder, with `report.html`, `results.json`, `translated/` and `checkpoints/`.
        results: the content of `results.json`; empty in processes after the first.
        skipped: images that could not be used.
    """

    run: Path
    results: dict[str, Any]
    skipped: list[Skipped]


def adapt(
    config: AdaptConfig, *, out: Path, resume: bool = False, device: DeviceName = "auto"
) -> AdaptResult:
    """Learn a translation between two unpaired folders, translate the source, measure, and report.

    Args:
        config: with `source` and `target` set; for a resumed run, `load_run_config` of it.
        out: the run folder; new, or with `resume` one that an interrupted job left.
        resume: continue at the last checkpoint; stages that are complete are not repeated.

    Raises:
        UsageError: folders missing, `out` in use, or the two domains hold the same files.
        NothingUsableError: a domain has no usable images.
        InterruptedRunError: Ctrl-C or SIGTERM; `resume` continues.
        NonFiniteLossError: training diverged; the last good checkpoint is kept.
    """
    begin = time.monotonic()
    with stop_on_signals() as stop, ExitStack() as held:
        stages = Stages(config, out, device, stop)
        if stages.engine.is_main_process:
            check_out(out, resume=resume)
            held.enter_context(hold_folder(out))
        adapter = check_settings(config, out)
        # the first process reads and writes the manifest; the others find it there
        with stages.engine.main_process_first():
            stages.prepare(paired=adapter.needs_pairs)
        stages.fix_reference()
        stages.learn()
        stages.engine.wait_for_everyone()
        if not stages.engine.is_main_process:
            return AdaptResult(out, {}, stages.found.skipped)
        stages.translate()
        results = stages.measure(seconds=lambda: time.monotonic() - begin)
        write_report(out)
    return AdaptResult(out, results, stages.found.skipped)


def check_out(out: Path, *, resume: bool) -> None:
    """Refuse to mix a new job with what is there, before anything is read.

    Raises:
        OutputExistsError: `out` holds something else, or a run that is not to be resumed.
    """
    is_run = (out / "config.yaml").is_file()
    if out.exists() and not out.is_dir():
        raise OutputExistsError(out, found="a file", expected="a folder", remedy="choose another --out")
    if out.is_dir() and any(out.iterdir()):
        if not is_run:
            raise OutputExistsError(
                out,
                found="a folder that is no run of medi2i",
                expected="a new folder",
                remedy="choose another --out",
            )
        if not resume:
            raise OutputExistsError(
                out,
                found="a run",
                expected="a new folder",
                remedy="continue it with --resume, or choose another --out",
            )
