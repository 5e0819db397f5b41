"""Whether the instruments can be believed: the words and tables of `controls`."""

from __future__ import annotations

from medi2i.report.open_parts import value_text
from medi2i.report.schema.controls import ControlRow, Controls
from medi2i.report.tables import Row, Section, Table
from medi2i.report.wording import UNDEFINED, counted, fixed, percent, sentence, share_words, span, words_of

_STATES = {
    "passed": "The controls passed.",
    "failed": "The controls failed.",
    "underpowered": "The controls are underpowered.",
}


def describe_controls(controls: Controls) -> str:
    """What the controls came to, on what, and why."""
    text = _STATES[controls.state]
    if controls.reasons:
        text += f" {sentence(words_of('; '.join(controls.reasons)))}"
    return (
        f"{text} Known changes were made to {controls.source}: thresholds from "
        f"{counted(controls.calibration_patients, 'patient')}, tested on {controls.tested_patients:,} "
        f"others. Style changes flagged: {share_words(controls.false_flags)} of patients."
    )


def control_table(controls: Controls) -> Table:
    """Every control: what should be found, and what should not."""
    instruments = list(dict.fromkeys(name for row in controls.results for name in row.by))
    groups = {
        "Changes of anatomy: should be found": [row for row in controls.results if row.expected],
        "Changes of style: no structure instrument should flag them": [
            row for row in controls.results if not row.expected
        ],
    }
    sections = tuple(
        Section(title, tuple(_row(row, instruments) for row in rows))
        for title, rows in groups.items()
        if rows
    )
    columns = ("", "Images", "Flagged", "95 % interval", *map(words_of, instruments), "AUC")
    return Table(columns, sections, _notes(controls))


def _row(row: ControlRow, instruments: list[str]) -> Row:
    interval = (
        UNDEFINED
        if row.flagged is None or row.low is None or row.high is None
        else f"{span(100 * row.low, 100 * row.high, 0)} %"
    )
    by = tuple(_percent(row.by.get(name)) for name in instruments)
    return Row(words_of(row.name), (f"{row.n:,}", _percent(row.flagged), interval, *by, fixed(row.area, 3)))


def _notes(controls: Controls) -> tuple[str, ...]:
    notes = [
        "Flagged: share of images that a structure instrument flags, with Wilson's interval; then the "
        "share that each instrument flags. AUC (no unit): how well geometry tells a warp from all style "
        "changes.",
        f"Thresholds: {_named(controls.thresholds)}.",
    ]
    if controls.structure_thresholds:
        notes.append(f"Thresholds of deformation by structure: {_named(controls.structure_thresholds)}.")
    if controls.strengths:
        said = "; ".join(
            f"{words_of(name)} {value_text(value)}" for name, value in controls.strengths.items()
        )
        notes.append(f"Strengths: {said}.")
    return tuple(notes)


def _named(values: dict[str, float | None]) -> str:
    return ", ".join(f"{words_of(name)} {fixed(value, 2)}" for name, value in values.items()) or UNDEFINED


def _percent(share: float | None) -> str:
    return UNDEFINED if share is None else percent(share, 1)
