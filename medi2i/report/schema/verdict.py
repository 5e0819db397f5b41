"""What `medi2i evaluate` concludes: the verdict, and how much of the gap the adapter closed."""

from __future__ import annotations

from typing import Literal

from medi2i.report.schema.part import Interval, Part

VerdictName = Literal["use", "use with care", "do not translate", "cannot tell", "INVALID"]


class Verdict(Part):
    """One word by a written rule, and why; names are those of rows of the downstream table."""

    name: VerdictName
    reason: str
    cautions: tuple[str, ...] = ()
    adapter_row: str | None = None
    best_row: str | None = None
    better_row: str | None = None
    difference: Interval | None = None


class GapClosed(Part):
    """(row - source only) / (oracle - source only); `refused` says why there is none."""

    row: str
    estimate: float | None
    low: float | None
    high: float | None
    n_patients: int
    n_seeds: int
    refused: str | None
