"""`medi2i export`: a trained run as what other tools take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medi2i.adapters import Direction
from medi2i.errors import OutputExistsError
from medi2i.exporters.bundle import write_bundle
from medi2i.exporters.onnx import write_onnx
from medi2i.exporters.subject import open_subject
from medi2i.exporters.torch_export import write_torch_export
from medi2i.io.atomic import replace_folder_atomically, sweep_unfinished

Target = Literal["bundle", "onnx", "torch-export"]
_WRITERS = {"bundle": write_bundle, "onnx": write_onnx, "torch-export": write_torch_export}


@dataclass(frozen=True)
class ExportResult:
    """What an export leaves.

    Attributes:
        folder: what was written.
        notes: what is worth telling.
    """

    folder: Path
    notes: list[str]


def export(run: Path, *, to: Target, out: Path, direction: Direction = "source-to-target") -> ExportResult:
    """Write one direction of a trained run for other tools: all of it and checked, or nothing.

    Args:
        run: a run folder of `medi2i adapt`.
        to: `bundle`, a MONAI bundle; `onnx`; `torch-export`, a program that torch alone loads.
        out: a new or empty folder.
        direction: which way.

    Raises:
        OutputExistsError: `out` holds something.
        UsageError: there is no such run, or its method can't be exported in this way.
        EnvironmentProblemError: the extra `onnx` is not installed, or `out` can't be written.
        ExportMismatchError: what was written gives other images than the run; it is removed.
        DiskFullError: there is no room; nothing is left.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExistsError(
            out,
            found="a folder with other content" if out.is_dir() else "a file",
            expected="a new folder",
            remedy="choose another --out",
        )
    subject = open_subject(run, direction)
    notes: list[str] = []
    if out.parent.is_dir():
        sweep_unfinished(out.parent, name=out.name)
    replace_folder_atomically(out, lambda folder: notes.extend(_WRITERS[to](subject, folder)))
    return ExportResult(out, notes)
