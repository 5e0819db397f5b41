"""What the tables of a data set folder say: two JSON files, `patients.csv`, and `attributes.csv`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medi2i.data.attribute_tables import ATTRIBUTES_CSV, read_attribute_rows, stated_attributes, views_shown
from medi2i.data.table_files import read_csv, read_json, table_error
from medi2i.image import SpacingMm

TABLE_FILES = ("dataset.json", "views.json", "patients.csv", ATTRIBUTES_CSV)
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class FolderTables:
    """The tables of one folder, keyed by images as the user wrote them.

    Attributes:
        structures: names of the mask planes, in order; empty when no table lists them.
        patients, splits, spacing: by file name, path, or name without suffix.
        one_patient, one_spacing: stated for the whole folder.
        attributes: acquisition attributes of `attributes.csv`, by file name, path, or name without suffix.
        shown, one_attributes: those that `views.json` has of a view, and `dataset.json` of the whole folder.
    """

    structures: tuple[str, ...]
    patients: dict[str, str]
    one_patient: str | None
    splits: dict[str, str]
    spacing: dict[str, SpacingMm]
    one_spacing: SpacingMm | None
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    shown: dict[str, dict[str, str]] = field(default_factory=dict)
    one_attributes: dict[str, str] = field(default_factory=dict)


def read_tables(root: Path) -> FolderTables:
    """Read whichever tables are there; `dataset.json` stands above `views.json`, `patients.csv` above both.

    Raises:
        DatasetFolderError: a table can't be read or contradicts its form.
    """
    dataset, views = read_json(root / "dataset.json"), read_json(root / "views.json")
    rows = _read_rows(root / "patients.csv")
    stated = dataset.get("patient", views.get("patient"))
    patients = {str(k): str(v) for k, v in stated.items()} if isinstance(stated, dict) else {}
    of_views, spacing = _read_views(views, root / "views.json")
    one_spacing = dataset.get("spacing_mm")
    return FolderTables(
        structures=_structures(dataset, views, root),
        patients=of_views | patients | _column(rows, "patient", root / "patients.csv"),
        one_patient=str(stated) if isinstance(stated, str | int) else None,
        splits=_splits(rows, root / "patients.csv"),
        spacing=spacing,
        one_spacing=None if one_spacing is None else _spacing(one_spacing, root / "dataset.json"),
        attributes=read_attribute_rows(root / ATTRIBUTES_CSV),
        shown=views_shown(views),
        one_attributes=stated_attributes(dataset, root / "dataset.json"),
    )


def _structures(dataset: dict[str, Any], views: dict[str, Any], root: Path) -> tuple[str, ...]:
    structures = dataset.get("structures", views.get("structures", []))
    if not isinstance(structures, list) or not all(isinstance(name, str) for name in structures):
        raise table_error(root, "'structures' that is no list of names", "a list of strings")
    if len(set(structures)) != len(structures):
        raise table_error(root, "a structure named twice", "unique names")
    return tuple(structures)


def _read_views(views: dict[str, Any], path: Path) -> tuple[dict[str, str], dict[str, SpacingMm]]:
    """Patients and detector spacings of `views.json`; the key "" stands for all views."""
    patients: dict[str, str] = {}
    spacing: dict[str, SpacingMm] = {}
    listed = views.get("views", [])
    if not isinstance(listed, list):
        raise table_error(path, "'views' that is no list", "a list of objects with a 'name'")
    for view in listed:
        if isinstance(view, dict) and "name" in view:
            if "detector_spacing_mm" in view:
                spacing[str(view["name"])] = _spacing(view["detector_spacing_mm"], path)
            if "patient" in view:
                patients[str(view["name"])] = str(view["patient"])
    if "detector_spacing_mm" in views:
        spacing.setdefault("", _spacing(views["detector_spacing_mm"], path))
    return patients, spacing


def _read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of `file,patient[,split]`; missing cells are empty."""
    columns, rows = read_csv(path, "file,patient")
    if rows is None:
        return []
    if not {"file", "patient"} <= set(columns):
        raise table_error(path, f"columns {', '.join(columns) or 'none'}", "columns file,patient[,split]")
    kept = ("file", "patient", "split")
    return [{key: row.get(key, "") for key in kept} for row in rows]


def _column(rows: list[dict[str, str]], name: str, path: Path) -> dict[str, str]:
    """File to cell, without empty cells."""
    cells: dict[str, str] = {}
    for row in rows:
        if row[name] and cells.setdefault(row["file"], row[name]) != row[name]:
            raise table_error(path, f"'{row['file']}' with two values of '{name}'", "one row for each file")
    return cells


def _splits(rows: list[dict[str, str]], path: Path) -> dict[str, str]:
    splits = _column(rows, "split", path)
    wrong = sorted(set(splits.values()) - set(SPLITS))
    if wrong:
        raise table_error(path, f"split '{wrong[0]}'", f"one of {', '.join(SPLITS)}")
    return splits


def _spacing(value: Any, path: Path) -> SpacingMm:
    pair = value if isinstance(value, list) else [value, value]
    numbers = len(pair) == 2 and all(isinstance(v, int | float) for v in pair)
    if not numbers or not all(0 < v < math.inf for v in pair):
        raise table_error(path, f"spacing {value}", "[row, column] in mm, both above 0")
    return float(pair[0]), float(pair[1])
