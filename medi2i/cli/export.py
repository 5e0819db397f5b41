"""`medi2i export` and `medi2i import-weights`: networks out of a run, and into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from medi2i.cli.options import DeviceOption, SetOption
from medi2i.errors import ExitCode


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


def import_weights(
    weights: Annotated[
        Path, typer.Argument(help="Generator from source to target: safetensors, or a state dict of torch.")
    ],
    src: Annotated[Path, typer.Option(help="Source domain: folder of images, with masks if any.")],
    tgt: Annotated[Path, typer.Option(help="Target domain: folder of X-rays.")],
    out: Annotated[Path, typer.Option(help="New run folder.")],
    back: Annotated[Path | None, typer.Option(help="Generator from target to source.")] = None,
    set_: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Make a run of published CycleGAN weights: translated, measured and reported like one of your own."""
    from medi2i import adaptation
    from medi2i.cli.output import print_result

    settings = adaptation.choose_config("imported", None, set_ or (), device)
    folders = {"source": str(src.resolve()), "target": str(tgt.resolve())}
    settings = settings.model_copy(update=folders)
    result = adaptation.import_weights(weights, settings, out=out, back=back, device=device)
    print_result(result)
    if result.skipped:
        typer.echo(f"skipped: {len(result.skipped)} image(s), listed in {out / 'skipped.jsonl'}")
        raise typer.Exit(ExitCode.SKIPPED_INPUTS)
