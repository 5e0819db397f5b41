"""Files from strangers, decoded in child processes that may take only so much memory and time.

A child is used again and again, and replaced when it dies or has to be ended: the file that did it is refused
like any other damaged one, and the work goes on.
"""

from __future__ import annotations

import atexit
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from jaxtyping import Bool

from medi2i import errors
from medi2i.errors import (
    EnvironmentProblemError,
    MaskMismatchError,
    UnreadableImageError,
    UnusableVolumeError,
    UsageError,
)
from medi2i.image import Radiograph, RadiographHeader
from medi2i.io.ct_checks import MAX_VOXELS
from medi2i.io.decoder import read_frame, write_frame
from medi2i.io.guard import MAX_PIXELS, RADIOGRAPH
from medi2i.volume import LabelVolume, Volume

MEMORY_BYTES, SECONDS = 4 << 30, 60.0
VOLUME_MEMORY_BYTES, VOLUME_SECONDS = 24 << 30, 900.0
MOST_CHILDREN = min(os.cpu_count() or 1, 4)
_REMEDY = "export the file again from its source, or leave it out"
_ERRORS = {
    kind.__name__: kind
    for kind in (
        UnreadableImageError,
        UnusableVolumeError,
        MaskMismatchError,
        UsageError,
        EnvironmentProblemError,
    )
}
_PATIENCE_S = 1.0  # its pipe closes a moment before a dying process has ended
_PIPE_BYTES = 1 << 20  # fewer turns between the processes for each image
_WORTH_A_CHILD = 100  # files; one more child takes half a second to start
_MOST_VALUES = max(8 * MAX_PIXELS, MAX_VOXELS)
_EXPECTED = {"ct": "a CT", "label_map": "a label map", "structure_files": "masks of structures"}
_PARTS = ("subject", "found", "expected", "remedy")
_TYPES: dict[str, Any] = {name: np.dtype(name) for name in ("float32", "uint16", "bool")}
_ARRAYS = {  # how many an answer may have; none with an error
    "radiograph": (0, 2),
    "mask_folder": (0, 1),
    "mask_nifti": (0, 1),
    "ct": (0, 1, 2),
    "label_map": (0, 2),
    "structure_files": (0, 2),
}

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class DecoderPool:
    """Children that wait for files; the first starts with the first file.

    Calls from several threads go to several children, as many as `allow` says, and wait for one.

    Args:
        command: starts one; other programs only in tests.
        memory_bytes, seconds: what one file may take.
    """

    def __init__(
        self, command: Sequence[str] = (), *, memory_bytes: int = MEMORY_BYTES, seconds: float = SECONDS
    ) -> None:
        self._command = tuple(command) or (sys.executable, "-P", "-m", "medi2i.io.decoder")
        self._memory_bytes, self._seconds = memory_bytes, seconds
        self._changed = threading.Condition()
        self._idle: list[_Child] = []
        self._running, self._most = 0, 1

    def allow(self, children: int) -> None:
        """How many children there may be from now on; those above that end."""
        with self._changed:
            self._most = children
            spare = [self._idle.pop() for _ in range(min(len(self._idle), self._running - children))]
            self._running -= len(spare)
            self._changed.notify_all()
        for child in spare:
            child.end()

    def children(self) -> list[int]:
        """Process numbers of the children that wait."""
        with self._changed:
            return [child.number for child in self._idle]

    def read_radiograph(self, path: Path, *, acquisition: bool = False) -> tuple[Radiograph, dict[str, str]]:
        """As `medi2i.io.read_radiograph`; with it, if asked for, what `read_acquisition` says.

        Raises:
            UnreadableImageError: as there; or decoding took too much memory or time, or ended its process.
            EnvironmentProblemError: no process can be started, or a decoder can't be imported.
        """
        facts, (pixels, valid) = self._ask(path, "radiograph", acquisition=acquisition)
        values = facts["header"]
        for key in ("spacing_mm", "value_range", "notes"):
            values[key] = None if values[key] is None else tuple(values[key])
        return Radiograph(pixels, valid, RadiographHeader(**values), facts["patient"]), facts["acquisition"]

    def read_masks(self, path: Path, structures: Sequence[str]) -> Bool[np.ndarray, "K H W"]:
        """Masks of one image in the order of `structures`: a folder of PNG files, or a NIfTI.

        Raises:
            MaskMismatchError, UnreadableImageError: as `read_mask_folder` and `read_mask_nifti`; or as above.
        """
        kind = "mask_folder" if path.is_dir() else "mask_nifti"
        _, (masks,) = self._ask(path, kind, structures=list(structures))
        return masks

    def read_ct(self, path: Path, *, series: str | None = None) -> Volume:
        """As `medi2i.io.ct.read_ct`.

        Raises:
            UnreadableImageError, UnusableVolumeError: as there; or as above.
        """
        facts, arrays = self._ask(path, "ct", series=series)
        padding = arrays[1] if len(arrays) > 1 else None
        return Volume(arrays[0], np.array(facts["affine"]), padding, facts["patient"], tuple(facts["notes"]))

    def read_label_map(
        self, path: Path, names: Mapping[int, str] | None, *, default_names: Mapping[int, str] | None = None
    ) -> LabelVolume:
        """As `medi2i.io.label_volumes.read_label_map`.

        Raises:
            UnreadableImageError, UnusableVolumeError, MaskMismatchError: as there; or as above.
        """
        names = None if names is None else dict(names)
        return _to_labels(*self._ask(path, "label_map", names=names, default_names=dict(default_names or {})))

    def read_structure_files(self, folder: Path, files: Mapping[str, Path]) -> LabelVolume:
        """As `medi2i.io.label_volumes.read_structure_files`; the folder is what errors name.

        Raises:
            UnreadableImageError, UnusableVolumeError, MaskMismatchError: as there; or as above.
        """
        paths = {name: os.fspath(path.absolute()) for name, path in files.items()}
        return _to_labels(*self._ask(folder, "structure_files", files=paths))

    def _ask(self, path: Path, kind: str, **values: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
        child, late = self._take(), threading.Event()
        request = {"kind": kind, "path": os.fspath(path.absolute()), **values}

        def interrupt() -> None:
            late.set()
            child.interrupt()

        timer = threading.Timer(self._seconds, interrupt)
        timer.start()
        try:
            answer = child.ask(request)
        except (OSError, ValueError, KeyError, TypeError):  # it died, or speaks no sense
            answer = None
        except BaseException:
            self._give_back(None)
            child.kill()
            raise
        finally:
            timer.cancel()
        lost = answer is None or late.is_set() or answer[0]["last"]
        self._give_back(None if lost else child)
        if answer is None or late.is_set():
            raise self._explain(path, kind, child.kill(patience_s=_PATIENCE_S), late=late.is_set())
        head, read = answer
        if lost:
            child.end()
        if "error" in head:
            raise _to_error(path, head["error"])
        return head["facts"], read

    def _take(self) -> _Child:
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._running < self._most)
            while self._idle:
                child = self._idle.pop()
                if child.is_alive():
                    return child
                child.end()  # ended from outside while it waited: no file's fault
                self._running -= 1
            self._running += 1
        try:
            return _Child(self._command, self._memory_bytes, math.ceil(self._seconds) + 5)
        except BaseException:
            self._give_back(None)
            raise

    def _give_back(self, child: _Child | None) -> None:
        """A child is free again, or there is one less."""
        with self._changed:
            if child is None:
                self._running -= 1
            else:
                self._idle.append(child)
            self._changed.notify()

    def _explain(self, path: Path, kind: str, code: int, *, late: bool) -> UnreadableImageError:
        if late:
            found = f"a file whose decoding did not end within {self._seconds:g} s"
        else:
            found = f"a file that ended the process that decoded it ({_describe(code)})"
        expected = _EXPECTED.get(kind, RADIOGRAPH)
        return UnreadableImageError(path, found=found, expected=expected, remedy=_REMEDY)


