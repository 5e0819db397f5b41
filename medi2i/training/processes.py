"""Processes that work beside the first one: quiet, of a number of threads, and gone when it is."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import torch

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


def stop_with_parent(parent: int) -> None:
    """In a new process that stops at a safe moment when asked: ask it soon after its parent was killed.

    Args:
        parent: process id of the parent.
    """
    _watch_parent(parent, lambda: os.kill(os.getpid(), signal.SIGTERM))


def _watch_parent(parent: int, then: Callable[[], None]) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_FOR_PARENT_S)
        then()

    threading.Thread(target=watch, daemon=True).start()
