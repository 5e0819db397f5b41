"""The folder of a set while it grows: its mark, what is finished, and the way back into an unfinished one.

`UNFINISHED` stands in the folder from the first file to the last. Each call appends a line for every image it
has finished to a log of its own share, after the image's files are whole. What a crash left without a line
counts as not there and is made again, with the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medi2i.errors import OutputExistsError
from medi2i.io.atomic import append_line, sweep_unfinished, write_text_atomically

UNFINISHED = "UNFINISHED"
REQUEST = "synthesis.json"
MANIFEST = "manifest.jsonl"
_PROGRESS = ".progress"
_WORDS = (
    "This set is not finished and must not be used: run the same `medi2i synthesize` command again.\n"
    "What is finished is kept. This file goes when the set is complete.\n"
)
_ABSENT = -1


def open_set(out: Path, request: Mapping[str, Any], *, alone: bool) -> bool:
    """Mark a folder as this set's, or find that it is.

    Args:
        out: the set's folder.
        request: all that its bytes depend on; JSON.
        alone: whether no other process writes there, so that leftovers can be removed.

    Returns:
        whether the set is complete already.

    Raises:
        OutputExistsError: the folder holds something else, or another set.
        DiskFullError, EnvironmentProblemError: it can't be written to.
    """
    text = json.dumps(request, indent=1, sort_keys=True) + "\n"
    if not (out / REQUEST).is_file():
        _require_empty(out)
        write_text_atomically(out / UNFINISHED, _WORDS)  # first: from here on nobody takes it for a set
        if not (out / REQUEST).is_file():  # another share may have begun meanwhile
            write_text_atomically(out / REQUEST, text)
    if (out / REQUEST).read_text(encoding="utf-8") != text:
        raise OutputExistsError(
            out,
            found="a set of other settings, sources or runs",
            expected="a new folder, or the same command to go on with an unfinished set",
            remedy="choose another --out",
        )
    complete = not (out / UNFINISHED).is_file()
    if alone:
        _sweep(out)
        if complete:  # stopped between the last two steps
            shutil.rmtree(out / _PROGRESS, ignore_errors=True)
    return complete


def close_set(out: Path) -> None:
    """Take the mark away: all files and tables are there."""
    (out / UNFINISHED).unlink()
    shutil.rmtree(out / _PROGRESS, ignore_errors=True)


class ProgressLog:
    """What all calls together have finished; this one adds to it."""

    def __init__(self, out: Path, shard: tuple[int, int], count: int) -> None:
        """A log of a share.

        Args:
            out: the set's folder.
            shard: (i, n): which share is written to.
            count: images drawn in all.
        """
        self._out, self._count = out, count
        self._own = out / _PROGRESS / f"share-{shard[0]}-of-{shard[1]}.jsonl"

    def add(self, record: Mapping[str, Any]) -> None:
        """Say that all files of an image are there.

        Raises:
            DiskFullError, EnvironmentProblemError: it can't be written; the lines before are whole.
        """
        append_line(self._own, json.dumps(record, allow_nan=False))

    def finished(self) -> bytearray:
        """A byte an image, 1 for those that have a record and all their files."""
        found = bytearray(self._count)
        for path in self._logs():
            for _, record in _records(path):
                if all((self._out / name).is_file() for name in record["files"]):
                    found[record["number"]] = 1
        return found

    def ordered(self) -> Iterator[dict[str, Any]]:
        """Records in the order of numbers, one in memory at a time; of two of one number the first counts."""
        logs = self._logs()
        log_of, place_of = array("h", [_ABSENT]) * self._count, array("q", [0]) * self._count
        for log, path in enumerate(logs):
            for place, record in _records(path):
                number = record["number"]
                if log_of[number] == _ABSENT:
                    log_of[number], place_of[number] = log, place
        streams = [path.open("rb") for path in logs]
        try:
            for log, place in zip(log_of, place_of, strict=True):
                if log != _ABSENT:
                    streams[log].seek(place)
                    yield json.loads(streams[log].readline())
        finally:
            for stream in streams:
                stream.close()

    def _logs(self) -> list[Path]:
        return sorted((self._out / _PROGRESS).glob("*.jsonl"))


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(byte where it starts, record); a line that a crash cut off is none."""
    with path.open("rb") as stream:
        place = 0
        for line in stream:
            if line.endswith(b"\n"):
                yield place, json.loads(line)
            place += len(line)


def _require_empty(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise OutputExistsError(out, found="a file", expected="a new folder", remedy="choose another --out")
    # what a call leaves that was killed at its start, or another share has written by now, counts as nothing
    if out.is_dir() and not all(
        path.name.endswith((UNFINISHED, REQUEST, _PROGRESS)) for path in out.iterdir()
    ):
        raise OutputExistsError(
            out,
            found="a folder that holds something",
            expected="a new or empty folder",
            remedy="choose another --out",
        )


def _sweep(out: Path) -> None:
    for folder, _, _ in os.walk(out):
        sweep_unfinished(Path(folder))
