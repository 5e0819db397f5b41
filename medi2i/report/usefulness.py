"""The tables of usefulness: every row of `downstream`, by structure, and what its labels mean."""

from __future__ import annotations

from collections.abc import Sequence

from medi2i.report.schema.downstream import Against, Downstream, DownstreamRow, Overlap, StructureScores
from medi2i.report.tables import Row, Section, Table
from medi2i.report.wording import (
    UNDEFINED,
    all_of,
    by_reason,
    counted,
    exploratory_note,
    fixed,
    patients_words,
    sentence,
    signed,
    span,
    with_interval,
)

_PROTOCOLS = {
    "train-on-translated": "Trained on the images, tested on films",
    "translate-at-test": "Trained on DRRs, films translated before testing",
    "given": "Predictions of other tools",
}


def describe_films(downstream: Downstream) -> str:
    """What the rows were tested on, in one or two sentences."""
    films, settings = downstream.films, downstream.settings
    text = (
        f"All rows were tested on the same {counted(films.n_images, 'labelled film')} "
        f"({patients_words(films.n_patients)}) in {counted(settings.folds, 'fold')} with "
        f"{counted(len(settings.seeds), 'seed')}. Structures: {', '.join(films.structures)}."
    )
    if films.skipped:
        were = "was" if films.skipped == 1 else "were"
        text += f" {counted(films.skipped, 'film')} could not be used and {were} skipped."
    if settings.transductive:
        text += " Test films were seen in training, without their labels (transductive)."
    return text


def mean_table(downstream: Downstream) -> Table:
    """Means over structures of every row, the rows of one protocol together."""
    unit = downstream.settings.unit
    columns = ("", "Labelled patients", *_score_columns(downstream), "Missed, of all")
    sections = []
    for protocol, title in _PROTOCOLS.items():
        rows = [row for row in downstream.rows if row.protocol == protocol]
        if rows:
            sections.append(Section(title, tuple(_mean_row(row, unit) for row in rows)))
    notes = [
        "Means over structures; below each its 95 % interval over patients and seeds. Shaded rows have the "
        "adapter.",
        f"Don't-care: {sentence(downstream.labels.dont_care)}",
        "Missed: structures that were there and not found, over films and seeds; they count with the worst "
        "value. Invented ones are in the table by structure.",
    ]
    if note := exploratory_note(downstream.films.n_patients):
        notes.append(note)
    notes += [sentence(said) for said in downstream.notes]
    return Table(columns, tuple(sections), tuple(notes))


def difference_table(downstream: Downstream) -> Table:
    """Every row against source only, and rows with the adapter against the same without it."""
    rows = [_difference_row(row, row.versus_source, closed=True) for row in downstream.rows]
    adds = [_difference_row(row, row.versus_base) for row in downstream.rows if row.versus_base is not None]
    sections = [Section("Against source only", tuple(rows))]
    if adds:
        sections.append(Section("What translating adds to the same row without it", tuple(adds)))
    columns = (
        "", "Difference in Dice", "p", "p, Holm", "Effect", "Patients", "Gap closed (%)",
    )  # fmt: skip
    notes = [
        "On the same films: p by Wilcoxon's signed ranks on patients, then Holm's correction for all rows of "
        "a block; effect is the rank-biserial correlation, −1 to 1.",
    ]
    refused = by_reason(
        (row.name, row.gap_closed.refused)
        for row in downstream.rows
        if row.gap_closed and row.gap_closed.refused
    )
    notes += [sentence(f"Gap closed is refused for {said}") for said in refused]
    return Table(columns, tuple(sections), tuple(notes))


def pixel_table(downstream: Downstream) -> Table:
    """Dice of each seed, and the FCN-score."""
    columns = ("", "Dice of each seed", "Pixel accuracy", "Class accuracy", "Class IoU")
    seeds = ", ".join(map(str, downstream.settings.seeds))
    note = f"Seeds in this order: {seeds}. Accuracies and IoU (no unit) are the FCN-score of all films."
    return Table(columns, (Section("", tuple(_pixel_row(row) for row in downstream.rows)),), (note,))


def structure_tables(downstream: Downstream) -> Table:
    """Every row by structure."""
    unit = downstream.settings.unit
    names = list(dict.fromkeys(name for row in downstream.rows for name in row.structures))
    thin = any(
        scores.cl_dice or scores.betti_error for row in downstream.rows for scores in row.structures.values()
    )
    sections = tuple(
        Section(
            name,
            tuple(
                Row(row.name, _structure_cells(row.structures[name], unit, thin), own=row.adapter)
                for row in downstream.rows
                if name in row.structures
            ),
        )
        for name in names
    )
    columns = ["", *_score_columns(downstream), "Missed", "Invented", "Of"]
    if thin:
        columns[-3:-3] = ["clDice", "Betti error"]
    return Table(
        tuple(columns),
        sections,
        ("Below each mean its 95 % interval over patients and seeds. Counts are over films and seeds.",),
    )


