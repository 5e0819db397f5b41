"""What a data set folder says of how its images were taken: `attributes.csv`, and keys of the JSON tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from medi2i.data.table_files import read_csv, table_error

ATTRIBUTES_CSV = "attributes.csv"
LONGEST_VALUE = 40  # characters

_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_FORM = "columns file,<attribute>[,...], such as file,view"
_SHOWN = {"PA": "PA", "AP": "AP", "left lateral": "lateral", "right lateral": "lateral"}


def read_attribute_rows(path: Path) -> dict[str, dict[str, str]]:
    """File to its known attributes; an empty cell says nothing.

    Raises:
        DatasetFolderError: the columns are none of this table, a file has two lines, or a cell is too long.
    """
    columns, rows = read_csv(path, _FORM)
    if rows is None:
        return {}
    names = [name for name in columns if name != "file"]
    if columns.count("file") != 1 or not names or len(set(names)) < len(names):
        raise table_error(path, f"columns {', '.join(columns) or 'none'}", _FORM)
    for name in names:
        _check_name(name, path)
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["file"] in found:
            raise table_error(path, f"two lines for '{row['file']}'", "one line for each file")
        cells = {name: _checked(row[name], name, path) for name in names}
        found[row["file"]] = {name: value for name, value in cells.items() if value}
    return found


def stated_attributes(dataset: dict[str, Any], path: Path) -> dict[str, str]:
    """`attributes` of `dataset.json`: what holds for every image of the folder.

    Raises:
        DatasetFolderError: it is no object of words.
    """
    stated = dataset.get("attributes", {})
    if not isinstance(stated, dict) or not all(isinstance(v, str) and v.strip() for v in stated.values()):
        raise table_error(path, "'attributes' that is no object of words", 'e.g. {"view": "PA"}')
    for name in stated:
        _check_name(name, path)
    return {name: _checked(value.strip(), name, path) for name, value in stated.items()}


def views_shown(views: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The direction of each view of `views.json` as an attribute; other words are passed over."""
    listed = views.get("views", [])
    return {
        str(view["name"]): {"view": _SHOWN[view["view"]]}
        for view in (listed if isinstance(listed, list) else [])
        if isinstance(view, dict) and "name" in view and str(view.get("view")) in _SHOWN
    }


def _check_name(name: str, path: Path) -> None:
    if name == "domain" or not _NAME.fullmatch(name):
        raise table_error(
            path, f"an attribute '{name[:LONGEST_VALUE]}'", "small letters, digits and _, and not 'domain'"
        )


def _checked(value: str, name: str, path: Path) -> str:
    if len(value) > LONGEST_VALUE or not value.isprintable():
        raise table_error(
            path, f"a value of '{name}' that is no short word", f"up to {LONGEST_VALUE} characters"
        )
    return value
