"""What an audit writes: `audit.json` by a schema, the same as a page, and which file an id is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from medi2i.config import Config
from medi2i.io.atomic import write_text_atomically
from medi2i.preflight.findings import Finding, Severity, count_severities
from medi2i.preflight.settings import AuditConfig
from medi2i.preflight.survey import DomainFacts, describe_files


class FindingRecord(Config):
    """One finding, as `Finding` has it; `count` is the number of `ids`."""

    code: str
    severity: Severity
    domain: Literal["source", "target", "both"]
    count: int
    total: int
    message: str
    remedy: str
    ids: tuple[str, ...]


class DomainRecord(Config):
    """One domain in numbers.

    Attributes:
        images, unusable: readable images, and others.
        patients: known patients, and images of unknown ones as one each.
        patients_unknown: images without a known patient.
        views, formats, bits: how many images of each; `unknown` and `float` where nothing is said.
        rows, columns: smallest and largest.
        spacing_mm: smallest and largest of rows and columns; None where all are unknown.
        spacing_unknown: images without a spacing.
        exposed: median share of the matrix that shows anything; None without images.
        marks, text: images with marks only, and with lines of text.
        structures: share of the images with masks that show each.
        convention: of lung masks, as dataset.json says.
        splits: how many images of each split that patients.csv gives.
    """

    images: int
    unusable: int
    patients: int
    patients_unknown: int
    views: dict[str, int]
    formats: dict[str, int]
    bits: dict[str, int]
    rows: tuple[int, int] | None
    columns: tuple[int, int] | None
    spacing_mm: tuple[float, float] | None
    spacing_unknown: int
    exposed: float | None
    marks: int
    text: int
    structures: dict[str, float]
    convention: str | None
    splits: dict[str, int]


class AuditRecord(Config):
    """The whole of `audit.json`; no name of a file or patient is in it."""

    version: Literal[1] = 1
    findings: tuple[FindingRecord, ...]
    counts: dict[Severity, int]
    forecast: tuple[str, ...]
    source: DomainRecord
    target: DomainRecord
    settings: AuditConfig


def make_record(
    source: DomainFacts,
    target: DomainFacts,
    findings: Sequence[Finding],
    words: Sequence[str],
    config: AuditConfig,
) -> AuditRecord:
    """The record of an audit."""
    return AuditRecord(
        findings=tuple(FindingRecord.model_validate(finding.to_dict()) for finding in findings),
        counts=count_severities(findings),
        forecast=tuple(words),
        source=_describe(source),
        target=_describe(target),
        settings=config,
    )


def write_record(out: Path, record: AuditRecord, domains: tuple[DomainFacts, DomainFacts]) -> None:
    """Write `audit.json`, `audit.md`, and `images.jsonl`, which alone names files, below their folders.

    Raises:
        DiskFullError: the disk or the quota is full.
        EnvironmentProblemError: `out` can't be written.
    """
    write_text_atomically(out / "audit.json", record.model_dump_json(indent=1) + "\n")
    write_text_atomically(out / "audit.md", describe_record(record))
    write_text_atomically(out / "images.jsonl", describe_files(domains))


def describe_record(record: AuditRecord) -> str:
    """The record as a page of Markdown: findings first, then the forecast, then the numbers."""
    lines = ["# Audit", ""]
    if not record.findings:
        lines += ["No finding.", ""]
    for finding in record.findings:
        lines += [f"## {finding.severity}: {finding.code} ({finding.domain})", "", f"{finding.message}.", ""]
        lines += [f"To do: {finding.remedy}.", ""]
        if finding.ids:
            lines += [f"Images: {', '.join(finding.ids)}.", ""]
    lines += ["## What can go wrong", "", *(f"- {words}" for words in record.forecast), ""]
    lines += ["## Numbers", "", "| | Source | Target |", "|---|---|---|"]
    own, other = describe_domain(record.source), describe_domain(record.target)
    lines += [f"| {name} | {own[name]} | {other[name]} |" for name in own]
    return "\n".join(lines) + "\n"


def describe_domain(domain: DomainRecord) -> dict[str, str]:
    """One domain in words, by what is told."""

    def between(pair: Sequence[float] | None) -> str:
        if pair is None:
            return "unknown"
        return f"{pair[0]:g}" if pair[0] == pair[1] else f"{pair[0]:g} to {pair[1]:g}"

    def counted(counts: dict[str, int]) -> str:
        return ", ".join(f"{name}: {count}" for name, count in counts.items()) or "none"

    spacing = between(domain.spacing_mm)
    return {
        "images": f"{domain.images}" + (f" ({domain.unusable} unusable)" if domain.unusable else ""),
        "patients": f"{domain.patients}"
        + (f" ({domain.patients_unknown} images unknown)" if domain.patients_unknown else ""),
        "views": counted(domain.views),
        "rows": between(domain.rows),
        "columns": between(domain.columns),
        "spacing, mm": spacing + (f" ({domain.spacing_unknown} unknown)" if domain.spacing_unknown else ""),
        "stored bits": counted(domain.bits),
        "formats": counted(domain.formats),
        "exposed (median)": "unknown" if domain.exposed is None else f"{domain.exposed:.0%}",
        "images with marks, with text": f"{domain.marks}, {domain.text}",
        "structures": ", ".join(f"{name} {share:.0%}" for name, share in domain.structures.items()) or "none",
        "convention of lungs": domain.convention or "unknown",
        "splits": counted(domain.splits),
    }


def _describe(domain: DomainFacts) -> DomainRecord:
    images = domain.images
    spacings = [value for image in images if image.spacing_mm is not None for value in image.spacing_mm]
    masks = np.array([image.masks.areas for image in images if image.masks is not None])
    shares = (masks > 0).mean(axis=0).tolist() if len(masks) else []
    return DomainRecord(
        images=len(images),
        unusable=len(domain.unusable),
        patients=domain.patients,
        patients_unknown=sum(image.patient is None for image in images),
        views=_count([image.view or "unknown" for image in images]),
        formats=_count([image.format for image in images]),
        bits=_count(["float" if image.bits_stored is None else str(image.bits_stored) for image in images]),
        rows=_ends([image.shape[0] for image in images]),
        columns=_ends([image.shape[1] for image in images]),
        spacing_mm=(min(spacings), max(spacings)) if spacings else None,
        spacing_unknown=sum(image.spacing_mm is None for image in images),
        exposed=float(np.median([image.exposed for image in images])) if images else None,
        marks=sum(image.writing.marks > 0 and not image.writing.lines for image in images),
        text=sum(image.writing.lines > 0 for image in images),
        structures=dict(zip(domain.structures, shares, strict=False)),
        convention=domain.convention,
        splits=_count([image.split for image in images if image.split]),
    )


def _count(words: list[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())


def _ends(values: list[int]) -> tuple[int, int] | None:
    return (min(values), max(values)) if values else None
