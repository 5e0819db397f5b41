"""JSON and CSV files of a data set folder as plain values, and the error for a wrong one."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from medi2i.errors import DatasetFolderError


def table_error(path: Path, found: str, expected: str) -> DatasetFolderError:
    """The error for a table that contradicts its form or its folder."""
    return DatasetFolderError(path, found=found, expected=expected, remedy="see docs/dataset-folder.md")


def read_json(path: Path) -> dict[str, Any]:
    """The keys of a JSON object; none where there is no file.

    Raises:
        DatasetFolderError: it can't be read or is no object.
    """
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise table_error(path, f"no readable JSON ({type(error).__name__})", "a JSON object") from error
    if not isinstance(values, dict):
        raise table_error(path, type(values).__name__, "a JSON object")
    return values


def read_csv(path: Path, expected: str) -> tuple[list[str], list[dict[str, str]] | None]:
    """Columns and rows of a table with a header, cells stripped, missing cells empty; None without a file.

    Args:
        expected: its columns, for the message.

    Raises:
        DatasetFolderError: it can't be read, or a line has more cells than there are columns.
    """
    if not path.is_file():
        return [], None
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restval="", restkey="more")
            columns, rows = list(reader.fieldnames or []), []
            for row in reader:
                if any(cell.strip() for cell in row.pop("more", ())):
                    raise table_error(path, f"more cells than columns in line {reader.line_num}", expected)
                rows.append(row)
    except (OSError, ValueError, csv.Error) as error:
        raise table_error(path, f"no readable CSV ({type(error).__name__})", expected) from error
    return columns, [{key: str(row.get(key, "")).strip() for key in columns} for row in rows]
