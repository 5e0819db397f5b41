"""One call at a time in an output folder, without a file that a dead process would leave behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medi2i.errors import OutputExistsError

_LOCKS = Path("/proc/locks")  # Linux: who holds what


@contextmanager
def hold_folder(folder: Path, *, alone: bool = True) -> Iterator[None]:
    """Hold an output folder while a call writes there: one call alone, or shares together.

    The system takes the hold back when a process ends, however it ends, so none is ever stale. A file system
    that knows no such hold gives none.

    Args:
        folder: made if it isn't there, and removed again if it is still empty at the end.
        alone: whether this is no share.

    Raises:
        OutputExistsError: another process is writing there; it is named where the system tells.
    """
    is_new = not folder.exists()
    descriptor = _hold(folder, alone=alone)
    try:
        yield
    finally:
        if is_new:
            with suppress(OSError):  # it isn't empty
                folder.rmdir()
        if descriptor is not None:
            os.close(descriptor)


def _hold(folder: Path, *, alone: bool) -> int | None:
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # who writes there says what is wrong with it
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _find_holder(descriptor)
        os.close(descriptor)
        raise OutputExistsError(
            folder,
            found=f"{holder} that is writing there now",
            expected="one call at a time; of commands that know --shard, shares",
            remedy="wait for it to end, or choose another folder",
        ) from None
    except OSError:  # not on this file system
        pass
    return descriptor


def _find_holder(descriptor: int) -> str:
    """Who holds the folder: by its number where this machine's system knows it."""
    inode = str(os.fstat(descriptor).st_ino)
    with suppress(OSError):
        for line in _LOCKS.read_text().splitlines():
            words = line.split()  # `1: FLOCK ADVISORY WRITE 4711 fe:00:1311 0 EOF`
            if len(words) > 5 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode:
                return f"process {words[4]}"
    return "another call"
