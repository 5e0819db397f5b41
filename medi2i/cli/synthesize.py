"""`medi2i synthesize`: a labelled set of synthetic radiographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from medi2i.cli.options import DeviceOption, SetOption
from medi2i.errors import ExitCode, UsageError


def synthesize(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders of `medi2i adapt`; several are mixed.")
    ],
    from_: Annotated[
        Path,
        typer.Option(
            "--from", help="Labelled DRRs: a data set folder with masks; or CT with labels, with --render."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The set's folder; an unfinished one is gone on with.")],
    format_: Annotated[
        str | None, typer.Option("--format", help="png, nnunet, decathlon, coco or dicom; png by default.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Images drawn; each source in each look once without it.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same set; 0 by default.")] = None,
    styles: Annotated[
        int | None, typer.Option(min=1, help="Looks of each source image, of methods that draw styles.")
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="Acquisition of the output, e.g. view=PA, for methods that know it."
        ),
    ] = None,
    randomise: Annotated[
        bool, typer.Option("--randomise", help="A random look on top of each translation; no pixel moves.")
    ] = False,
    balance: Annotated[
        list[str] | None,
        typer.Option(help="Draw about equally often by structure, by view, or (repeated) by both."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="A/B/C", help="Shares of patients to train, validate, test; 0.8/0.1/0.1."),
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            help="Overlapping structures as planes, one label map (priority), or a data set each (binary)."
        ),
    ] = None,
    priority: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME,...", help="Who wins in one label map, the first before all others."),
    ] = None,
    no_gate: Annotated[
        bool, typer.Option("--no-gate", help="Check nothing; the set's card says so.")
    ] = False,
    keep_rejected: Annotated[
        bool, typer.Option("--keep-rejected", help="Keep images that the gate leaves out, in rejected/.")
    ] = False,
    licence: Annotated[str | None, typer.Option(help="Licence of the set, for its card.")] = None,
    render: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET", help="--from holds CT with labels: render it with this preset of configs/drr."
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Structures of a single CT, for --render, as of `medi2i drr`.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the images.")] = 1,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="This machine's share of the images; at the end once without it."),
    ] = None,
    config: Annotated[str, typer.Option(help="Preset of configs/synthesize or a YAML file.")] = "default",
    set_: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Write a labelled, gated set of synthetic radiographs that other tools take as it is."""
    from medi2i import synthesis
    from medi2i.config import find_preset, load_config
    from medi2i.rendering import parse_shard
    from medi2i.translation import parse_assignments

    given: dict[str, Any] = {
        "format": format_,
        "count": count,
        "seed": seed,
        "styles": styles,
        "attributes": parse_assignments(attribute or (), "--attribute") or None,
        "balance": balance,
        "split": None if split is None else _shares(split),
        "overlap": overlap,
        "priority": None if priority is None else [name.strip() for name in priority.split(",")],
        "gate": False if no_gate else None,
        "keep_rejected": keep_rejected or None,
        "licence": licence,
    }
    options = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    looks = ["randomise={}"] if randomise else []  # first, so that --set can say how far
    settings = load_config(
        find_preset(config, "synthesize"), synthesis.SynthesizeConfig, [*looks, *(set_ or ()), *options]
    )
    share = None if shard is None else parse_shard(shard)
    source = synthesis.render_sources(
        from_, preset=render, labels=labels, out=out, workers=workers, shard=share, device=device
    )
    result = synthesis.synthesize(
        runs, source, out=out, config=settings, workers=workers, shard=share, device=device
    )
    _tell(result, shard)


def _tell(result: Any, shard: str | None) -> None:
    for warning in result.warnings:
        typer.echo(f"note: {warning}")
    if not result.complete:
        typer.echo(f"share {shard}: {result.made} image(s) drawn; {result.drawn} in all shares so far")
        typer.echo("when all shares are done, run the command once without --shard: it finishes the set")
    else:
        typer.echo(f"images: {result.accepted} in {result.out} ({result.drawn} drawn, {result.made} new)")
        for reason, number in sorted(result.rejected.items()):
            typer.echo(f"rejected: {number} by {reason}")
        typer.echo(f"card:     {result.out / 'DATASET_CARD.md'}")
        typer.echo(f"manifest: {result.out / 'manifest.jsonl'}")
    if result.skipped:
        typer.echo(f"skipped: {len(result.skipped)} source image(s), listed in skipped.jsonl of the set")
        for item in result.skipped:
            typer.echo(f"  {item.file}: {item.reason}")
        raise typer.Exit(ExitCode.SKIPPED_INPUTS)


def _shares(text: str) -> list[float]:
    """`0.8/0.1/0.1` as three numbers."""
    try:
        shares = [float(part) for part in text.split("/")]
    except ValueError:
        shares = []
    if len(shares) != 3:
        raise UsageError(
            f"--split {text}",
            found="no three numbers",
            expected="shares of patients to train, validate and test, e.g. 0.8/0.1/0.1",
            remedy="mend it",
        )
    return shares
