"""What commands say at their end."""

from __future__ import annotations

from typing import Any

import typer

_PARAGRAPHS = 4  # verdict, what, distance, structure; the rest is for the page
_WIDEST = 100  # columns: longer lines are hard to read


def print_plan(plan: dict[str, Any]) -> None:
    """What `adapt --dry-run` found out."""
    for section in ("reads", "trains", "writes", "left"):
        if section not in plan:  # nothing is left over for a new run
            continue
        typer.echo(f"{section}:")
        for key, value in plan[section].items():
            if isinstance(value, dict):
                value = ", ".join(f"{k} {v}" for k, v in value.items())
            typer.echo(f"  {key}: {value}")
    for warning in plan["warnings"]:
        typer.echo(f"warning: {warning}")


def print_result(result: Any) -> None:
    """Where a run's files are, its numbers, and the report's words about them."""
    if not result.results:  # the first of several processes has them, and tells
        return
    distance = result.results["distance"]
    shown = ", ".join(f"{name} {value:.3f}" for name, value in distance.items() if value is not None)
    kept = result.results["structure"]["translated"]["gradient_correlation"]["median"]
    run = result.run
    typer.echo(f"distance to the target domain: {shown}")
    shown = "undefined" if kept is None else f"{kept:.3f}"
    typer.echo(f"structure kept (median gradient correlation): {shown}")
    for warning in result.results["warnings"]:
        typer.echo(f"warning: {warning}")
    typer.echo(f"translated images and masks: {run / 'translated'}")
    typer.echo(f"checkpoints:                 {run / 'checkpoints'}")
    typer.echo(f"results:                     {run / 'results.json'}")
    typer.echo(f"report:                      {run / 'report.html'}")
    _print_verdict(result.results)


def print_proof(result: Any) -> None:
    """The verdict and where everything is."""
    import textwrap

    run, verdict = result.run, result.results["verdict"]
    typer.echo(textwrap.fill(f"verdict: {verdict['name']}. {verdict['reason']}", _WIDEST))
    typer.echo(f"certificate: {run / 'certificate.jsonl'}")
    typer.echo(f"tables:      {run / 'tables'}")
    typer.echo(f"results:     {run / 'results.json'}")
    typer.echo(f"report:      {run / 'report.html'}")


def _print_verdict(results: dict[str, Any]) -> None:
    """The report's verdict, and in words what was done, how near it came, what it kept."""
    import shutil
    import textwrap

    from medi2i.report import describe

    width = min(shutil.get_terminal_size().columns, _WIDEST)
    for paragraph in describe(results)[:_PARAGRAPHS]:
        typer.echo()
        typer.echo(textwrap.fill(paragraph, width, break_long_words=False))