def label_table(downstream: Downstream) -> Table:
    """Which source structure each target structure was compared with, and the ceiling of its definition."""
    labels = downstream.labels
    ceilings = {item.structure: item.dice for item in labels.ceiling}
    names = dict.fromkeys([*labels.map, *ceilings, *downstream.films.structures])
    rows = [
        Row(name, (", ".join(labels.map.get(name, ())) or UNDEFINED, with_interval(ceilings.get(name), 3)))
        for name in names
    ]
    notes = (
        "Ceiling: Dice (no unit) of one label convention against the other on the same views. A perfect "
        "network that was trained on the one gets no more on the other.",
        sentence(labels.ceiling_note) if labels.ceiling_note else "",
    )
    columns = ("Structure of the films", "Trained as", "Ceiling (Dice)")
    return Table(columns, (Section("", tuple(rows)),), tuple(note for note in notes if note))


def describe_labels(downstream: Downstream) -> str:
    """The conventions of both label sets, in words."""
    labels = downstream.labels
    source, target = labels.source_convention or "not stated", labels.target_convention or "not stated"
    same = source == target and labels.source_convention is not None
    text = f"Label convention of the source: {source}; of the films: {target}."
    text += (
        " They are the same."
        if same
        else " Where they differ, a lower overlap is a matter of definition and not of the images."
    )
    if labels.left_out:
        text += f" Not scored: {', '.join(labels.left_out)}."
    fit = downstream.mirrored
    if fit is None or fit.estimate is None:
        return text
    return (
        f"{text} Answers fit a film's own labels better than another patient's by {fixed(fit.estimate, 2)} "
        f"in Dice ({span(fit.low, fit.high, 2)}); 0 would mean shuffled labels, or that nothing was learned."
    )


def _score_columns(downstream: Downstream) -> tuple[str, ...]:
    settings = downstream.settings
    tolerance = f"NSD at {settings.tolerance:g} {settings.unit}"
    return ("Dice", "Dice with don't-care", tolerance, f"HD95 ({settings.unit})", f"ASSD ({settings.unit})")


def _mean_row(row: DownstreamRow, unit: str) -> Row:
    missed = sum(scores.missed for scores in row.structures.values())
    total = sum(scores.n for scores in row.structures.values())
    labelled = "all" if row.labelled_patients == "all" else f"{row.labelled_patients:,}"
    cells = (labelled, *_overlap_cells(row.mean, unit), f"{missed:,} of {total:,}")
    return Row(row.name, cells, own=row.adapter)


def _overlap_cells(scores: Overlap, unit: str) -> tuple[str, ...]:
    digits = 2 if unit == "mm" else 1
    return (
        with_interval(scores.dice, 3),
        with_interval(scores.dice_cared, 3),
        with_interval(scores.nsd, 3),
        with_interval(scores.hd95, 1),
        with_interval(scores.assd, digits),
    )


def _structure_cells(scores: StructureScores, unit: str, thin: bool) -> tuple[str, ...]:
    extra = (with_interval(scores.cl_dice, 3), with_interval(scores.betti_error, 2)) if thin else ()
    counts = (f"{scores.missed:,}", f"{scores.invented:,}", f"{scores.n:,}")
    return (*_overlap_cells(scores, unit), *extra, *counts)


def _difference_row(row: DownstreamRow, against: Against | None, *, closed: bool = False) -> Row:
    return Row(row.name, (*_against_cells(against), _closed(row) if closed else ""), own=row.adapter)


def _closed(row: DownstreamRow) -> str:
    gap = row.gap_closed
    closed = UNDEFINED if gap is None or gap.estimate is None else fixed(100 * gap.estimate, 0)
    if gap is not None and gap.low is not None and gap.high is not None:
        closed += f"\n{span(100 * gap.low, 100 * gap.high, 0)}"
    return closed


def _pixel_row(row: DownstreamRow) -> Row:
    fcn = row.fcn_score
    found = (None,) * 3 if fcn is None else (fcn.pixel_accuracy, fcn.class_accuracy, fcn.class_iou)
    cells = (_seeds(row.per_seed_dice), *(fixed(value, 3) for value in found))
    return Row(row.name, cells, own=row.adapter)


def _against_cells(against: Against | None) -> tuple[str, ...]:
    if against is None:
        return (UNDEFINED,) * 5
    difference = against.difference
    shown = signed(difference.estimate, 3)
    if difference.low is not None and difference.high is not None:
        shown += f"\n{signed(difference.low, 3)} to {signed(difference.high, 3)}"
    tested = (_p_value(against.p_value), _p_value(against.p_holm), fixed(against.effect, 2))
    return (shown, *tested, f"{against.n_patients:,}")


def _p_value(value: float | None) -> str:
    if value is None:
        return UNDEFINED
    return "<0.001" if value < 0.001 else fixed(value, 3)


def _seeds(values: Sequence[float | None]) -> str:
    return ", ".join(fixed(value, 3) for value in values) or UNDEFINED


def describe_protocols(downstream: Downstream) -> str:
    """The protocols in words, for the methods paragraph."""
    return all_of(
        [
            _PROTOCOLS[name][0].lower() + _PROTOCOLS[name][1:]
            for name in _PROTOCOLS
            if name in downstream.settings.protocols
        ]
        or [UNDEFINED]
    )
