"""What an audit says: findings with a code, a severity, the images they are about, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        code: fixed name, as listed in docs/audit.md.
        severity: `error`: a run stops or its numbers mean nothing; `warning`: results suffer; `info`: no
            fault.
        domain: `source`, `target`, or `both`.
        message: what was found, in words and numbers, without any name of a file or patient.
        remedy: what to do.
        ids: the images it is about, as in `images.jsonl`; empty for findings about a whole domain.
        total: images that were looked at.
        detail: more for the terminal that may name a file; it is written nowhere.
    """

    code: str
    severity: Severity
    domain: Literal["source", "target", "both"]
    message: str
    remedy: str
    ids: tuple[str, ...] = ()
    total: int = 0
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `audit.json`."""
        return {
            "code": self.code,
            "severity": self.severity,
            "domain": self.domain,
            "count": len(self.ids),
            "total": self.total,
            "message": self.message,
            "remedy": self.remedy,
            "ids": list(self.ids),
        }


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then warnings, then the rest; otherwise as they came."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def count_severities(findings: Sequence[Finding]) -> dict[str, int]:
    """Number of findings of each severity."""
    return {name: sum(finding.severity == name for finding in findings) for name in SEVERITIES}
