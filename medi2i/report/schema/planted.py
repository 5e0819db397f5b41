"""What was planted in source images and what became of it, and whether a translation hides its source."""

from __future__ import annotations

from medi2i.report.schema.part import Interval, Part, Share


class CountedShare(Share):
    """A share, and how many it is of."""

    count: int


class PlantedKind(Part):
    """One kind of planted thing: `n` were judged, `undecided` were not; the shares are of `n`."""

    kind: str
    n: int
    undecided: int
    kept: CountedShare
    lost: CountedShare
    elsewhere: CountedShare
    response_median: float | None


class Invented(CountedShare):
    """Of `n` with nothing planted: those whose translation shows what the source does not explain."""

    n: int


class ContentControls(Part):
    """Things planted in source images, by kind; `reason` says why none were, `unit` what shares are of."""

    n_images: int
    n_patients: int | None = None
    reason: str | None = None
    unit: str | None = None
    threshold: float | None = None
    calibrated_on: str | None = None
    planted: tuple[PlantedKind, ...] = ()
    invented: Invented | None = None


class Disturbed(Part):
    """A mean over images after each disturbance of the translation."""

    blur: Interval
    noise: Interval
    jpeg: Interval


class Steganography(Part):
    """The error of the way back before and after a disturbance, in `unit`; `reason` says why there is none.

    `amplification` is its growth, divided by what the same disturbance does to the source itself.
    """

    n_images: int
    reason: str | None = None
    unit: str | None = None
    cycle_error: Interval | None = None
    cycle_error_disturbed: Disturbed | None = None
    amplification: Disturbed | None = None
    worst_amplification: float | None = None
