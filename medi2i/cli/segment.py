"""`medi2i segment`: train a segmenter on images with masks, and find structures with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from medi2i.cli.options import DeviceOption, SetOption
from medi2i.errors import ExitCode, UsageError

segment = typer.Typer(
    help="Train a segmenter on images with masks, or find structures with one.", no_args_is_help=True
)


@segment.command()
def train(
    folders: Annotated[
        list[Path], typer.Argument(help="Data set folders with masks of the same structures; joined.")
    ],
    out: Annotated[Path, typer.Option(help="New folder for the model.")],
    config: Annotated[
        str | None, typer.Option(help="Preset of configs/segment or a YAML file; laptop without it.")
    ] = None,
    adapt_to: Annotated[
        Path | None,
        typer.Option(
            metavar="TGT", help="Folder of films without masks to train on, too; their masks are not read."
        ),
    ] = None,
    framing: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            metavar="fit TGT | use FILE",
            help="Frame the crops as the films are (fit), or by an augmentation.yaml of `medi2i drr` (use).",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the configuration's.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted training with its own settings.")
    ] = False,
    set_: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Train a segmenter, split by patient; the weights with the best Dice on held-out patients are kept."""
    from medi2i.config import find_preset, load_config
    from medi2i.segmentation import SegmenterConfig, choose_crop_framing, train_segmenter

    begun = out / "config.yaml"
    if resume and (config or set_ or framing or seed is not None):
        raise UsageError(
            "--resume",
            found="settings beside it",
            expected="folders, --adapt-to and --out alone: a training continues with its own config.yaml",
            remedy="drop them, or start a new training",
        )
    path = begun if resume and begun.is_file() else find_preset(config or "laptop", "segment")
    settings = load_config(path, SegmenterConfig, set_ or ())
    if framing is not None:
        chosen = choose_crop_framing(framing, folders)
        typer.echo(f"note: {chosen.note}")
        data = settings.data.model_copy(update={"framing": chosen.framing})
        settings = settings.model_copy(update={"data": data})
    model = train_segmenter(
        settings, folders, out=out, device=device, seed=seed, resume=resume, adapt_to=adapt_to
    )
    facts = json.loads((model / "model.json").read_text(encoding="utf-8"))
    for split, reached in facts["held_out"].items():
        shown = ", ".join(
            f"{name} {'-' if value is None else format(value, '.3f')}"
            for name, value in reached["dice"].items()
        )
        typer.echo(f"Dice, {reached['images']} {split} image(s): {shown}")
    typer.echo(f"model: {model}")


@segment.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Model folder of `medi2i segment train`.")],
    location: Annotated[Path, typer.Argument(help="Image, or folder of images.")],
    out: Annotated[Path, typer.Option(help="New folder for the masks.")],
    device: DeviceOption = "auto",
) -> None:
    """Write the masks that a segmenter finds: one PNG a structure, under each image's name."""
    from medi2i.segmentation import load_segmenter, segment_folder

    skipped = segment_folder(load_segmenter(model, device=device), location, out)
    typer.echo(f"masks: {out / 'masks'}")
    if skipped:
        typer.echo(f"skipped: {len(skipped)} image(s), listed in {out / 'skipped.jsonl'}")
        raise typer.Exit(ExitCode.SKIPPED_INPUTS)
