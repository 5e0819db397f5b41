"""The trainings of an evaluation shared by processes: those of one machine, or one share of many."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import torch

from medi2i.downstream import count_trainings, take_share
from medi2i.errors import EnvironmentProblemError, ExitCode, InterruptedRunError, Medi2iError
from medi2i.proof.asked import Asked, interrupted
from medi2i.proof.examination import examine
from medi2i.proof.takeover import FOLDER
from medi2i.training.engine import DeviceName, chooses_gpu
from medi2i.training.interruption import StopRequest
from medi2i.training.processes import logged_process
from medi2i.training.progress import Progress

_MOST_JOBS = 4  # on a CPU: each takes a GiB or more
_LOOK_S = 0.5
_ROUNDS = 2  # without target labels; then with them, and scores

Shard = tuple[int, int]


def default_jobs(device: DeviceName) -> int:
    """Processes that share an evaluation on this machine: one a GPU; on a CPU one a core, four at most."""
    if chooses_gpu(device):
        return max(1, torch.cuda.device_count())
    return min(_MOST_JOBS, os.cpu_count() or 1)


def compute_share(asked: Asked, films: Path, shard: Shard, stop: StopRequest) -> str:
    """One share of the trainings, see `medi2i.downstream.take_share`; the first one examines the run, too.

    Returns:
        in words, what was done and what comes next.
    """
    told = _train_share(asked, films, shard, stop)
    if shard[0] == 1:
        examine(asked.open(), asked.config, stop)
    return told


def compute_in_processes(asked: Asked, films: Path, jobs: int, stop: StopRequest) -> None:
    """All trainings, in several processes; one more examines the run meanwhile.

    Their words are in `evaluation/share-1-of-2.log` and so on. What they leave undone, the caller does.

    Raises:
        InterruptedRunError: a stop was requested; what is finished is kept.
        EnvironmentProblemError: the system ended a process.
        Medi2iError: what a process raised.
    """
    context = multiprocessing.get_context("spawn")
    failures: SimpleQueue[Medi2iError] = context.SimpleQueue()
    parts: list[Shard] = [(number, jobs) for number in range(1, jobs + 1)]
    models = asked.run / FOLDER / "segmenters"
    counted, total = _count(models), count_trainings(asked.config.downstream, asked.case(asked.open(), films))
    print(f"{jobs} processes; what they say is in {asked.run / FOLDER}/*.log", file=sys.stderr)
    progress = Progress("segmenters", total, initial=min(counted, total))
    running = [_start(context, asked, films, None, jobs, failures)]
    try:
        for _ in range(_ROUNDS):
            shares = [_start(context, asked, films, part, jobs, failures) for part in parts]
            running += shares
            while any(process.is_alive() for process in shares):
                _require_well(running, failures, asked)
                stop.raise_if_requested(str(asked.run), "run the same command again to continue")
                for _ in range(counted, min(found := _count(models), total)):
                    progress.advance()
                counted = max(counted, found)
                time.sleep(_LOOK_S)
        while running[0].is_alive():
            stop.raise_if_requested(str(asked.run), "run the same command again to continue")
            time.sleep(_LOOK_S)
        _require_well(running, failures, asked)
    finally:
        progress.close()
        for process in running:
            process.terminate()  # asks for a stop at the next safe moment
        for process in running:
            process.join()


def _train_share(asked: Asked, films: Path, shard: Shard, stop: StopRequest) -> str:
    return take_share(asked.config.downstream, asked.case(asked.open(), films), shard, stop=stop)


def _count(models: Path) -> int:
    return sum(1 for _ in models.glob("**/model.json"))


def _start(
    context: SpawnContext,
    asked: Asked,
    films: Path,
    part: Shard | None,
    jobs: int,
    failures: SimpleQueue[Medi2iError],
) -> SpawnProcess:
    threads = max(1, torch.get_num_threads() // jobs)
    process = context.Process(target=_work, args=(asked, films, part, threads, os.getpid(), failures))
    process.start()
    return process


def _require_well(running: Sequence[SpawnProcess], failures: SimpleQueue[Medi2iError], asked: Asked) -> None:
    if not failures.empty():
        raise failures.get()
    codes = [process.exitcode for process in running if process.exitcode not in (None, ExitCode.DONE)]
    if ExitCode.INTERRUPTED in codes:
        raise interrupted(asked.run)
    if codes:
        raise EnvironmentProblemError(
            asked.run,
            found=f"a process ended with code {codes[0]}, most likely for want of memory",
            expected="room for each job",
            remedy=f"give fewer --jobs and run the same command again; their words are in {FOLDER}/*.log",
        )


def _work(
    asked: Asked,
    films: Path,
    part: Shard | None,
    threads: int,
    parent: int,
    failures: SimpleQueue[Medi2iError],
) -> None:
    """In a new process: a share, or the examination."""
    if part is not None and torch.cuda.device_count() > 1:
        # before anything computes on one: each process sees a GPU of its own
        os.environ["CUDA_VISIBLE_DEVICES"] = _visible_devices()[(part[0] - 1) % torch.cuda.device_count()]
    name = "examination" if part is None else f"share-{part[0]}-of-{part[1]}"
    log = asked.run / FOLDER / f"{name}.log"
    code = ExitCode.DONE
    with logged_process(threads, parent, log) as stop:
        try:
            if part is None:
                examine(asked.open(), asked.config, stop)
            else:
                print(_train_share(asked, films, part, stop))
        except InterruptedRunError:
            code = ExitCode.INTERRUPTED
        except Medi2iError as error:
            failures.put(error)
            code = error.exit_code
    sys.exit(int(code))


def _visible_devices() -> list[str]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]
