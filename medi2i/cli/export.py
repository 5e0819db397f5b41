"""`medi2i export` and `medi2i import-weights`: networks out of a run, and into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    run: Annotated[Path, typer.Argument(help="Run folder of `medi2i adapt`.")],
    to: Annotated[
        Literal["bundle", "onnx", "torch-export"],
        typer.Option(help="MONAI bundle, ONNX file, or torch.export program."),
    ],
    out: Annotated[Path, typer.Option(help="New folder.")],
    direction: Annotated[
        Literal["source-to-target", "target-to-source"], typer.Option(help="Which way to export.")
    ] = "source-to-target",
) -> None:
    """Write a trained run for MONAI, ONNX runtimes or torch; checked against the run, or not written."""
    from medi2i import exporters

    result = exporters.export(run, to=to, out=out, direction=direction)
    for note in result.notes:
        typer.echo(note)
    typer.echo(f"{to}: {result.folder}")
