"""The table of a benchmark: each row's values over its seeds, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medi2i.benchmarks.cells import Cell, State, read_failure
from medi2i.benchmarks.differences import compare_rows
from medi2i.benchmarks.measure import read_measure
from medi2i.benchmarks.suite import SuiteConfig
from medi2i.evaluation import write_results
from medi2i.io.atomic import write_text_atomically
from medi2i.report.wording import UNDEFINED, decimals_for, fixed


def compose_table(suite: SuiteConfig, cells: Sequence[Cell]) -> dict[str, Any]:
    """What is finished of a suite, by data set, row and value.

    Returns:
        `name`, `about`, `seeds`; `rows`: for each data set and row `values`, by `measure.value`, the `mean`
        over the seeds where it is defined, the `spread` (standard deviation of a sample; None for one seed),
        `n` and `seeds` (value of each seed); `differences`: as `compare_rows` gives; `failed`: cells that
        failed and why; `missing`: cells that are neither finished nor failed; `silent`: by measure, the rows
        of which it was taken and says nothing.
    """
    finished = [cell for cell in cells if cell.state() is State.FINISHED]
    found = {cell: _values_of(cell) for cell in finished}
    rows = []
    for data in suite.data:
        for row, settings in suite.rows.items():
            mine = [cell for cell in finished if (cell.data, cell.row) == (data, row)]
            keys = dict.fromkeys(key for cell in mine for key in found[cell])
            values = {key: _over_seeds({cell.seed: found[cell].get(key) for cell in mine}) for key in keys}
            rows.append({"data": data, "row": row, "about": settings.about, "values": values})
    failed = {cell.name: error for cell in cells if (error := read_failure(cell)) is not None}
    return {
        "name": suite.name,
        "about": suite.about,
        "seeds": list(suite.seeds),
        "reference": suite.reference,
        "rows": rows,
        "differences": compare_rows(suite, finished) if suite.reference else [],
        "failed": failed,
        "missing": [cell.name for cell in cells if cell not in found and cell.name not in failed],
        "silent": _silent_measures(finished),
    }


def write_table(table: Mapping[str, Any], out: Path) -> None:
    """`table.json`, `table.csv` and `table.md` in the benchmark's folder."""
    write_results(out / "table.json", table)
    write_text_atomically(out / "table.csv", _to_csv(table))
    write_text_atomically(out / "table.md", _to_markdown(table))


def columns_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every value that a row has, in the order in which they first come."""
    return list(dict.fromkeys(key for row in rows for key in row["values"]))


def list_remainder(table: Mapping[str, Any]) -> dict[str, list[str]]:
    """What stands in no grid, by its heading: measures that say nothing, failed and unfinished cells."""
    silent = [f"{measure}: says nothing of {', '.join(rows)}" for measure, rows in table["silent"].items()]
    failed = [f"{name}: {error}" for name, error in table["failed"].items()]
    found = {"Without a value": silent, "Failed": failed, "Not finished": list(table["missing"])}
    return {heading: lines for heading, lines in found.items() if lines}


def show_value(value: Mapping[str, Any] | None) -> str:
    """`0.123 ± 0.004` over seeds, the mean alone for one seed, a dash where undefined."""
    if value is None or value["mean"] is None or not math.isfinite(value["mean"]):
        return UNDEFINED
    spread = value["spread"]
    decimals = decimals_for([value["mean"], spread])
    text = fixed(value["mean"], decimals)
    return text if spread is None else f"{text} ± {fixed(spread, decimals)}"


def show_difference(difference: Mapping[str, Any]) -> str:
    """`+0.012 [+0.003, +0.021]`, without the interval where there is none."""
    numbers = [difference[key] for key in ("estimate", "low", "high")]
    if numbers[0] is None or not math.isfinite(numbers[0]):
        return UNDEFINED
    decimals = decimals_for(numbers)
    estimate, low, high = (("+" if (number or 0) > 0 else "") + fixed(number, decimals) for number in numbers)
    return estimate if numbers[1] is None else f"{estimate} [{low}, {high}]"


def _values_of(cell: Cell) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for settings in cell.measures:
        stored = read_measure(cell.folder, settings)
        if stored is not None:
            name = stored["settings"]["name"]
            values |= {f"{name}.{key}": value for key, value in stored["values"].items()}
    return values


def _silent_measures(finished: Sequence[Cell]) -> dict[str, list[str]]:
    """By measure, `data/row` of finished cells that it gave no value."""
    found: dict[str, dict[str, None]] = {}
    for cell in finished:
        for settings in cell.measures:
            stored = read_measure(cell.folder, settings)
            if stored is not None and not stored["values"]:
                found.setdefault(settings.name, {})[f"{cell.data}/{cell.row}"] = None
    return {measure: list(rows) for measure, rows in found.items()}


def _over_seeds(seeds: Mapping[int, float | None]) -> dict[str, Any]:
    """Mean and sample standard deviation over the seeds that have a value."""
    defined = [value for value in seeds.values() if value is not None]
    return {
        "mean": float(np.mean(defined)) if defined else None,
        "spread": float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
        "n": len(defined),
        "seeds": {str(seed): value for seed, value in seeds.items()},
    }


def _to_csv(table: Mapping[str, Any]) -> str:
    """One line a value: data, row, value, mean, spread, n."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["data", "row", "value", "mean", "spread", "n"])
    for row in table["rows"]:
        for key, value in row["values"].items():
            cells = ["" if value[name] is None else value[name] for name in ("mean", "spread", "n")]
            writer.writerow([row["data"], row["row"], key, *cells])
    return stream.getvalue()


def _to_markdown(table: Mapping[str, Any]) -> str:
    """A table a measure, differences below it, and what failed or is missing."""
    seeds = ", ".join(map(str, table["seeds"]))
    lines = [f"# {table['name']}", "", *([table["about"], ""] if table["about"] else [])]
    lines += [f"Mean ± standard deviation over seeds {seeds}.", ""]
    for measure in dict.fromkeys(key.split(".")[0] for key in columns_of(table["rows"])):
        keys = [key for key in columns_of(table["rows"]) if key.split(".")[0] == measure]
        lines += _grid(
            f"## {measure}",
            ["data", "row", *(key.partition(".")[2] for key in keys)],
            [
                [row["data"], row["row"], *(show_value(row["values"].get(key)) for key in keys)]
                for row in table["rows"]
                if any(key in row["values"] for key in keys)
            ],
        )
    if table["differences"]:
        lines += _grid(
            f"## Differences from '{table['reference']}', same images and seeds, 95 % interval",
            ["data", "row", "value", "difference", "images", "patients", "seeds"],
            [
                [d["data"], d["row"], d["value"], show_difference(d), d["images"], d["patients"], d["seeds"]]
                for d in table["differences"]
            ],
        )
    for title, said in list_remainder(table).items():
        lines += [f"## {title}", "", *(f"- {text}" for text in said), ""]
    return "\n".join(lines).rstrip() + "\n"


def _grid(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    def line(cells: Iterable[Any]) -> str:
        return "| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |"

    return [title, "", line(head), "|" + "---|" * len(head), *map(line, rows), ""]
