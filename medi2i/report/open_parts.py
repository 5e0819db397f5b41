"""Parts of `results.json` whose keys depend on the method, such as what was planted: laid out as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from medi2i.report.tables import Row, Section, Table
from medi2i.report.wording import UNDEFINED, decimals_for, fixed, percent, span, words_of

_INTERVAL = {"estimate", "low", "high"}


def open_table(values: Mapping[str, JsonValue], notes: tuple[str, ...] = ()) -> Table:
    """A row a number, a section a group of them; text becomes a note."""
    loose = tuple(row for key, value in values.items() if not _is_group(value) for row in _rows(key, value))
    sections = [Section("", loose)] if loose else []
    for key, value in values.items():
        if _is_group(value) and isinstance(value, dict):
            rows = tuple(row for name, inner in value.items() for row in _rows(name, inner))
            sections.append(Section(_title(key), rows))
    said = tuple(f"{_title(key)}: {value}" for key, value in values.items() if isinstance(value, str))
    columns: tuple[str, ...] = ("", "Value", "95 % interval")
    if all(row.cells[1] == UNDEFINED for section in sections for row in section.rows):
        columns = columns[:2]
        sections = [
            Section(section.title, tuple(Row(row.name, row.cells[:1]) for row in section.rows))
            for section in sections
        ]
    return Table(columns, tuple(sections), (*said, *notes))


def value_text(value: JsonValue) -> str:
    """One open value in few characters: a number, `mean ± sd`, or a dash."""
    if isinstance(value, dict):
        mean, sd = value.get("mean"), value.get("sd")
        if not _is_number(mean):
            return UNDEFINED
        return f"{_number(mean)} ± {_number(sd)}" if _is_number(sd) else _number(mean)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(value_text(item) for item in value) or UNDEFINED
    return _number(value) if _is_number(value) else UNDEFINED


def _rows(name: str, value: JsonValue) -> Iterator[Row]:
    if isinstance(value, str):
        return
    if isinstance(value, dict) and value.keys() >= _INTERVAL:
        yield Row(_title(name), _interval_cells(value))
    elif isinstance(value, dict) and "mean" not in value:
        for inner, deeper in value.items():
            yield from _rows(f"{name}, {inner}", deeper)
    else:
        yield Row(_title(name), (value_text(value), UNDEFINED))


def _interval_cells(value: Mapping[str, JsonValue]) -> tuple[str, str]:
    estimate, low, high = (_float(value[key]) for key in ("estimate", "low", "high"))
    if estimate is None:
        return UNDEFINED, UNDEFINED
    if "n_images" in value:  # a mean, which has a unit of its own
        digits = _digits(estimate)
        return fixed(estimate, digits), span(low, high, digits)
    ends = UNDEFINED if low is None or high is None else f"{percent(low, 1)} to {percent(high, 1)}"
    return percent(estimate, 1), ends


def _float(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _is_group(value: JsonValue) -> bool:
    return isinstance(value, dict) and not value.keys() >= _INTERVAL and "mean" not in value


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: JsonValue) -> str:
    if isinstance(value, float):
        return fixed(value, _digits(value))
    return f"{value:,}" if isinstance(value, int) else UNDEFINED


def _digits(value: float) -> int:
    return decimals_for([value])


def _title(key: str) -> str:
    words = words_of(key)
    return f"{words[:1].upper()}{words[1:]}"
