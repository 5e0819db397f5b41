"""Names of label values: from tables that come with label maps, and from a NIfTI header extension."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.parsers import expat

from medi2i.errors import UsageError
from medi2i.io.guard import decoding

TABLE_SUFFIXES = (".json", ".tsv", ".csv", ".txt", ".label", ".ctbl")
_MAX_TABLE_BYTES = 1 << 20
_VALUE_COLUMNS = ("id", "index", "value", "key", "label_id", "labelid", "idx", "label")
_NAME_COLUMNS = ("structure", "name", "label_name", "labelname", "description", "label")
# ITK-SNAP: IDX R G B A VIS MSH "LABEL"; 3D Slicer: index name r g b a
_SNAP_LINE = re.compile(r'^\s*(\d+)(?:\s+[\d.]+){6}\s+"([^"]*)"\s*$')
_SLICER_LINE = re.compile(r"^\s*(\d+)\s+(\S+)(?:\s+\d+){3,4}\s*$")
_EXPECTED = "label values with names: JSON, CSV or TSV with columns, or an ITK-SNAP or 3D Slicer table"


def read_label_names(path: Path) -> dict[int, str]:
    """Read which value of a label map is which structure; 0, the background, is left out.

    JSON is `{"1": "liver"}` or `{"liver": 1}`, maybe below the key `labels` (nnU-Net's `dataset.json`), or a
    list: if its first entry is "background", entry n names value n, else the first names value 1. CSV and TSV
    have a header with a column of values (`id`, `index`, `value`, `label` ...) and one of names (`structure`,
    `name` ...), or just these two columns.

    Raises:
        UsageError: the file can't be read or understood, or names a value twice.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_TABLE_BYTES + 1)
        text = content.decode("utf-8-sig")
        if len(content) > _MAX_TABLE_BYTES:
            raise ValueError("more than 1 MiB")
        pairs = _parse_json(json.loads(text)) if path.suffix.lower() == ".json" else _parse_table(text)
        return _collect(pairs)
    except (OSError, ValueError, TypeError, csv.Error, RecursionError) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UsageError(
            path,
            found=f"no table of label names ({reason})",
            expected=_EXPECTED,
            remedy='e.g. {"1": "left_lung", "2": "right_lung"} in a .json file',
        ) from error


def find_label_table(path: Path) -> Path | None:
    """The table that belongs to a label map: of its name beside it, or above it for a folder of patients."""
    stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    for folder in (path.parent, path.parent.parent):
        for suffix in TABLE_SUFFIXES:
            table = folder / f"{stem}{suffix}"
            if table.is_file():
                return table
    return None


def read_header_names(path: Path, extensions: Iterable[Any]) -> dict[int, str]:
    """Names in a NIfTI header extension as TotalSegmentator writes it; empty if there is none.

    It is XML with `<Label Key="1"><![CDATA[spleen]]></Label>`. Document types are refused, so that no entity
    is expanded.

    Args:
        path: the file, for messages.
        extensions: of its nibabel header.

    Raises:
        UnreadableImageError: the extension is damaged.
    """
    for extension in extensions:
        content = extension.get_content()
        data = content if isinstance(content, bytes) else str(content).encode()
        if b"<Label " in data:
            with decoding(path, "names in the NIfTI header"):
                return _collect(_parse_xml(data[:_MAX_TABLE_BYTES].strip(b"\0 \r\n\t")))
    return {}


def check_structure_name(name: str) -> str:
    """A structure's name without surrounding blanks.

    Raises:
        ValueError: it can't be the name of a file, which masks are stored under.
    """
    name = name.strip()
    if not name or name.startswith(".") or len(name) > 100 or re.search(r'[\x00-\x1f/\\:*?"<>|]', name):
        raise ValueError(f"'{name[:40]}' is no name for a structure")
    return name


def _collect(pairs: Iterable[tuple[int, str]]) -> dict[int, str]:
    names: dict[int, str] = {}
    for value, name in pairs:
        if value == 0:
            continue
        if value < 0 or names.get(value, name) != name:
            raise ValueError(f"value {value} is negative or has two names")
        names[value] = check_structure_name(name)
    if not names:
        raise ValueError("no value with a name")
    return names


def _parse_json(content: Any) -> list[tuple[int, str]]:
    if isinstance(content, dict) and isinstance(content.get("labels"), dict | list):
        content = content["labels"]
    if isinstance(content, list):
        first = str(content[0] if content else "").lower()
        return [(value, str(name)) for value, name in enumerate(content, int(first != "background"))]
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__}")
    return [
        (int(key), value) if isinstance(value, str) else (_to_int(value), str(key))
        for key, value in content.items()
    ]


def _to_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a value {value!r}; one integer for each name, so nnU-Net's regions are none"[:100])
    return value


def _parse_table(text: str) -> list[tuple[int, str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for pattern in (_SNAP_LINE, _SLICER_LINE):
        matches = [pattern.match(line) for line in lines]
        if matches and all(matches):
            return [(int(match[1]), match[2]) for match in matches if match]
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    value_column, name_column, start = _find_columns(rows)
    return [(int(row[value_column]), row[name_column]) for row in rows[start:]]


def _find_columns(rows: list[list[str]]) -> tuple[int, int, int]:
    """Column of values, column of names, and first row of data."""
    if not rows or len(rows[0]) < 2:
        raise ValueError("no two columns")
    header = [cell.lower().replace(" ", "_") for cell in rows[0]]
    if len(header) == 2 and header[0].isdigit() != header[1].isdigit():
        return (0, 1, 0) if header[0].isdigit() else (1, 0, 0)
    values = [header.index(name) for name in _VALUE_COLUMNS if name in header]
    values = [
        column for column in values if all(len(row) > column and row[column].isdigit() for row in rows[1:])
    ]
    names = [header.index(name) for name in _NAME_COLUMNS if name in header]
    names = [
        column for column in names if column not in values[:1] and all(len(row) > column for row in rows)
    ]
    if not values or not names:
        raise ValueError(f"columns {', '.join(header)[:80]}")
    return values[0], names[0], 1


def _parse_xml(data: bytes) -> list[tuple[int, str]]:
    pairs: list[tuple[int, str]] = []
    text: list[str] = []
    keys: list[int] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "Label":
            keys.append(int(attributes["Key"]))
            text.clear()

    def end(tag: str) -> None:
        if tag == "Label":
            pairs.append((keys.pop(), "".join(text).strip()))

    def refuse_doctype(*_: Any) -> None:
        raise ValueError("a document type, which may declare entities")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse_doctype
    parser.Parse(data, True)
    return pairs
