"""All views of all patients: one by one or in several processes, resumed, shared by machines."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from medi2i.drr.patients import PatientFiles, find_patients
from medi2i.errors import (
    InputError,
    NothingUsableError,
    UnusableVolumeError,
    UsageError,
)
from medi2i.io.atomic import sweep_unfinished
from medi2i.io.hold import hold_folder
from medi2i.rendering import records
from medi2i.rendering.framing import fit_to_films, write_fit
from medi2i.rendering.patient import PatientResult, output_structures, render_patient
from medi2i.rendering.settings import DRRConfig
from medi2i.training.engine import DeviceName, require_device
from medi2i.training.interruption import StopRequest, stop_on_signals
from medi2i.training.processes import result_of, start_worker
from medi2i.training.progress import Progress

_REMEDY = "run the same command again: what is finished is kept"


@dataclass(frozen=True, slots=True)
class RenderResult:
    """What a rendering left behind.

    Attributes:
        out: the data set folder.
        images: how many images it holds, from this call and earlier ones.
        rendered: how many this call made.
        skipped: (CT, reason) of patients that could not be used.
        notes: what a user should know, in plain words.
    """

    out: Path
    images: int
    rendered: int
    skipped: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """One patient's share of the work: what a process needs to know."""

    config: DRRConfig
    files: PatientFiles
    structures: tuple[str, ...]
    out: Path
    device: str


def render_drrs(
    config: DRRConfig,
    ct: Path,
    *,
    out: Path,
    labels: Path | None = None,
    series: str | None = None,
    framing_target: Path | None = None,
    workers: int = 1,
    shard: tuple[int, int] = (1, 1),
    device: DeviceName = "auto",
) -> RenderResult:
    """Render the DRRs of one CT, or of a folder of patients, with masks.

    Calling it again goes on where it was stopped: a view that is there is not rendered again. Files are the
    same, byte for byte, for any number of workers and shards.

    Args:
        config: what to render.
        ct: a NIfTI file, a folder with one DICOM series, or a folder of patients.
        out: the data set folder; new, empty, or of the same rendering.
        labels: structures of a single CT: a label map or a folder of one file a structure.
        series: which of several DICOM series, by number or UID.
        framing_target: films that the framing is fitted to; a fit that `out` holds is taken as it is.
        workers: processes; patients are shared among them.
        shard: (i, n): this call takes every n-th patient, from the i-th.
        device: where to compute.

    Raises:
        UsageError: nothing is at `ct`, or `shard` or a structure's name is wrong.
        OutputExistsError: `out` holds something else.
        InputError: a single CT can't be used.
        NothingUsableError: no patient could be used.
        InterruptedRunError: a stop was asked for; what is finished is kept.
        DiskFullError: the disk is full; what is finished is kept.
    """
    number, count = _check_shard(shard)
    patients = find_patients(ct, labels, series)
    structures = output_structures(config, patients)
    computes_on = _choose_device(device)
    fit = None
    if framing_target is not None and records.is_begun(out):
        config = config.model_copy(update={"framing": records.read_config(out).framing})
    elif framing_target is not None:
        fit = fit_to_films(config, patients, framing_target, structures=structures, device=computes_on)
        config = config.model_copy(update={"framing": fit.distribution})
    with hold_folder(out, alone=count == 1):
        records.open_folder(out, config)
        if fit is not None:
            write_fit(out, config, fit)
        if count == 1:  # otherwise another machine may be writing
            for folder in (out, *(path for path in out.iterdir() if path.is_dir())):
                sweep_unfinished(folder)
        mine = patients[number - 1 :: count]
        tasks = [Task(config, files, structures, out, computes_on) for files in mine]
        progress = Progress("DRRs", len(tasks) * config.views)
        try:
            with stop_on_signals() as stop:
                run = _run_here if workers == 1 or len(tasks) == 1 else _run_in_processes
                outcome = run(tasks, workers, stop, progress)
            for task in tasks:
                records.clear_skipped(out, task.files.ct)
            for files, error in outcome.skipped:
                records.write_skipped(out, files.ct, str(error))
        finally:
            progress.close()
            images = records.write_tables(out, config)
    skipped = outcome.skipped
    if skipped and len(patients) == 1:
        raise skipped[0][1]
    if images == 0:
        raise NothingUsableError(
            ct,
            found=f"none of {len(skipped)} patient(s) usable; {skipped[0][1] if skipped else 'none'}",
            expected="at least one CT that can be rendered",
            remedy="mend what the messages name",
        )
    told = tuple((files.ct, str(error)) for files, error in skipped)
    notes = [*(() if fit is None else fit.notes), *outcome.notes]
    return RenderResult(out, images, outcome.rendered, told, tuple(dict.fromkeys(notes)))


