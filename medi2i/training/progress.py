"""A progress bar on a terminal, plain lines elsewhere, and the training log."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

_PLAIN_SECONDS = 20.0


class Progress:
    """Counts finished units of work; `rank` other than 0 stays silent."""

    def __init__(self, what: str, total: int, *, initial: int = 0, rank: int = 0) -> None:
        self._what, self._total, self._done = what, total, initial
        self._initial, self._start, self._last_line = initial, time.monotonic(), time.monotonic()
        self._silent = rank != 0
        interactive = sys.stderr.isatty() and not self._silent
        self._bar = tqdm(total=total, initial=initial, desc=what, leave=True) if interactive else None

    def advance(self, note: str = "") -> None:
        """One more unit is done; `note` is shown beside the count."""
        self._done += 1
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update()
            return
        now = time.monotonic()
        if not self._silent and (now - self._last_line > _PLAIN_SECONDS or self._done == self._total):
            self._last_line = now
            rate = (self._done - self._initial) / max(now - self._start, 1e-9)
            left = (self._total - self._done) / rate if rate else 0.0
            print(
                f"{self._what}: {self._done}/{self._total}, {left:.0f} s left{', ' + note if note else ''}",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Leave the last state on the terminal."""
        if self._bar is not None:
            self._bar.close()


class TrainingLog:
    """`log.jsonl`: one JSON object a line, appended; a resumed run drops the lines after its checkpoint."""

    def __init__(self, path: Path, *, resume_step: int = 0) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept = [line for line in lines if _step_of(line) <= resume_step] if resume_step else []
        path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def write(self, **values: Any) -> None:
        """Append one line and flush it."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(values) + "\n")


def _step_of(line: str) -> int:
    """Step of a log line; a line cut off by a crash is dropped."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return sys.maxsize
