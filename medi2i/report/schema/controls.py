"""What the controls say of the instruments: known changes, found or not."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from medi2i.report.schema.part import Part, Share


class ControlRow(Part):
    """One control on the patients that thresholds are not from; `expected`: whether it should be flagged."""

    name: str
    expected: bool
    n: int
    flagged: float | None
    low: float | None
    high: float | None
    by: dict[str, float | None] = Field(default_factory=dict)
    area: float | None = None


class DosePoint(Part):
    """One instrument's scores over images that a warp of this root mean square moved."""

    instrument: str
    warp_px: float
    p5: float | None
    median: float | None
    p95: float | None


class Controls(Part):
    """The controls as sets, by the rule of `docs/report.md`."""

    state: Literal["passed", "failed", "underpowered"]
    reasons: tuple[str, ...] = ()
    source: str
    calibration_patients: int
    tested_patients: int
    strengths: dict[str, JsonValue] = Field(default_factory=dict)
    thresholds: dict[str, float | None]
    structure_thresholds: dict[str, float | None] = Field(default_factory=dict)
    false_flags: Share
    results: tuple[ControlRow, ...]
    dose_response: tuple[DosePoint, ...] = ()