def parse_shard(text: str) -> tuple[int, int]:
    """`1/2` as (1, 2).

    Raises:
        UsageError: it is no such pair.
    """
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit()):
        raise UsageError(
            f"--shard {text}", found="no pair of numbers", expected="i/n, e.g. 1/2", remedy="give both"
        )
    return _check_shard((int(number), int(count)))


def _check_shard(shard: tuple[int, int]) -> tuple[int, int]:
    number, count = shard
    if not 1 <= number <= count:
        raise UsageError(
            f"--shard {number}/{count}",
            found="a number outside the count",
            expected="i/n with i from 1 to n",
            remedy="for two machines give 1/2 to one and 2/2 to the other",
        )
    return number, count


def _choose_device(device: DeviceName) -> str:
    require_device(device)
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(slots=True)
class _Outcome:
    """What the patients that are done amount to."""

    rendered: int = 0
    skipped: list[tuple[PatientFiles, InputError]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    first: dict[str, Path] = field(default_factory=dict)  # CT of each key

    def add(self, task: Task, result: PatientResult) -> None:
        """Take in one patient: why it is no part of the set, or that it is there under another name."""
        self.rendered += result.rendered
        self.notes += result.notes
        if result.error is not None:
            self.skipped.append((task.files, result.error))
        elif result.key is not None and self.first.setdefault(result.key, task.files.ct) != task.files.ct:
            same = UnusableVolumeError(
                task.files.ct,
                found=f"the same CT as {self.first[result.key]}",
                expected="each patient once",
                remedy="leave one of them out",
            )
            self.skipped.append((task.files, same))


def _run_here(tasks: Sequence[Task], workers: int, stop: StopRequest, progress: Progress) -> _Outcome:
    outcome = _Outcome()
    for task in tasks:
        outcome.add(task, _render(task, lambda: stop.requested, progress.advance))
        stop.raise_if_requested("medi2i drr", _REMEDY)
    return outcome


def _run_in_processes(tasks: Sequence[Task], workers: int, stop: StopRequest, progress: Progress) -> _Outcome:
    """Patients shared among processes; each stops after the view it is at when a stop is asked for."""
    context = multiprocessing.get_context("spawn")
    views, ended = context.SimpleQueue(), context.Event()
    workers = min(workers, len(tasks))
    threads = max(1, torch.get_num_threads() // workers)
    outcome = _Outcome()
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(views, ended, threads)
    ) as pool:
        waiting = {pool.submit(_work, task): task for task in tasks}
        try:
            while waiting:
                for future in wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED).done:
                    outcome.add(waiting.pop(future), result_of(future, room_for="one CT"))
                while not views.empty():
                    views.get()
                    progress.advance()
                stop.raise_if_requested("medi2i drr", _REMEDY)
        except BaseException:
            ended.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    outcome.skipped.sort(key=lambda item: str(item[0].ct))
    return outcome


def _render(task: Task, stopped: Callable[[], bool], finished: Callable[[], object]) -> PatientResult:
    return render_patient(
        task.config,
        task.files,
        structures=task.structures,
        out=task.out,
        device=task.device,
        stopped=stopped,
        finished=finished,
    )


_worker: dict[str, Any] = {}


def _start_worker(views: Any, ended: Any, threads: int) -> None:
    start_worker(threads)
    _worker.update(views=views, ended=ended)


def _work(task: Task) -> PatientResult:
    return _render(task, _worker["ended"].is_set, lambda: _worker["views"].put(None))
