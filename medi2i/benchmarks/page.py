"""The table of a benchmark as one HTML page that opens offline."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medi2i.benchmarks.table import columns_of, list_remainder, show_difference, show_value
from medi2i.io.atomic import write_text_atomically

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #8886; padding: .3rem .8rem; text-align: right; white-space: nowrap; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
thead th { border-bottom: 2px solid #888; }
"""


def write_page(table: Mapping[str, Any], out: Path) -> Path:
    """Write `index.html`: every measure of every row, differences, and what is missing.

    Raises:
        DiskFullError: there is no room for it.
        EnvironmentProblemError: the folder can't be written to.
    """
    page = out / "index.html"
    write_text_atomically(page, _render(table))
    return page


def _render(table: Mapping[str, Any]) -> str:
    title = html.escape(f"{table['name']}: benchmark")
    seeds = ", ".join(map(str, table["seeds"]))
    parts = [
        f"<h1>{title}</h1>",
        f"<p>{html.escape(table['about'])}</p>" if table["about"] else "",
        f"<p>Mean ± standard deviation over seeds {seeds}. A dash is an undefined value.</p>",
        *_measures(table),
    ]
    if table["differences"]:
        parts += _differences(table)
    for heading, said in list_remainder(table).items():
        items = "".join(f"<li>{html.escape(text)}</li>" for text in said)
        parts.append(f"<h2>{heading}</h2><ul>{items}</ul>")
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _measures(table: Mapping[str, Any]) -> Iterable[str]:
    for measure in dict.fromkeys(key.split(".")[0] for key in columns_of(table["rows"])):
        keys = [key for key in columns_of(table["rows"]) if key.split(".")[0] == measure]
        rows = [
            [row["data"], row["row"], *(show_value(row["values"].get(key)) for key in keys)]
            for row in table["rows"]
            if any(key in row["values"] for key in keys)
        ]
        yield f"<h2>{html.escape(measure)}</h2>"
        yield _grid(["data", "row", *(key.partition(".")[2] for key in keys)], rows)


def _differences(table: Mapping[str, Any]) -> list[str]:
    rows = [
        [d["data"], d["row"], d["value"], show_difference(d), d["images"], d["patients"], d["seeds"]]
        for d in table["differences"]
    ]
    about = "Mean difference on the same images and seeds; 95 % interval over patients and seeds."
    return [
        f"<h2>Differences from {html.escape(table['reference'])}</h2><p>{about}</p>",
        _grid(["data", "row", "value", "difference", "images", "patients", "seeds"], rows),
    ]


def _grid(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def line(tag: str, cells: Sequence[Any]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    lines = "".join(line("td", row) for row in rows)
    return f"<div><table><thead>{line('th', head)}</thead><tbody>{lines}</tbody></table></div>"
