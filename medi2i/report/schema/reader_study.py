"""What `medi2i reader-study RUN --score` writes."""

from __future__ import annotations

from medi2i.report.schema.part import Part, Share


class ReaderRow(Part):
    """One reader's answers: translated images taken for films, of those shown."""

    reader: str
    experience: str
    fooled: int
    trials: int
    share: float
    low: float
    high: float
    chose_first: float


class ExcludedReader(Part):
    """A reader whose answers don't count."""

    reader: str
    reason: str


class ReaderStudy(Part):
    """What `medi2i reader-study RUN --score` wrote."""

    seconds: float | None
    trials: int
    checks: int
    patients: dict[str, int | None]
    share: Share
    readers: tuple[ReaderRow, ...]
    excluded: tuple[ExcludedReader, ...]
