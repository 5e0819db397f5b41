"""`medi2i reader-study`: ask readers which picture is the real film, and score their answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from medi2i.reader_study import ReaderStudyScore


def reader_study(
    run: Annotated[Path, typer.Argument(help="Run folder of `medi2i adapt`.")],
    out: Annotated[Path | None, typer.Option(help="New page, e.g. page.html.")] = None,
    score: Annotated[
        Path | None, typer.Option(help="Folder of answers that readers saved; goes into the report.")
    ] = None,
    trials: Annotated[int, typer.Option(min=4, help="Pairs that count; fewer where images are few.")] = 40,
    practice: Annotated[int, typer.Option(min=0, help="Pairs before them, whose answer is told.")] = 10,
    checks: Annotated[int, typer.Option(min=1, help="Easy pairs among them; a wrong one excludes.")] = 6,
    seconds: Annotated[float, typer.Option(min=0.1, max=60, help="How long a picture is shown.")] = 1.0,
    free_time: Annotated[
        bool, typer.Option("--free-time", help="Show both pictures for as long as the reader likes.")
    ] = False,
    side: Annotated[int, typer.Option(min=16, max=512, help="Rows and columns of a picture at most.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Draws images, pairs and sides.")] = 0,
) -> None:
    """Make one offline page of film-or-translated pairs for readers (--out), or score answers (--score)."""
    from medi2i.errors import UsageError

    if (out is None) == (score is None):
        raise UsageError(
            "reader-study",
            found="both --out and --score" if out else "neither --out nor --score",
            expected="--out page.html to make a page, or --score FOLDER to score answers to it",
            remedy="give one of them",
        )
    if out is not None:
        values: dict[str, object] = {
            "trials": trials,
            "practice": practice,
            "checks": checks,
            "seconds": None if free_time else seconds,
            "side": side,
            "seed": seed,
        }
        _make(run, out, values)
    elif score is not None:
        _score(run, score)


def _make(run: Path, out: Path, values: dict[str, object]) -> None:
    from medi2i.adaptation.run_folder import RunFolder
    from medi2i.config import validate_config
    from medi2i.data.outputs import read_provenance
    from medi2i.reader_study import ReaderStudyConfig, write_study

    config = validate_config(values, ReaderStudyConfig, "reader-study")
    finished = RunFolder(run)
    domains = finished.domains
    written = {record["id"] for record in read_provenance(run / "translated")}
    study = write_study(
        domains,
        finished.translation,
        translated=[row for row in domains.source if row.id in written],
        run=run,
        out=out,
        config=config,
    )
    counts = {kind: len(study.key.of_kind(kind)) for kind in ("trial", "practice", "check")}
    typer.echo(
        f"pairs: {counts['trial']} that count, {counts['practice']} for practice, {counts['check']} "
        f"attention checks; pictures of {study.side} x {study.side}"
    )
    if counts["trial"] < config.trials:
        typer.echo(f"note: the run's images are not enough for {config.trials} pairs")
    typer.echo(f"page: {out} (give it to readers; it holds the pictures, and nothing leaves it)")
    typer.echo(f"key:  {study.key_path} (keep it from readers; --score needs it)")


def _score(run: Path, folder: Path) -> None:
    from medi2i.errors import ExitCode
    from medi2i.reader_study import score_study
    from medi2i.report import write_report

    found = score_study(run, folder)
    _print_score(found)
    typer.echo(f"scores: {run / 'reader_study.json'}")
    typer.echo(f"report: {write_report(run)}")
    if found.excluded or found.unusable:
        raise typer.Exit(ExitCode.SKIPPED_INPUTS)


def _print_score(found: ReaderStudyScore) -> None:
    for reader in found.readers:
        typer.echo(
            f"{reader.reader}: fooled {reader.fooled} of {reader.trials}, "
            f"{reader.share:.0%} ({reader.low:.0%} to {reader.high:.0%})"
        )
    share = found.share
    if share.estimate is None:
        typer.echo("over readers: no reader counts")
    elif share.low is None or share.high is None:
        typer.echo(f"over readers: {share.estimate:.0%}, one reader and so no interval (50% is guessing)")
    else:
        typer.echo(
            f"over {len(found.readers)} readers: fooled {share.estimate:.0%} "
            f"({share.low:.0%} to {share.high:.0%}; 50% is guessing)"
        )
    for excluded in found.excluded:
        typer.echo(f"excluded: {excluded.reader}: {excluded.reason}")
    for name, reason in found.unusable:
        typer.echo(f"skipped: {name}: {reason}")
