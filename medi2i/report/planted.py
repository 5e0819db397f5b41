"""Planted findings and the hidden code: what a translation keeps, loses, invents, and whether it cheats."""

from __future__ import annotations

from medi2i.report.schema.part import Interval
from medi2i.report.schema.planted import ContentControls, CountedShare, PlantedKind, Steganography
from medi2i.report.tables import Row, Section, Table
from medi2i.report.wording import (
    UNDEFINED,
    all_of,
    counted,
    fixed,
    patients_words,
    percent,
    sentence,
    share_words,
    span,
)

_DISTURBANCES = {"blur": "blur", "noise": "noise", "jpeg": "JPEG"}


def describe_planted(found: ContentControls) -> str:
    """Where things were planted and what shows with nothing planted, or why nothing was."""
    if found.reason:
        return sentence(f"Nothing could be planted: {found.reason}")
    text = (
        f"Each kind was planted, one at a time, in {counted(found.n_images, 'source image')} "
        f"({patients_words(found.n_patients)})."
    )
    if (invented := found.invented) is None or invented.estimate is None:
        return text
    return (
        f"{text} With nothing planted, {invented.count:,} of {invented.n:,} {_unit(found)} "
        f"{'has' if invented.count == 1 else 'have'} a translation that shows something which the source "
        f"does not explain: {share_words(invented)}."
    )


def planted_table(found: ContentControls) -> Table | None:
    """By kind: kept, lost, undecided, how strong it is in the translation, and what changed elsewhere."""
    if not found.planted:
        return None
    columns = (
        "", "Kept", "95 % interval", "Lost", "Undecided", "Response (%)", "Elsewhere",
    )  # fmt: skip
    notes = [
        f"Of {_unit(found)}, with Wilson's interval. Kept: the translation shows, at its place, what the "
        "source without it does not explain; lost: it does not; undecided: it does so with nothing planted.",
        "Response: strength in the translation, in per cent of that in the source, each in units of its "
        "image's range; median. Elsewhere: something new showed more than 12 pixels away.",
    ]
    if found.unit and found.unit not in ("patients", "images"):
        notes.insert(0, sentence(f"Shares are of {found.unit}"))
    if found.threshold is not None and found.calibrated_on:
        notes.append(f"Threshold of content {fixed(found.threshold, 2)}, from {found.calibrated_on}.")
    return Table(columns, (Section("", tuple(map(_kind_row, found.planted))),), tuple(notes))


def describe_hidden(found: Steganography | None) -> str:
    """The error of the way back, undisturbed and disturbed, and what its growth means; or why none."""
    if found is None:
        return "Not measured."
    if found.reason:
        return sentence(f"Not measured: {found.reason}")
    if found.cycle_error is None or found.cycle_error.estimate is None or found.cycle_error_disturbed is None:
        return f"Undefined in {counted(found.n_images, 'image')}."
    after = all_of(
        [
            f"{_error(getattr(found.cycle_error_disturbed, name))} after {word}"
            for name, word in _DISTURBANCES.items()
        ]
    )
    return (
        f"Translated and back ({counted(found.n_images, 'image')}), the source is missed by "
        f"{_error(found.cycle_error)} of the range undisturbed, {after} of the translation. "
        f"{_meaning(found.worst_amplification)}"
    )


def _meaning(worst: float | None) -> str:
    """What the largest growth of the error says."""
    rule = (
        "A translation that hides its source in fine detail loses it when disturbed, and is far above 1; a "
        "plain change of tones stays near 1, or below 3 after noise."
    )
    if worst is None:
        return f"How much the error grows is undefined. {rule}"
    return (
        f"At worst the error grows by {fixed(worst, 2)} times what the same disturbance does to the source "
        f"itself. {rule}"
    )


def _kind_row(row: PlantedKind) -> Row:
    response = UNDEFINED if row.response_median is None else fixed(100 * row.response_median, 0)
    undecided = f"{row.undecided:,}"
    if not row.n:
        return Row(row.kind, (UNDEFINED, UNDEFINED, UNDEFINED, undecided, response, UNDEFINED))
    kept = row.kept
    known = kept.low is not None and kept.high is not None
    ends = f"{span(100 * (kept.low or 0), 100 * (kept.high or 0), 0)} %" if known else UNDEFINED
    cells = (_share(kept, row.n), ends, f"{row.lost.count:,} of {row.n:,}", undecided, response)
    return Row(row.kind, (*cells, f"{row.elsewhere.count:,} of {row.n:,}"))


def _share(value: CountedShare, total: int) -> str:
    share = UNDEFINED if value.estimate is None else percent(value.estimate, 1)
    return f"{share}\n{value.count:,} of {total:,}"


def _error(value: Interval) -> str:
    """`3.0 % (0.8 to 5.3 %)`: a mean in per cent with its interval."""
    if value.estimate is None:
        return UNDEFINED
    text = f"{fixed(100 * value.estimate, 1)} %"
    if value.low is None or value.high is None:
        return text
    return f"{text} ({span(100 * value.low, 100 * value.high, 1)} %)"


def _unit(found: ContentControls) -> str:
    """`patients` or `images`: the start of the unit, which may say more."""
    return "patients" if (found.unit or "").startswith("patients") else "images"
