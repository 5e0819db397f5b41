"""The tables of the report: cells as text, ready to be laid out."""

from __future__ import annotations

from dataclasses import dataclass

from medi2i.report.comparison import standing
from medi2i.report.results import FEATURE_GROUPS, METHODS, TRUTH_MEASURES, Results, edge_units
from medi2i.report.schema.adapted import DomainFacts, Floor, Summary, Truth
from medi2i.report.wording import (
    UNDEFINED,
    counted,
    decimals_for,
    duration,
    fixed,
    flag_name,
    interval_note,
    method_name,
    moment,
    row_name,
)

_SPLITS = {"train": "Training images", "validation": "Validation images", "test": "Test images"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its name and its cells.

    Attributes:
        own: whether it is the run's own method, which the table makes stand out.
    """

    name: str
    cells: tuple[str, ...]
    own: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under one heading, such as one measure."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its column names (the first is that of the rows' names), sections, and notes below it."""

    columns: tuple[str, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()


def data_table(results: Results) -> Table:
    """What the two domains hold, side by side."""
    domains = (results.data.source, results.data.target)
    names = sorted({name for domain in domains for name in domain.attributes})
    columns = [_domain_cells(domain) | _attribute_cells(domain, names) for domain in domains]
    rows = tuple(Row(name, (columns[0][name], columns[1][name])) for name in columns[0])
    return Table(("", "Source", "Target"), (Section("", rows),))


def distance_table(results: Results) -> Table:
    """Distances to the held-out target images, between the floor and doing nothing."""
    distances, where = results.distance_groups, standing(results)
    digits = decimals_for([where.identity, where.translated], most=3)
    floor = [_floor(getattr(results.floors, group), digits) for group in FEATURE_GROUPS]
    rows = [
        Row("real against real (floor)", (*floor, fixed(where.position(results.floor.mean), 2), UNDEFINED))
    ]
    for name in METHODS:
        values = getattr(distances, name)
        cells = [fixed(getattr(values, group), digits) for group in FEATURE_GROUPS]
        cells.append(fixed(where.position(values.all), 2))
        cells.append(fixed(getattr(results.distance_held_out_source, name).all, digits))
        rows.append(Row(row_name(name, results.run.method), tuple(cells), own=name == "translated"))
    columns = ("", "All", "Intensity", "Gradient", "Spectrum", "Position", "All, held-out source")
    return Table(columns, (Section("", tuple(rows)),), _distance_notes(results))


def structure_table(results: Results) -> Table:
    """Structure kept against the source, measure by measure."""
    measures = {
        "gradient_correlation": "Gradient correlation (1 is best)",
        "ssim": "SSIM (falls with tone, too)",
    }
    notes = [_interval_note(results.structure.identity.gradient_correlation)]
    if len(edge_units(results.images)) == 1:
        unit = results.edge_unit
        measures |= {
            "edge_median": f"Edge displacement, an image's median ({unit})",
            "edge_p95": f"Edge displacement, an image's 95th percentile ({unit})",
        }
    else:
        notes.append("Edge displacement is not shown: some images have a spacing in mm and some have none.")
    sections = tuple(
        _measure_section(
            title,
            {name: getattr(getattr(results.structure, name), measure) for name in METHODS},
            results.run.method,
        )
        for measure, title in measures.items()
    )
    notes.append("Percentiles are over images. Images where a measure is undefined count in nothing else.")
    return Table(("", "5th", "Median", "95th", "Mean", "95 % interval", "Images"), sections, tuple(notes))


def truth_table(truth: Truth, method: str) -> Table:
    """Errors against true target images, and their ratio to doing nothing."""
    titles = {
        "mean_absolute_error": "Mean absolute error (fraction of range)",
        "ssim": "SSIM with the true image",
    }
    sections = []
    for measure in TRUTH_MEASURES:
        summaries: dict[str, Summary] = {name: getattr(getattr(truth, name), measure) for name in METHODS}
        baseline = summaries["identity"].mean.estimate
        rows = []
        for name, summary in summaries.items():
            estimate = summary.mean.estimate
            ratio = estimate / baseline if estimate is not None and baseline else None
            cells = (fixed(estimate, 3), _interval(summary), fixed(ratio, 2), _images(summary))
            rows.append(Row(row_name(name, method), cells, own=name == "translated"))
        sections.append(Section(titles[measure], tuple(rows)))
    note = _interval_note(truth.identity.mean_absolute_error)
    patients = counted(
        truth.n_patients, "patient (or image of unknown patient)", "patients (or images of unknown patients)"
    )
    counts = f"{counted(truth.n_images, 'source image')} never trained on, of {patients}."
    return Table(
        ("", "Mean", "95 % interval", "Ratio to identity", "Images"), tuple(sections), (counts, note)
    )


def check_table(results: Results) -> Table:
    """Sanity flags of the translated images, and what became of the masks."""
    total = f"{len(results.images):,}"
    flags = tuple(Row(flag_name(flag), (f"{number:,}", total)) for flag, number in results.flags.items())
    masks, of = results.masks, f"{results.masks.in_source:,}"
    carried = (
        Row("carried along", (f"{masks.carried:,}", of)),
        Row("byte for byte the same", (f"{masks.identical:,}", of)),
    )
    sections = (Section("Translated images flagged", flags), Section("Masks of the source", carried))
    return Table(("", "Number", "Of"), sections)


def fact_rows(results: Results) -> list[tuple[str, str]]:
    """How the run was made."""
    run = results.run
    libraries = ", ".join(f"{name} {version}" for name, version in results.versions)
    return [
        ("Method", method_name(run.method)),
        ("Seed", str(run.seed)),
        ("Training steps", f"{run.steps:,}" if run.steps else "none: nothing is trained"),
        ("Checkpoint used", f"step {run.best_step:,}" if run.steps else "the only one"),
        ("Rule of choice", run.rule if run.steps else "there was nothing to choose"),
        ("Device, precision", f"{run.device}, {run.precision}"),
        ("Working size", f"{run.working_size:,} px; features at {run.feature_size:,} px"),
        ("Time", duration(run.seconds)),
        ("Finished", moment(run.finished)),
        ("Versions", f"medi2i {results.medi2i}, results format {results.format}, {libraries}"),
    ]


def _floor(floor: Floor, digits: int) -> str:
    mean = fixed(floor.mean, digits)
    return mean if floor.sd is None else f"{mean} ± {fixed(floor.sd, digits)}"


def _distance_notes(results: Results) -> tuple[str, ...]:
    floor = results.floor
    if floor.mean is None:
        real = "The floor could not be measured and counts as 0"
    else:
        images = counted(floor.n_images, "held-out target image")
        real = f"Floor: mean ± standard deviation over {floor.repeats:,} random halvings of {images}"
    notes = [
        f"Energy distance of image features, unbiased, so it may be below 0. {real}.",
        "Position: (distance − floor) / (identity − floor) over all features; 0 is as real images among "
        "themselves, 1 is doing nothing. Held-out source: source images that training never looked at.",
    ]
    undefined = [
        f"{row_name(name, results.run.method)} {number:,}"
        for name, number in results.n_undefined_features
        if number
    ]
    if undefined:
        notes.append(f"Images without features, which count in no distance: {', '.join(undefined)}.")
    if not standing(results).gap:
        notes.append(
            "No positions: doing nothing is no further away than twice the standard deviation of the floor."
        )
    return tuple(notes)


def _domain_cells(domain: DomainFacts) -> dict[str, str]:
    smallest, largest = (
        f"{rows:,} × {columns:,}" for rows, columns in (domain.matrix_smallest, domain.matrix_largest)
    )
    return {
        "Images": f"{domain.n_images:,}",
        "Patients": "unknown" if domain.n_patients is None else f"{domain.n_patients:,}",
        **{title: f"{domain.splits.get(name, 0):,}" for name, title in _SPLITS.items()},
        "Matrix (rows × columns)": smallest if smallest == largest else f"{smallest} to {largest}",
        "Bits stored": ", ".join(map(str, domain.bits_stored)) or "floating point",
        "Spacing from": _origins(domain),
        "Structures": ", ".join(domain.structures) or "none",
        "Skipped": f"{domain.n_skipped:,}",
    }


def _attribute_cells(domain: DomainFacts, names: list[str]) -> dict[str, str]:
    """How images were taken: each attribute's values with the images they hold for."""
    counts = {name: domain.attributes.get(name, {}) for name in names}
    return {
        name.replace("_", " ").capitalize(): ", ".join(
            f"{value} ({number:,})" for value, number in of.items()
        )
        or "unknown"
        for name, of in counts.items()
    }


def _origins(domain: DomainFacts) -> str:
    origins = domain.spacing_origins
    if len(origins) == 1:
        return next(iter(origins))
    return ", ".join(f"{origin} ({number:,})" for origin, number in origins.items()) or UNDEFINED


def _measure_section(title: str, summaries: dict[str, Summary], method: str) -> Section:
    rows = []
    for name, summary in summaries.items():
        quantiles = (
            fixed(value, 3) for value in (summary.p5, summary.median, summary.p95, summary.mean.estimate)
        )
        cells = (*quantiles, _interval(summary), _images(summary))
        rows.append(Row(row_name(name, method), cells, own=name == "translated"))
    return Section(title, tuple(rows))


def _interval(summary: Summary) -> str:
    low, high = summary.mean.low, summary.mean.high
    return UNDEFINED if low is None or high is None else f"{fixed(low, 3)} to {fixed(high, 3)}"


def _images(summary: Summary) -> str:
    mean = summary.mean
    total = mean.n_images + mean.n_undefined
    return f"{total:,}" if not mean.n_undefined else f"{mean.n_images:,} of {total:,}"


def _interval_note(summary: Summary) -> str:
    note = interval_note(summary.mean)
    return f"{note[0].upper()}{note[1:]}."
