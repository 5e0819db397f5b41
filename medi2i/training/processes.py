"""Processes that work beside the first one: quiet, of a number of threads, and gone when it is."""

from __future__ import annotations

import os
import signal
import threading
import time

import torch

_LOOK_FOR_PARENT_S = 1.0


def start_worker(threads: int) -> None:
    """In a new process: only the first one listens to Ctrl-C, and tells the others; without it they end.

    Args:
        threads: that numerical work may take.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process soon after its parent was killed, who could not tell it to."""
    while os.getppid() == parent:
        time.sleep(_LOOK_FOR_PARENT_S)
    os._exit(1)  # records are written last, so what is unfinished now counts as not there
