"""Writing so that a crash or a full disk leaves the old file or the new one, never half of one."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from medi2i.errors import DiskFullError, EnvironmentProblemError

_UNFINISHED = ".medi2i-unfinished-"
_TOKEN_BYTES = 4
_BLOCK = 65_536  # bytes read at once
_REPLACED = ".medi2i-replaced-"


def write_atomically(path: Path, writer: Callable[[Path], None], *, bytes_needed: int | None = None) -> None:
    """Let `writer` write a file beside `path`, flush it to the disk, and rename it to `path`.

    Args:
        path: where the file shall be; its folder is made if absent.
        writer: writes the file at the path it is given, which ends like `path`.
        bytes_needed: size to name should the disk be full; what was written so far if None.

    Raises:
        DiskFullError: the device or the quota is full; `path` is as it was.
        EnvironmentProblemError: the operating system refuses to write; `path` is as it was.
    """
    unfinished = path.with_name(f"{_UNFINISHED}{secrets.token_hex(_TOKEN_BYTES)}-{path.name}")
    with _explained(path, unfinished, bytes_needed):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            writer(unfinished)
            _flush(unfinished)
            unfinished.replace(path)
        except BaseException:  # also on Ctrl-C: leave no unfinished file
            unfinished.unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text as `write_atomically` does.

    Raises:
        DiskFullError: the device or the quota is full; `path` is as it was.
        EnvironmentProblemError: the operating system refuses to write; `path` is as it was.
    """
    write_bytes_atomically(path, text.encode("utf-8"))


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write bytes as `write_atomically` does; encoders that hide the reason of a failed write need this.

    Raises:
        DiskFullError: the device or the quota is full; `path` is as it was.
        EnvironmentProblemError: the operating system refuses to write; `path` is as it was.
    """

    def write(unfinished: Path) -> None:
        unfinished.write_bytes(content)

    write_atomically(path, write, bytes_needed=len(content))


def write_stream_atomically(path: Path, parts: Iterable[str]) -> None:
    """Write UTF-8 text piece by piece as `write_atomically` does; only one piece is in memory.

    Raises:
        DiskFullError: the device or the quota is full; `path` is as it was.
        EnvironmentProblemError: the operating system refuses to write; `path` is as it was.
    """

    def write(unfinished: Path) -> None:
        with unfinished.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(parts)

    write_atomically(path, write)


def append_line(path: Path, line: str) -> None:
    """Append a line of UTF-8 text; what a crash or a full disk cut off before is no line, and goes first.

    Raises:
        DiskFullError: the device or the quota is full; the lines before are as they were.
        EnvironmentProblemError: the operating system refuses to write.
    """
    content = f"{line}\n".encode()
    with _explained(path, path, len(content)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as stream:
            _cut_to_lines(stream)
            stream.write(content)


def replace_folder_atomically(
    folder: Path, writer: Callable[[Path], None], *, bytes_needed: int | None = None
) -> None:
    """Let `writer` fill a new folder beside `folder`, flush it, and rename it to `folder`.

    An existing folder is moved aside first, since a rename can't replace a folder that holds files; a
    crash between the two renames leaves it under another name, from which `restore_folders` brings it back.

    Raises:
        DiskFullError: the device or the quota is full; `folder` is as it was.
        EnvironmentProblemError: the operating system refuses to write; `folder` is as it was.
    """
    unfinished = folder.with_name(f"{_UNFINISHED}{secrets.token_hex(_TOKEN_BYTES)}-{folder.name}")
    replaced = folder.with_name(f"{_REPLACED}{folder.name}")
    with _explained(folder, unfinished, bytes_needed):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.mkdir()
            writer(unfinished)
            for entry in unfinished.rglob("*"):
                _flush_folder(entry) if entry.is_dir() else _flush(entry)
            _flush_folder(unfinished)
            if folder.exists():
                shutil.rmtree(replaced, ignore_errors=True)
                folder.rename(replaced)
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            restore_folders(folder.parent)
            raise
        _flush_folder(folder.parent)
        shutil.rmtree(replaced, ignore_errors=True)


def restore_folders(parent: Path) -> list[Path]:
    """Bring back folders that a crash left moved aside by `replace_folder_atomically`.

    Returns:
        the restored folders.
    """
    restored = []
    for replaced in parent.glob(f"{_REPLACED}*"):
        folder = parent / replaced.name.removeprefix(_REPLACED)
        if folder.exists():
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            replaced.rename(folder)
            restored.append(folder)
    return restored


def sweep_unfinished(parent: Path, *, name: str | None = None) -> list[Path]:
    """Remove what killed runs left unfinished directly in `parent`. Call it while nobody writes there.

    Args:
        parent: the folder.
        name: only what was to become this file or folder; None for all.

    Returns:
        the removed files and folders.
    """
    leftovers = [
        path
        for path in parent.glob(f"{_UNFINISHED}*")
        if name is None or path.name[len(_UNFINISHED) + 2 * _TOKEN_BYTES + 1 :] == name
    ]
    for leftover in leftovers:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
    return leftovers


@contextmanager
def _explained(path: Path, unfinished: Path, bytes_needed: int | None) -> Iterator[None]:
    """Turn what the operating system says into an error that names path, need and remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            need = "more room" if bytes_needed is None else f"{bytes_needed:,} free bytes"
            raise DiskFullError(
                path,
                found=f"{os.strerror(error.errno)} ({_free_bytes(unfinished.parent)} bytes free)",
                expected=need,
                remedy="make room or choose another output folder, then run the same command again",
            ) from error
        if error.errno is None:
            raise
        raise EnvironmentProblemError(
            path,
            found=f"cannot be written ({os.strerror(error.errno)})",
            expected="a folder that may be written to",
            remedy="check its permissions or choose another output folder",
        ) from error


def _cut_to_lines(stream: BinaryIO) -> None:
    """Remove what stands behind the last end of a line."""
    size = stream.seek(0, os.SEEK_END)
    end = size
    while end > 0:
        start = max(0, end - _BLOCK)
        stream.seek(start)
        found = stream.read(end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        stream.truncate(end)
    stream.seek(0, os.SEEK_END)


def _free_bytes(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free:,}"
    except OSError:
        return "an unknown number of"


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows can't open folders, and keeps renames without it
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
