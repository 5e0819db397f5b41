"""`medi2i benchmark`: a suite of runs as one matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medi2i.cli.options import DeviceOption, SetOption


def benchmark(
    suite: Annotated[str, typer.Argument(help="Preset of configs/benchmark or a YAML file.")],
    out: Annotated[Path, typer.Option(help="Folder of the benchmark; an unfinished one is gone on with.")],
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="This machine's share of the runs; one folder for all.")
    ] = "1/1",
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time, each with its share of the cores.")] = 1,
    only: Annotated[
        list[str] | None, typer.Option(metavar="ROW", help="Only this row; may be repeated.")
    ] = None,
    join: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="cells.jsonl of another machine: what it finished counts as finished here."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run and what is finished; run nothing.")
    ] = False,
    set_: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Run methods x data x seeds, measure every run, and write one table and one page."""
    from medi2i import benchmarks
    from medi2i.config import find_preset, load_config
    from medi2i.errors import ExitCode
    from medi2i.rendering import parse_shard

    settings = load_config(find_preset(suite, "benchmark"), benchmarks.SuiteConfig, set_ or ())
    rows = only or ()
    share = parse_shard(shard)
    if dry_run:
        for name, state in benchmarks.describe_benchmark(settings, out=out, shard=share, rows=rows):
            typer.echo(f"{name}: {state}")
        return
    result = benchmarks.run_benchmark(
        settings, out=out, shard=share, jobs=jobs, rows=rows, device=device, join=join or ()
    )
    typer.echo((out / "table.md").read_text(encoding="utf-8"))
    typer.echo(f"table: {out / 'table.md'}, {out / 'table.csv'}, {out / 'table.json'}")
    typer.echo(f"page:  {out / 'index.html'}")
    if result.failed:
        for name, error in result.failed.items():
            typer.echo(f"failed: {name}: {error}")
        raise typer.Exit(ExitCode.SKIPPED_INPUTS)
