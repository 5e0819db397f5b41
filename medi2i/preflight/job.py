"""The audit of two folders, from reading to what is written."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medi2i.data.dataset_folder import DatasetFolder, discover
from medi2i.errors import DatasetFolderError, MaskMismatchError
from medi2i.image import Domain
from medi2i.preflight.content import check_content
from medi2i.preflight.findings import Finding, sort_findings
from medi2i.preflight.forecast import forecast
from medi2i.preflight.frames import check_framing
from medi2i.preflight.record import AuditRecord, make_record, write_record
from medi2i.preflight.sets import check_sets
from medi2i.preflight.settings import AuditConfig
from medi2i.preflight.storage import check_storage
from medi2i.preflight.structures import check_structures
from medi2i.preflight.survey import DomainFacts, survey_folder
from medi2i.preflight.twins import check_twins

_SALT_BYTES = 16
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        record: what `audit.json` holds.
        findings: errors first.
        domains: source and target, image by image.
    """

    record: AuditRecord
    findings: tuple[Finding, ...]
    domains: tuple[DomainFacts, DomainFacts]

    @property
    def usable(self) -> bool:
        """Whether both domains have an image that can be used."""
        return all(domain.images for domain in self.domains)

    def file_of(self, name: str) -> str:
        """Path of an image below its domain's folder, by its id."""
        files = {image.id: image.file for domain in self.domains for image in domain.images}
        files |= {image.id: image.file for domain in self.domains for image in domain.unusable}
        return files[name]


def audit(
    source: Path,
    target: Path,
    *,
    out: Path | None = None,
    config: AuditConfig | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Look at both domains before anything is trained, and say what can go wrong.

    Each image is read once; nothing of a single image, table or mask is fatal.

    Args:
        source: folder of DRRs.
        target: folder of X-rays.
        out: where `audit.json`, `audit.md` and `images.jsonl` are written; None to write nothing.
        config: limits; the defaults if None.
        progress: told what is done (`source`, `target`, `framing`), how far, and of how much.

    Raises:
        UsageError: a folder is not there.
        NothingUsableError: a folder holds no image.
    """
    config = config or AuditConfig()
    salt = secrets.token_bytes(_SALT_BYTES)
    places: tuple[tuple[Domain, Path], ...] = (("source", source), ("target", target))
    found = [_discover(location) for _, location in places]
    domains = [_survey(name, folder, salt, progress) for (name, _), folder in zip(places, found, strict=True)]
    both = (domains[0], domains[1])
    findings = [
        *check_sets(*both, config),
        *check_twins(*both, config),
        *check_content(*both, config),
        *check_storage(*both, config),
        *check_structures(*both, config),
    ]
    if isinstance(found[0], DatasetFolder) and isinstance(found[1], DatasetFolder):
        told = None if progress is None else (lambda done, total: progress("framing", done, total))
        findings += check_framing(*both, (found[0], found[1]), config, told)
    ordered = sort_findings(findings)
    record = make_record(*both, ordered, forecast(ordered), config)
    if out is not None:
        write_record(out, record, both)
    return Audit(record, tuple(ordered), both)


def _discover(location: Path) -> DatasetFolder | str:
    """The folder, or why its tables and masks can't be used."""
    try:
        return discover(location)
    except (DatasetFolderError, MaskMismatchError) as error:
        return str(error)


def _survey(
    domain: Domain, found: DatasetFolder | str, salt: bytes, progress: Progress | None
) -> DomainFacts:
    if isinstance(found, str):
        return DomainFacts(domain, problem=found)
    told = None if progress is None else (lambda done, total: progress(domain, done, total))
    return survey_folder(found, domain, salt=salt, progress=told)
