"""`medi2i audit`: look at both domains before anything is trained."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medi2i.errors import ExitCode

if TYPE_CHECKING:
    from medi2i.preflight import Audit

_SHOWN = 3  # images of a finding
_WIDTH = 100


def audit(
    src: Annotated[Path, typer.Option(help="Source domain: folder of DRRs, with masks if any.")],
    tgt: Annotated[Path, typer.Option(help="Target domain: folder of X-rays.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for audit.json, audit.md and images.jsonl; none without it.")
    ] = None,
    framing_films: Annotated[
        int | None,
        typer.Option(
            min=0, max=64, help="Target films whose framing is estimated; 0 for none, 8 without it."
        ),
    ] = None,
) -> None:
    """Say what is wrong with two domains, and what can go wrong with them, before anything is trained.

    Findings do not change the exit code: it is 0, or 4 if a domain has no image that can be used.
    """
    from medi2i import preflight

    given = {} if framing_films is None else {"framing_films": framing_films}
    result = preflight.audit(
        src, tgt, out=out, config=preflight.AuditConfig.model_validate(given), progress=_show
    )
    _print_findings(result)
    for paragraph in ("What can go wrong:", *(f"- {words}" for words in result.record.forecast)):
        _print_wrapped(paragraph)
    if out is not None:
        typer.echo(
            f"\naudit: {out / 'audit.json'}, {out / 'audit.md'}; files of the ids: {out / 'images.jsonl'}"
        )
    if not result.usable:
        raise typer.Exit(ExitCode.NOTHING_USABLE)


def _show(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{what}: {done}/{total}  ", nl=done == total, err=True)


def _print_findings(result: Audit) -> None:
    from medi2i.preflight import describe_domain

    counts = result.record.counts
    typer.echo(f"{counts['error']} error(s), {counts['warning']} warning(s), {counts['info']} to know\n")
    for finding in result.findings:
        _print_wrapped(f"{finding.severity}: {finding.code} ({finding.domain}): {finding.message}")
        if finding.detail:
            _print_wrapped(f"  {finding.detail}")
        if finding.severity != "info":
            if finding.ids:
                shown = ", ".join(f"{name} ({result.file_of(name)})" for name in finding.ids[:_SHOWN])
                more = len(finding.ids) - _SHOWN
                _print_wrapped(f"  images: {shown}" + (f" and {more} more" if more > 0 else ""))
            _print_wrapped(f"  to do: {finding.remedy}")
    typer.echo()
    for name, domain in (("source", result.record.source), ("target", result.record.target)):
        told = describe_domain(domain)
        _print_wrapped(f"{name}: " + "; ".join(f"{key} {value}" for key, value in told.items()))
    typer.echo()


def _print_wrapped(text: str) -> None:
    import textwrap

    indent = " " * (len(text) - len(text.lstrip()) + 2)
    typer.echo(textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False))
