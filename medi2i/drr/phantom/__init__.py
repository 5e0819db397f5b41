"""Phantom patients: volumes with labels and findings from a seed, and data sets of their DRRs and films."""

from __future__ import annotations

from medi2i.drr.phantom.dataset import write_phantom_dataset
from medi2i.drr.phantom.findings import Finding, FindingsConfig
from medi2i.drr.phantom.patient import ORGANS, PatientConfig, PhantomPatient, sample_patient
from medi2i.drr.phantom.settings import PhantomConfig, SiteConfig

__all__ = [
    "ORGANS",
    "Finding",
    "FindingsConfig",
    "PatientConfig",
    "PhantomConfig",
    "PhantomPatient",
    "SiteConfig",
    "sample_patient",
    "write_phantom_dataset",
]