class _Child:
    """One process, and the pipes to it and from it."""

    def __init__(self, command: Sequence[str], memory_bytes: int, seconds: int) -> None:
        # GDCM decodes through a file; of a child that had to be ended, nothing of an image may be left
        self._folder = tempfile.TemporaryDirectory(prefix="medi2i-decoder-", ignore_cleanup_errors=True)
        imports = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)  # those of the parent
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment = os.environ | one | {"PYTHONPATH": imports, "TMPDIR": self._folder.name}
        try:
            self._process = subprocess.Popen(  # noqa: S603 (our own module, by our own interpreter)
                [*command, str(memory_bytes), str(seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pipesize=_PIPE_BYTES,
                env=environment,
            )
        except OSError as error:
            self._folder.cleanup()
            raise EnvironmentProblemError(
                "decoding",
                found=f"no process can be started ({error.strerror})",
                expected="room for one more process, in which files are decoded",
                remedy="end other programs, or raise the limit of processes",
            ) from error

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[np.ndarray]] | None:
        """The answer to a request, and its arrays; None if the process died meanwhile.

        Raises:
            OSError, ValueError, KeyError, TypeError: the process died, or what it says is no answer.
        """
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None  # noqa: S101 (both are pipes)
        assert answers is not None  # noqa: S101
        write_frame(requests, request)
        requests.flush()
        head = read_frame(answers)
        if head is None:
            return None
        if ("facts" in head) == ("error" in head) or len(head["arrays"]) not in _ARRAYS[request["kind"]]:
            raise ValueError("no answer to this request")
        return head, [_read_array(answers, kind, shape) for kind, shape in head["arrays"]]

    @property
    def number(self) -> int:
        """Of the process."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def interrupt(self) -> None:
        """End the process at once; who waits for its answer gets none."""
        self._process.kill()

    def kill(self, *, patience_s: float = 0.0) -> int:
        """End the process, if it does not end by itself meanwhile; how it did."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        self._process.kill()
        return self.end()

    def end(self) -> int:
        """Let the process end; how it did."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not sent yet can't be
                    pipe.close()
        code = self._process.wait()
        self._folder.cleanup()
        return code


def _to_labels(facts: dict[str, Any], arrays: list[np.ndarray]) -> LabelVolume:
    codes, membership = arrays
    affine, structures = np.array(facts["affine"]), tuple(facts["structures"])
    return LabelVolume(codes, membership, structures, affine, tuple(facts["notes"]))


def _read_array(stream: IO[bytes], kind: str, shape: Sequence[int]) -> np.ndarray:
    if math.prod(shape) > _MOST_VALUES:
        raise ValueError("more than any image has")
    array = np.empty(tuple(int(side) for side in shape), dtype=_TYPES[kind])
    if array.nbytes and stream.readinto(array.data.cast("B")) != array.nbytes:  # type: ignore[attr-defined]
        raise OSError("the process ended before its answer did")
    return array


def _to_error(path: Path, said: dict[str, str]) -> errors.Medi2iError:
    """What the child raised; of other kinds than files may cause, only the name."""
    kind = _ERRORS.get(said["kind"])
    if kind is None:
        found = f"content that cannot be decoded ({said['found']})"
        return UnreadableImageError(path, found=found, expected=RADIOGRAPH, remedy=_REMEDY)
    # the caller's name of the file
    parts = {name: str(said[name]).replace(str(path.absolute()), str(path)) for name in _PARTS}
    return kind(parts.pop("subject"), **parts)


def _describe(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


_pools: dict[tuple[int, float], DecoderPool] = {}


def decoders() -> DecoderPool:
    """The pool of this process for images and their masks; one that was forked gets its own."""
    return _pool(MEMORY_BYTES, SECONDS)


def volume_decoders() -> DecoderPool:
    """The pool of this process for CTs and their labels, which may take more memory and time."""
    return _pool(VOLUME_MEMORY_BYTES, VOLUME_SECONDS)


def _pool(memory_bytes: int, seconds: float) -> DecoderPool:
    key = (os.getpid(), seconds)
    if key not in _pools:
        _pools[key] = DecoderPool(memory_bytes=memory_bytes, seconds=seconds)
        atexit.register(_pools[key].allow, 0)
    return _pools[key]


def read_ahead(items: Sequence[_Item], read: Callable[[_Item], _Result]) -> Generator[_Result]:
    """What `read` makes of each item, in order, while the caller works on the one before.

    Raises:
        Whatever `read` raises, at its turn.
    """
    waiting: deque[Future[_Result]] = deque()
    children = min(MOST_CHILDREN, 1 + len(items) // _WORTH_A_CHILD)
    decoders().allow(children)
    pool = ThreadPoolExecutor(children + 1, thread_name_prefix="reading")
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > children + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        decoders().allow(1)


def read_all(
    items: Sequence[_Item],
    read: Callable[[int, _Item], _Result],
    progress: Callable[[int, int], None] | None = None,
) -> list[_Result]:
    """What `read` makes of the number and the item, of all items in order, read ahead.

    Args:
        items: to be read.
        read: called in other threads.
        progress: told the number of items done and their total, in this thread.

    Raises:
        Whatever `read` or `progress` raises; the rest is not read then.
    """
    results = []
    with closing(read_ahead(list(enumerate(items)), lambda numbered: read(*numbered))) as found:
        for result in found:
            results.append(result)
            if progress is not None:
                progress(len(results), len(items))
    return results
