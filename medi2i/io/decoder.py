"""The child process that decodes files from strangers: `python -m medi2i.io.decoder`.

A decoder of a format is native code that reads what anybody may have written. Here it runs with a limit of
memory and of time, and its parent (`decoder_pool`) survives whatever
happens to it. Requests come on standard input, answers go out where standard output was: a length, that many
bytes of JSON, and the bytes of the arrays that these name. Nothing is pickled in either direction.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from medi2i.errors import Medi2iError
from medi2i.io import read_radiograph
from medi2i.io.acquisition import read_acquisition
from medi2i.io.ct import read_ct
from medi2i.io.guard import MAX_FILE_BYTES
from medi2i.io.label_volumes import read_label_map, read_structure_files
from medi2i.io.masks import read_mask_folder, read_mask_nifti
from medi2i.volume import LabelVolume

LENGTH = struct.Struct("<I")
_STATM = Path("/proc/self/statm")  # sizes in pages: all, resident, ...; Linux alone
_MOST_KEPT = 1 << 30  # a child that holds more ends after its answer: its memory goes back to the system

Answer = tuple[dict[str, Any], Sequence[np.ndarray]]


def serve(requests: IO[bytes], answers: IO[bytes], *, memory_bytes: int, seconds: int) -> None:
    """Answer requests until there are no more.

    Args:
        requests: framed JSON: `kind`, one of those below, and its arguments.
        answers: framed JSON: `facts` or `error`, `arrays` (type and shape of each), `last` (the child ends).
        memory_bytes: what decoding may take on top of what the process has when it starts.
        seconds: after which the system ends the process, should its parent be gone.
    """
    _limit_memory(memory_bytes)
    while request := read_frame(requests):
        _set_alarm(seconds)
        answer, arrays = _answer(request)
        _set_alarm(0)
        answer["arrays"] = [[array.dtype.name, list(array.shape)] for array in arrays]
        answer["last"] = _resident_bytes() > _MOST_KEPT
        write_frame(answers, answer)
        for array in (array for array in arrays if array.nbytes):
            answers.write(np.ascontiguousarray(array).data)
        answers.flush()
        if answer["last"]:
            return


def read_frame(stream: IO[bytes]) -> dict[str, Any] | None:
    """The next JSON object; None at the end, or where the stream breaks off."""
    start = stream.read(LENGTH.size)
    if len(start) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(start)
    content = stream.read(length)
    return json.loads(content) if len(content) == length else None


def write_frame(stream: IO[bytes], values: Mapping[str, Any]) -> None:
    """Inverse of `read_frame`."""
    content = json.dumps(values).encode()
    stream.write(LENGTH.pack(len(content)) + content)


def _answer(request: Mapping[str, Any]) -> tuple[dict[str, Any], Sequence[np.ndarray]]:
    values = dict(request)
    try:
        facts, arrays = _KINDS[values.pop("kind")](Path(values.pop("path")), **values)
    except Medi2iError as error:
        parts = {name: getattr(error, name) for name in ("subject", "found", "expected", "remedy")}
        return {"error": {"kind": type(error).__name__, **parts}}, ()
    except BaseException as error:  # what a decoder may raise is not known
        return {"error": {"kind": "", "found": type(error).__name__}}, ()
    return {"facts": facts}, arrays


def _radiograph(path: Path, *, acquisition: bool) -> Answer:
    radiograph = read_radiograph(path)
    facts: dict[str, Any] = {"header": asdict(radiograph.header), "patient": radiograph.patient_id}
    facts["acquisition"] = read_acquisition(path) if acquisition else {}
    return facts, (radiograph.pixels, radiograph.valid)


def _mask_folder(path: Path, *, structures: Sequence[str]) -> Answer:
    return {}, (read_mask_folder(path, tuple(structures))[1],)


def _mask_nifti(path: Path, *, structures: Sequence[str]) -> Answer:
    return {}, (read_mask_nifti(path, tuple(structures)),)


def _ct(path: Path, *, series: str | None) -> Answer:
    volume = read_ct(path, series=series)
    facts = {"affine": volume.affine.tolist(), "patient": volume.patient_id, "notes": volume.notes}
    return facts, (volume.hounsfield, *(() if volume.padding is None else (volume.padding,)))


def _label_map(path: Path, *, names: Mapping[str, str] | None, default_names: Mapping[str, str]) -> Answer:
    return _labels(read_label_map(path, _by_value(names), default_names=_by_value(default_names)))


def _structure_files(path: Path, *, files: Mapping[str, str]) -> Answer:
    return _labels(read_structure_files({name: Path(file) for name, file in files.items()}))


def _labels(found: LabelVolume) -> Answer:
    facts = {"affine": found.affine.tolist(), "structures": found.structures, "notes": found.notes}
    return facts, (found.codes, found.membership)


def _by_value(names: Mapping[str, str] | None) -> dict[int, str] | None:
    """JSON knows keys of text alone."""
    return None if names is None else {int(value): name for value, name in names.items()}


_KINDS: Mapping[str, Callable[..., Answer]] = {
    "radiograph": _radiograph,
    "mask_folder": _mask_folder,
    "mask_nifti": _mask_nifti,
    "ct": _ct,
    "label_map": _label_map,
    "structure_files": _structure_files,
}


def _limit_memory(memory_bytes: int) -> None:
    """Bound the address space and what is written, and leave no core dump, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    if _STATM.is_file():
        now = _pages(0) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (now + memory_bytes, now + memory_bytes))


def _set_alarm(seconds: int) -> None:
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def _resident_bytes() -> int:
    """What the process holds now; its peak would count what its parent had when it started it."""
    return _pages(1) * os.sysconf("SC_PAGE_SIZE") if _STATM.is_file() else 0


def _pages(column: int) -> int:
    return int(_STATM.read_text().split()[column])


def main() -> None:
    """Serve the parent over standard input and output; at the end, what decoders left on disk goes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear
    answers = os.fdopen(os.dup(1), "wb")
    silent = os.open(os.devnull, os.O_WRONLY)  # native libraries print; an answer must not be mixed with it
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    memory_bytes, seconds = (int(argument) for argument in sys.argv[1:3])
    try:
        serve(sys.stdin.buffer, answers, memory_bytes=memory_bytes, seconds=seconds)
    finally:
        shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)  # a parent that was killed can't


if __name__ == "__main__":
    main()
