"""Ctrl-C and SIGTERM ask for a stop at the next safe moment; a second Ctrl-C stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from medi2i.errors import InterruptedRunError


class StopRequest:
    """Whether somebody asked this process to stop."""

    def __init__(self) -> None:
        self.requested = False

    def raise_if_requested(self, what: str, remedy: str) -> None:
        """Leave with the exit code for interruptions.

        Raises:
            InterruptedRunError: a stop was requested.
        """
        if self.requested:
            raise InterruptedRunError(what, found="a request to stop", expected="to finish", remedy=remedy)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request while the body runs; only the main thread can listen."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def listen(number: int, frame: FrameType | None) -> None:
        if request.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.requested = True

    previous = {number: signal.signal(number, listen) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
