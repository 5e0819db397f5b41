"""`medi2i translate`: images through a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from medi2i.cli.options import DeviceOption
from medi2i.errors import ExitCode

_NO_DEIDENTIFICATION = (
    "--strip-identity is no de-identification: what the pixels show stays, text and anatomy included. "
    "Tools for that are dicognito and deid."
)


def translate(
    run: Annotated[Path, typer.Argument(help="Run folder of `medi2i adapt`.")],
    location: Annotated[Path, typer.Argument(metavar="INPUT", help="An image, or a folder of images.")],
    out: Annotated[Path, typer.Option(help="New folder for images/, masks/ and provenance.jsonl.")],
    direction: Annotated[
        Literal["source-to-target", "target-to-source"], typer.Option(help="Which way to translate.")
    ] = "source-to-target",
    style: Annotated[
        Literal["random", "mean", "reference", "interpolate"] | None,
        typer.Option(help="Look of the output, for methods that have several; the method's own without it."),
    ] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(help="Image or folder whose look is taken, for --style; may be repeated."),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Looks of each image: files end in _s00, _s01, ...")] = 1,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="Acquisition of the output, e.g. view=PA, for methods that know it."
        ),
    ] = None,
    compress: Annotated[
        Literal["none", "jpeg2000", "rle"], typer.Option(help="Lossless compression of DICOM outputs.")
    ] = "none",
    dicom_seg: Annotated[
        bool,
        typer.Option(
            "--dicom-seg", help="Write the masks of DICOM images as DICOM SEG, too (extra 'dicom')."
        ),
    ] = False,
    strip_identity: Annotated[
        bool,
        typer.Option(
            "--strip-identity",
            help="Leave out of files, names and tables whose images these are; files become img-000001, ... "
            "NO de-identification: what the pixels show stays. Tools for that are dicognito and deid.",
        ),
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option(help="With --strip-identity: file for the old and new names, readable by you alone."),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Translate any image or folder with a finished run: same matrix, spacing, bit depth and format."""
    from medi2i import translation
    from medi2i.data.manifest import count_notes, read_manifest

    if strip_identity:
        typer.echo(f"warning: {_NO_DEIDENTIFICATION}")
    skipped = translation.translate(
        run,
        location,
        out=out,
        direction=direction,
        device=device,
        style=style,
        references=reference or (),
        draws=draws,
        attributes=translation.parse_assignments(attribute or (), "--attribute"),
        compression=compress,
        segmentations=dicom_seg,
        strip_identity=strip_identity,
        key=key,
    )
    for note in count_notes(read_manifest(out / "manifest.jsonl")):
        typer.echo(f"warning: {note}")
    typer.echo(f"images:     {out / 'images'}")
    if dicom_seg:
        typer.echo(f"DICOM SEG:  {out / 'segmentations'}")
    typer.echo(f"provenance: {out / 'provenance.jsonl'}")
    if key is not None:
        typer.echo(f"key:        {key} (keep it apart from the images)")
    if skipped:
        typer.echo(f"skipped: {len(skipped)} image(s), listed in {out / 'skipped.jsonl'}")
        for item in skipped:
            typer.echo(f"  {item.file}: {item.reason}")
        raise typer.Exit(ExitCode.SKIPPED_INPUTS)
