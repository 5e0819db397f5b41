"""Processes that work beside the first one: quiet, of a number of threads, and gone when it is."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TypeVar

import torch

from medi2i.errors import EnvironmentProblemError
from medi2i.training.interruption import StopRequest, stop_on_signals

_Result = TypeVar("_Result")

_LOOK_FOR_PARENT_S = 1.0


def start_worker(threads: int) -> None:
    """In a new process: only the first one listens to Ctrl-C, and tells the others; without it they end.

    Args:
        threads: that numerical work may take.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    # records are written last, so what is unfinished now counts as not there
    _watch_parent(os.getppid(), lambda: os._exit(1))


def _stop_with_parent(parent: int) -> None:
    """In a new process that stops at a safe moment when asked: ask it soon after its parent was killed.

    Args:
        parent: process id of the parent.
    """
    _watch_parent(parent, lambda: os.kill(os.getpid(), signal.SIGTERM))


@contextmanager
def logged_process(threads: int, parent: int, log: Path) -> Iterator[StopRequest]:
    """In a new process of one job: words to a log, and a stop when its parent is gone."""
    torch.set_num_threads(threads)
    _stop_with_parent(parent)
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("a", encoding="utf-8") as stream,
        redirect_stdout(stream),
        redirect_stderr(stream),
        stop_on_signals() as stop,
    ):
        yield stop


def result_of(future: Future[_Result], *, room_for: str) -> _Result:
    """What a worker of `--workers` made.

    Args:
        future: of it.
        room_for: what each process needs room for, in words.

    Raises:
        EnvironmentProblemError: the system ended a process; else what the worker raised.
    """
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise EnvironmentProblemError(
            "--workers",
            found="a process that the system ended, most likely for want of memory",
            expected=f"room for {room_for} in each process",
            remedy="give fewer --workers and run the same command again: what is finished is kept",
        ) from error


def _watch_parent(parent: int, then: Callable[[], None]) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_FOR_PARENT_S)
        then()

    threading.Thread(target=watch, daemon=True).start()
