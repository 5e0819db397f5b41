"""`medi2i phantom`: the embedded data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medi2i.cli.options import SetOption


def phantom(
    out: Annotated[Path, typer.Option(help="New folder for drr/, xray/ and truth/.")],
    patients: Annotated[
        int | None, typer.Option(min=1, help="Patients of each domain; the preset's number without it.")
    ] = None,
    config: Annotated[str, typer.Option(help="Preset of configs/phantom or a YAML file.")] = "default",
    set_: SetOption = None,
) -> None:
    """Make the embedded data set: phantom chests as labelled DRRs and as films, with paired truth."""
    from medi2i.config import find_preset, load_config
    from medi2i.drr.phantom import PhantomConfig, write_phantom_dataset

    settings = load_config(find_preset(config, "phantom"), PhantomConfig, set_ or ())
    if patients is not None:
        settings = settings.with_patients(patients)
    write_phantom_dataset(settings, out)
    typer.echo(f"source domain (DRRs and masks): {out / 'drr'}")
    typer.echo(f"target domain (films):          {out / 'xray'}")
    typer.echo(f"true films of the DRRs:         {out / 'truth'}")
