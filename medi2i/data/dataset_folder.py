"""The data set folder: images, optional masks, and what is known of patients and spacing.

The form is written down in `docs/dataset-folder.md`; every command reads and writes it.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medi2i.errors import DatasetFolderError, MaskMismatchError, NothingUsableError, UsageError
from medi2i.image import SpacingMm, SpacingOrigin
from medi2i.io import is_image

_MASKS = "masks"
_VALID = "valid"
_IMAGES = "images"
_TABLES = ("dataset.json", "views.json", "patients.csv")
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class DatasetItem:
    """One image of a folder and what the folder says of it.

    Attributes:
        path: the file.
        relative: path below the images' folder: the name of outputs.
        mask: NIfTI file or folder of one PNG a structure, None without masks.
        valid: PNG that is 0 where there is no image, None without one.
        patient: identity from the folder's tables, None when they don't say. Never write it anywhere.
        split: the split the user chose for it, None to leave that to medi2i.
        spacing_mm: from the folder's tables, for files that carry none.
    """

    path: Path
    relative: Path
    mask: Path | None = None
    valid: Path | None = None
    patient: str | None = None
    split: str | None = None
    spacing_mm: SpacingMm | None = None
    spacing_origin: SpacingOrigin = "unknown"


@dataclass(frozen=True)
class DatasetFolder:
    """A folder of images as `discover` found it."""

    root: Path
    items: tuple[DatasetItem, ...]
    structures: tuple[str, ...]

    @property
    def has_masks(self) -> bool:
        """Whether any image has a mask."""
        return any(item.mask is not None for item in self.items)


def discover(location: Path) -> DatasetFolder:
    """Find the images below a folder (or take one file) and read the folder's tables.

    Args:
        location: a file; a folder with `images/`; any other folder, whose images may lie anywhere below; or
            the `images` folder itself, whose tables and masks then lie beside it.

    Raises:
        UsageError: nothing is there.
        NothingUsableError: no file is an image by name or content.
        DatasetFolderError: a table contradicts its form.
        MaskMismatchError: there are masks, but not for every image or structure.
    """
    if not location.exists():
        raise UsageError(location, found="no such file or folder", expected="images", remedy="check the path")
    if location.is_file():
        return DatasetFolder(location.parent, (DatasetItem(location, Path(location.name)),), ())
    images = location / _IMAGES if (location / _IMAGES).is_dir() else location
    root = metadata_root(location)
    excluded = () if images != location else (root / _MASKS, root / _VALID)
    paths = sorted(
        path
        for path in images.rglob("*")
        if path.is_file() and not any(path.is_relative_to(folder) for folder in excluded) and is_image(path)
    )
    if not paths:
        raise NothingUsableError(
            location,
            found="no image",
            expected="DICOM, NIfTI, PNG, TIFF, JPEG or .npy files here, below, or under images/",
            remedy="check the path, or see docs/dataset-folder.md",
        )
    tables = _read_tables(root)
    masks = _find_masks(root / _MASKS, images, paths)
    structures = tables.structures or _structure_names(masks)
    _require_masks(masks, root / _MASKS, structures)
    items = tuple(_describe(path, images, root, masks.get(path), tables) for path in paths)
    return DatasetFolder(root, items, structures if masks else ())


@dataclass(frozen=True)
class _Tables:
    structures: tuple[str, ...]
    patients: dict[str, str]
    one_patient: str | None
    splits: dict[str, str]
    spacing: dict[str, SpacingMm]
    one_spacing: SpacingMm | None


def metadata_root(location: Path) -> Path:
    """The folder that holds the tables and masks: the location, or what is around its `images` folder."""
    if location.is_file():
        return location.parent
    parent = location.resolve().parent
    here = any((location / name).exists() for name in (*_TABLES, _MASKS))
    beside = any((parent / name).is_file() for name in _TABLES) or (parent / _MASKS).is_dir()
    return parent if location.resolve().name == _IMAGES and beside and not here else location


def _read_tables(root: Path) -> _Tables:
    dataset, views = _read_json(root / "dataset.json"), _read_json(root / "views.json")
    structures = dataset.get("structures", views.get("structures", []))
    if not isinstance(structures, list) or not all(isinstance(name, str) for name in structures):
        raise _table_error(root, "'structures' that is no list of names", "a list of strings")
    if len(set(structures)) != len(structures):
        raise _table_error(root, "a structure named twice", "unique names")
    patients, splits = _read_patients(root / "patients.csv")
    stated = dataset.get("patient", views.get("patient"))
    if isinstance(stated, dict):
        patients = {str(key): str(value) for key, value in stated.items()} | patients
    spacing: dict[str, SpacingMm] = {}
    for view in views.get("views", []):
        if isinstance(view, dict) and "name" in view:
            if "detector_spacing_mm" in view:
                spacing[str(view["name"])] = _spacing(view["detector_spacing_mm"], root)
            if "patient" in view:
                patients.setdefault(str(view["name"]), str(view["patient"]))
    if "detector_spacing_mm" in views:
        spacing.setdefault("", _spacing(views["detector_spacing_mm"], root))
    return _Tables(
        structures=tuple(structures),
        patients=patients,
        one_patient=str(stated) if isinstance(stated, str | int) else None,
        splits=splits,
        spacing=spacing,
        one_spacing=_spacing(dataset["spacing_mm"], root) if "spacing_mm" in dataset else None,
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _table_error(path, f"no readable JSON ({type(error).__name__})", "a JSON object") from error
    if not isinstance(values, dict):
        raise _table_error(path, type(values).__name__, "a JSON object")
    return values


def _read_patients(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """`file,patient[,split]` to two tables keyed by the file as written."""
    if not path.is_file():
        return {}, {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, ValueError, csv.Error) as error:
        raise _table_error(path, f"no readable CSV ({type(error).__name__})", "columns file,patient") from error
    if rows and not {"file", "patient"} <= set(rows[0]):
        raise _table_error(path, f"columns {', '.join(map(str, rows[0]))}", "columns file,patient[,split]")
    patients = {row["file"].strip(): row["patient"].strip() for row in rows if row["patient"]}
    splits = {row["file"].strip(): row["split"].strip() for row in rows if row.get("split")}
    wrong = sorted(set(splits.values()) - set(SPLITS))
    if wrong:
        raise _table_error(path, f"split '{wrong[0]}'", f"one of {', '.join(SPLITS)}")
    return patients, splits


def _spacing(value: Any, where: Path) -> SpacingMm:
    pair = value if isinstance(value, list) else [value, value]
    if len(pair) != 2 or not all(isinstance(v, int | float) and v > 0 for v in pair):
        raise _table_error(where, f"spacing {value}", "[row, column] in mm, both above 0")
    return float(pair[0]), float(pair[1])


def _table_error(path: Path, found: str, expected: str) -> DatasetFolderError:
    return DatasetFolderError(path, found=found, expected=expected, remedy="see docs/dataset-folder.md")


def _find_masks(folder: Path, images: Path, paths: list[Path]) -> dict[Path, Path]:
    """The mask of each image: `masks/<name>.nii.gz`, `.nii`, or the folder `masks/<name>/`."""
    if not folder.is_dir():
        return {}
    found = {}
    for path in paths:
        relative = path.relative_to(images)
        names = dict.fromkeys([relative.parent / _stem(path), relative, Path(_stem(path))])
        candidates = [
            candidate
            for name in names
            for candidate in (folder / f"{name}.nii.gz", folder / f"{name}.nii", folder / name)
        ]
        mask = next((c for c in candidates if c.is_file() or c.is_dir()), None)
        if mask is not None:
            found[path] = mask
    if found and len(found) < len(paths):
        missing = next(path for path in paths if path not in found)
        raise MaskMismatchError(
            missing,
            found=f"no mask ({len(paths) - len(found)} of {len(paths)} images have none)",
            expected=f"{folder.name}/{_stem(missing)}.nii.gz or {folder.name}/{_stem(missing)}/<structure>.png",
            remedy="add the masks, or move the images without masks to another folder",
        )
    return found


def _stem(path: Path) -> str:
    return path.name[: -len(".nii.gz")] if path.name.endswith(".nii.gz") else path.stem


def _structure_names(masks: dict[Path, Path]) -> tuple[str, ...]:
    """Names of the PNG files where no table lists them; NIfTI masks need a table."""
    return tuple(sorted({p.stem for mask in masks.values() if mask.is_dir() for p in mask.glob("*.png")}))


def _require_masks(masks: dict[Path, Path], folder: Path, structures: tuple[str, ...]) -> None:
    if masks and not structures:
        raise DatasetFolderError(
            folder,
            found="masks without structure names",
            expected="a list 'structures' in dataset.json or views.json",
            remedy="write dataset.json beside the folder, see docs/dataset-folder.md",
        )


def _describe(path: Path, images: Path, root: Path, mask: Path | None, tables: _Tables) -> DatasetItem:
    relative = path.relative_to(images)
    keys = (str(relative), path.name, str(relative.with_suffix("")), _stem(path))

    def look_up(table: dict[str, Any]) -> Any:
        return next((table[key] for key in keys if key in table), None)

    spacing: SpacingMm | None = look_up(tables.spacing) or tables.spacing.get("")
    origin: SpacingOrigin = "detector" if spacing else "user" if tables.one_spacing else "unknown"
    valid = root / _VALID / relative.parent / f"{_stem(path)}.png"
    return DatasetItem(
        path=path,
        relative=relative,
        mask=mask,
        valid=valid if valid.is_file() else None,
        patient=look_up(tables.patients) or tables.one_patient,
        split=look_up(tables.splits),
        spacing_mm=spacing or tables.one_spacing,
        spacing_origin=origin,
    )
