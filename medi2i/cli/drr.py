"""`medi2i drr`: labelled DRRs from CT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from medi2i.cli.options import DeviceOption, SetOption
from medi2i.errors import ExitCode


def drr(
    ct: Annotated[
        Path,
        typer.Argument(help="CT: a NIfTI file, a folder with one DICOM series, or a folder of patients."),
    ],
    out: Annotated[Path, typer.Option(help="Data set folder; an unfinished one is gone on with.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="Structures of the CT: a label map, or a folder of one mask a structure."),
    ] = None,
    structures: Annotated[
        str | None,
        typer.Option(help="Preset of configs/structures (totalsegmentator) or a YAML file; all without it."),
    ] = None,
    views: Annotated[int | None, typer.Option(min=1, help="Images of each patient; 24 by default.")] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(help="Direction: PA, AP, lateral or right lateral; repeated ones are taken in turn."),
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option(
            help="Lungs as the organ's whole shadow (projected), as readers draw them (film), or both."
        ),
    ] = None,
    framing: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            metavar="fit TGT | use FILE",
            help="Frame the views as the target films are (fit), or as an earlier fit found (use).",
        ),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="png, dicom or nifti; 16-bit png by default.")
    ] = None,
    series: Annotated[
        str | None, typer.Option(help="Which of several DICOM series: its number in the list, or its UID.")
    ] = None,
    resample_labels: Annotated[
        bool, typer.Option("--resample-labels", help="Bring labels of another grid to the CT's.")
    ] = False,
    remove_table: Annotated[bool, typer.Option("--remove-table", help="Leave out the CT's table.")] = False,
    path_lengths: Annotated[
        bool, typer.Option("--path-lengths", help="Write path lengths in mm beside the masks.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the patients.")] = 1,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="This machine's share of the patients; one folder for all.")
    ] = "1/1",
    config: Annotated[str, typer.Option(help="Preset of configs/drr or a YAML file.")] = "default",
    set_: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Render labelled DRRs from CT: a data set folder that `adapt --src` takes as it is."""
    from medi2i import rendering
    from medi2i.config import find_preset, load_config

    given = {
        "views": views,
        "view": view,
        "format": format_,
        "convention.convention": convention,
        "resample_labels": resample_labels or None,
        "remove_table": remove_table or None,
        "path_lengths": path_lengths or None,
    }
    chosen = []
    if structures is not None:  # first, so that --set can change it
        chosen = [f"structures={rendering.read_structures(structures).model_dump_json()}"]
    options = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    settings = load_config(
        find_preset(config, "drr"), rendering.DRRConfig, [*chosen, *(set_ or ()), *options]
    )
    settings, target = rendering.choose_framing(settings, framing)
    result = rendering.render_drrs(
        settings,
        ct,
        out=out,
        labels=labels,
        series=series,
        framing_target=target,
        workers=workers,
        shard=rendering.parse_shard(shard),
        device=device,
    )
    for note in result.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"images: {result.images} in {out / 'images'} ({result.rendered} new)")
    if result.skipped:
        typer.echo(f"skipped: {len(result.skipped)} patient(s), listed in {out / 'skipped.jsonl'}")
        for item, reason in result.skipped:
            typer.echo(f"  {item}: {reason}")
        raise typer.Exit(ExitCode.SKIPPED_INPUTS)
