"""Whether the anatomy can be trusted: the words and tables of `preservation`."""

from __future__ import annotations

from medi2i.report.headline import least_kept
from medi2i.report.schema.controls import Controls
from medi2i.report.schema.part import Share
from medi2i.report.schema.preservation import Preservation, WorstImage
from medi2i.report.tables import Row, Section, Table
from medi2i.report.wording import (
    UNDEFINED,
    counted,
    decimals_for,
    exploratory_note,
    fixed,
    patients_words,
    percent,
    share_words,
    span,
    with_interval,
    words_of,
)

_STATES = {
    "failed": "The instruments failed their controls, so none of these shares can be relied on.",
    "underpowered": "Too few controls to know whether the instruments work: take these shares as hints.",
}


def describe_anatomy(preservation: Preservation, controls: Controls | None) -> str:
    """The answer in two or three sentences."""
    flagged = sum(bool(image.flags or image.sanity) for image in preservation.images)
    over = f"{counted(preservation.n_images, 'translated image')} ({patients_words(preservation.n_patients)})"
    if (least := least_kept(preservation)) is None:
        text = f"No structure could be judged in {over}."
    else:
        text = (
            f"Of {over}, the least kept structure, {least.name}, is certified in {least.kept:,} of "
            f"{least.n:,}: {share_words(least.share)}."
        )
    total = len(preservation.images)
    if total:
        text += f" {flagged:,} of {counted(total, 'image')} ({percent(flagged, total)}) have any flag."
    state = controls.state if controls else None
    return f"{text} {_STATES[state]}" if state in _STATES else text


def structure_share_table(preservation: Preservation) -> Table:
    """Images in which each structure is certified, and how far it moved."""
    unit = preservation.unit
    rows = tuple(
        Row(
            item.name,
            (
                _share(item.share),
                _percents(item.share),
                f"{item.kept:,} of {item.n:,}" if item.n else UNDEFINED,
                with_interval(item.deformation_p50, 2),
                with_interval(item.deformation_p95, 2),
                with_interval(item.deformation_max, 2),
                f"{item.content_flagged:,}" if item.n else UNDEFINED,
            ),
        )
        for item in preservation.structures
    )
    columns = (
        "", "Certified", "95 % interval", "Images", f"Moved, median ({unit})", f"95th percentile ({unit})",
        f"Most ({unit})", "Content flagged",
    )  # fmt: skip
    notes = [
        "Certified: no instrument is above its threshold within the structure; certificate.jsonl says "
        "which, image by image. Moved: deformation between source and translation within the structure; "
        "mean over images with its 95 % interval over patients."
    ]
    if note := exploratory_note(preservation.n_patients):
        notes.append(note)
    return Table(columns, (Section("", rows),), tuple(notes))


def instrument_table(preservation: Preservation) -> Table:
    """Images that each instrument flags."""
    rows = tuple(
        Row(
            words_of(item.name),
            (
                UNDEFINED if item.threshold is None else fixed(item.threshold, 2),
                item.unit or UNDEFINED,
                f"{item.flagged:,} of {item.n:,}" if item.n else UNDEFINED,
                _share(item.share),
                _percents(item.share),
                f"{item.undefined:,}",
            ),
        )
        for item in preservation.instruments
    )
    sources = dict.fromkeys(item.calibrated_on for item in preservation.instruments if item.calibrated_on)
    notes = (f"Thresholds are from {'; '.join(sources)}.",) if sources else ()
    columns = ("Instrument", "Threshold", "Unit", "Flagged", "Share", "95 % interval", "Undefined")
    return Table(columns, (Section("", rows),), notes)


def worst_words(worst: WorstImage) -> str:
    """What was measured on one of the worst images, for its caption."""
    limit = UNDEFINED if worst.threshold is None else fixed(worst.threshold, decimals_for([worst.threshold]))
    score = UNDEFINED if worst.score is None else fixed(worst.score, decimals_for([worst.score]))
    return f"{words_of(worst.by)} {score}, threshold {limit}"


def _share(share: Share) -> str:
    return UNDEFINED if share.estimate is None else percent(share.estimate, 1)


def _percents(share: Share) -> str:
    """The interval in per cent; a dash where nothing was judged, though Wilson has bounds without trials."""
    if share.estimate is None or share.low is None or share.high is None:
        return UNDEFINED
    return f"{span(100 * share.low, 100 * share.high, 0)} %"
