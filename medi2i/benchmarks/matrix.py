"""All cells of a suite: one by one or several at a time, resumed, shared by machines."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from medi2i.benchmarks.cells import (
    Cell,
    State,
    complete_cell,
    describe_suite,
    plan_cells,
    read_failure,
    record_failure,
    require_measurable,
    share_of,
)
from medi2i.benchmarks.datasets import make_phantom, require_same_phantom
from medi2i.benchmarks.folders import Groundwork
from medi2i.benchmarks.page import write_page
from medi2i.benchmarks.records import join_records, write_records
from medi2i.benchmarks.suite import SuiteConfig
from medi2i.benchmarks.table import compose_table, write_table
from medi2i.config import dump_config, load_config
from medi2i.errors import EnvironmentProblemError, ExitCode, InterruptedRunError, OutputExistsError
from medi2i.io.atomic import write_text_atomically
from medi2i.io.hold import hold_folder
from medi2i.training.engine import DeviceName, require_device
from medi2i.training.interruption import StopRequest, stop_on_signals
from medi2i.training.processes import logged_process
from medi2i.training.progress import Progress

_LOOK_S = 0.2
_REMEDY = "run the same command again: what is finished is kept"


@dataclass(frozen=True)
class BenchmarkResult:
    """What a call left behind.

    Attributes:
        out: the benchmark's folder, with `table.md`, `table.csv`, `table.json` and `index.html`.
        finished: cells of this call's share that are finished.
        failed: name of each cell that failed in this call, and why.
        missing: cells of the whole suite that are not finished.
    """

    out: Path
    finished: int
    failed: dict[str, str]
    missing: int


def run_benchmark(
    suite: SuiteConfig,
    *,
    out: Path,
    shard: tuple[int, int] = (1, 1),
    jobs: int = 1,
    rows: Sequence[str] = (),
    device: DeviceName = "auto",
    join: Sequence[Path] = (),
) -> BenchmarkResult:
    """Run what is missing of a suite, measure it, and write the table of all that is finished.

    Calling it again goes on where it was stopped: a finished cell is not touched, a begun one is resumed, one
    that failed is tried again.

    Args:
        suite: what to run.
        out: the benchmark's folder; new, or of the same suite.
        shard: (i, n): this call takes every n-th cell, from the i-th.
        jobs: cells at a time, each in a process with its share of the cores.
        rows: only these rows; all without it.
        device: where to compute.
        join: `cells.jsonl` of other machines; what they finished counts as finished.

    Raises:
        UsageError: no such row, a data set has no folder, or lacks what a measure needs.
        OutputExistsError: `out` holds something else.
        CheckpointError: a file of `join` is missing or damaged.
        InterruptedRunError: a stop was asked for; what is finished is kept.
    """
    require_device(device)
    everything = plan_cells(suite, out, shard=shard)  # now: presets may be edited while it runs
    cells = plan_cells(suite, out, rows=rows, shard=shard)
    if join:
        _require_own_folder(suite, out)
        write_text_atomically(out / "suite.yaml", dump_config(suite))
        for path in join:
            taken = join_records(everything, path)
            print(f"joined: {taken} finished cell(s) of {path}", file=sys.stderr)
    mine = _still_to_do(suite, share_of(cells, shard), out)
    write_text_atomically(out / "suite.yaml", dump_config(suite))
    with stop_on_signals() as stop, hold_folder(out, alone=shard[1] == 1):
        for name, data in suite.data.items():
            make_phantom(name, data, out, shard=shard, stop=stop)
        _prepare(mine, device, stop)
        progress = Progress("cells", len(mine))
        failed: dict[str, str] = {}

        def ended(cell: Cell, done: bool) -> None:
            if not done:
                failed[cell.name] = read_failure(cell) or "unknown"
            progress.advance(cell.name)

        try:
            if jobs == 1:
                _run_here(mine, device, stop, ended)
            else:
                _run_in_processes(mine, jobs, device, stop, ended)
        finally:
            progress.close()
            table = compose_table(suite, everything)
            write_table(table, out)
            write_page(table, out)
            write_records(everything, out)
    missing = len(table["missing"]) + len(table["failed"])
    return BenchmarkResult(out, len(share_of(cells, shard)) - len(failed), failed, missing)


def describe_benchmark(
    suite: SuiteConfig, *, out: Path, shard: tuple[int, int] = (1, 1), rows: Sequence[str] = ()
) -> list[tuple[str, State]]:
    """Name and state of each cell of a share; nothing is written.

    Raises:
        UsageError, OutputExistsError: what `run_benchmark` would refuse before its first cell.
    """
    cells = share_of(plan_cells(suite, out, rows=rows, shard=shard), shard)
    _still_to_do(suite, cells, out)
    return describe_suite(cells)


def _still_to_do(suite: SuiteConfig, cells: Sequence[Cell], out: Path) -> list[Cell]:
    """The cells that are not finished; refuses what can be seen to be wrong before the first one."""
    _require_own_folder(suite, out)
    for name, data in suite.data.items():
        require_same_phantom(name, data, out)
    unfinished = [cell for cell in cells if cell.state() is not State.FINISHED]
    require_measurable(unfinished)
    return unfinished


def _require_own_folder(suite: SuiteConfig, out: Path) -> None:
    """Refuse a folder that is something else's."""
    mark = out / "suite.yaml"
    if mark.is_file():
        there = load_config(mark, SuiteConfig)
        if there.name != suite.name:
            raise OutputExistsError(
                out,
                found=f"suite '{there.name}'",
                expected=f"a new folder, or one of suite '{suite.name}'",
                remedy="choose another --out",
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExistsError(
            out,
            found="something that is no benchmark of medi2i",
            expected="a new folder",
            remedy="choose another --out",
        )


def _prepare(cells: Sequence[Cell], device: DeviceName, stop: StopRequest) -> None:
    """What measures need once for a data set, before any cell that lacks them."""
    require_measurable(cells)
    done: set[tuple[str, str]] = set()
    for cell in cells:
        for settings in cell.missing_measures():
            if (cell.data, settings.name) not in done:
                done.add((cell.data, settings.name))
                settings.prepare(Groundwork(cell.folders, cell.shared, device, stop))


def _run_here(
    cells: Sequence[Cell], device: DeviceName, stop: StopRequest, ended: Callable[[Cell, bool], None]
) -> None:
    for cell in cells:
        ended(cell, complete_cell(cell, device))
        stop.raise_if_requested("medi2i benchmark", _REMEDY)


def _run_in_processes(
    cells: Sequence[Cell],
    jobs: int,
    device: DeviceName,
    stop: StopRequest,
    ended: Callable[[Cell, bool], None],
) -> None:
    """A process a cell: memory is given back, and one that the system ends takes no other with it."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // jobs)
    waiting, running = list(cells), dict[Cell, SpawnProcess]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.pop(0)
                process = context.Process(target=_work, args=(cell, device, threads, os.getpid()))
                process.start()
                running[cell] = process
            for cell in [cell for cell, process in running.items() if not process.is_alive()]:
                code = running.pop(cell).exitcode
                ended(cell, _judge(cell, code))
            stop.raise_if_requested("medi2i benchmark", _REMEDY)
            time.sleep(_LOOK_S)
    finally:
        for process in running.values():
            process.terminate()  # asks for a stop at the next safe moment
        for process in running.values():
            process.join()


def _judge(cell: Cell, code: int | None) -> bool:
    """Whether a cell's process finished it; one that could not say why it ended is written down here."""
    if code == ExitCode.INTERRUPTED:
        raise InterruptedRunError(cell.name, found="a request to stop", expected="to finish", remedy=_REMEDY)
    if code not in (ExitCode.DONE, ExitCode.FAILED):
        record_failure(
            cell,
            EnvironmentProblemError(
                cell.name,
                found=f"its process ended with code {code}, most likely for want of memory",
                expected="room for each job",
                remedy="give fewer --jobs and run the same command again",
            ),
        )
    return code == ExitCode.DONE


def _work(cell: Cell, device: DeviceName, threads: int, parent: int) -> None:
    """In a new process: one cell, its words in a log beside the run."""
    log = cell.folder.with_name(f"{cell.folder.name}.log")
    with logged_process(threads, parent, log) as stop:
        try:
            done = complete_cell(cell, device)
            code = ExitCode.DONE if done else ExitCode.FAILED
        except InterruptedRunError:
            code = ExitCode.INTERRUPTED
        if stop.requested and code is ExitCode.FAILED:
            code = ExitCode.INTERRUPTED
    sys.exit(int(code))
