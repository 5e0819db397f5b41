"""`medi2i audit`: what is wrong with two domains, before anything is trained."""

from __future__ import annotations

from medi2i.preflight.findings import Finding
from medi2i.preflight.job import Audit, audit
from medi2i.preflight.record import AuditRecord, describe_domain
from medi2i.preflight.settings import AuditConfig

__all__ = ["Audit", "AuditConfig", "AuditRecord", "Finding", "audit", "describe_domain"]
