"""The data set folder that a translation writes: names, masks as they came, tables, and how far it got."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medi2i.data.dataset_folder import IMAGES, MASKS, VALID, image_stem
from medi2i.data.manifest import ManifestRow, file_sha256, load_masks
from medi2i.errors import OutputExistsError
from medi2i.image import SpacingMm
from medi2i.io import output_name
from medi2i.io.atomic import write_text_atomically
from medi2i.io.masks import write_mask_folder, write_mask_nifti

PROVENANCE = "provenance.jsonl"
SEGMENTATIONS = "segmentations"
_TABLED_ORIGINS = ("detector", "user")  # spacings that tables gave: the files themselves carry none


def output_names(rows: Sequence[ManifestRow]) -> dict[str, Path]:
    """Where below `images/` each image is written, by row id.

    A name changes only where its format does (JPEG becomes PNG, `.dcm` is added); one that would then be
    taken keeps its old suffix inside: `a.png` and `a.jpg` become `a.png` and `a.jpg.png`.
    """
    wanted = {row.id: output_name(Path(row.output)) for row in rows}
    names = {row.id: wanted[row.id] for row in rows if wanted[row.id] == Path(row.output)}
    taken = set(names.values())
    for row in rows:
        name, number = wanted[row.id], 1
        if row.id in names:
            continue
        while name in taken:
            kept = f"{Path(row.output).name}{wanted[row.id].suffix}"
            name = name.with_name(kept if number == 1 else f"{number}-{kept}")
            number += 1
        names[row.id] = name
        taken.add(name)
    return names


def output_masks(rows: Sequence[ManifestRow]) -> dict[str, Path]:
    """Where below `masks/` the mask of each image that has one is written, by row id."""
    names = output_names(rows)
    uses = Counter(_without_suffix(name) for name in names.values())
    masks = {}
    for row in rows:
        if row.mask is not None:
            name = names[row.id]
            stem = _without_suffix(name)
            base = stem if uses[stem] == 1 else name
            suffix = next((s for s in (".nii.gz", ".nii") if row.mask.endswith(s)), "")
            masks[row.id] = base.with_name(base.name + suffix)
    return masks


def carry_masks(rows: Sequence[ManifestRow], root: Path, out: Path, *, afresh: bool = False) -> None:
    """Copy the masks and valid areas of a manifest, byte for byte, to `out/masks` and `out/valid`.

    Args:
        root: folder that the manifest's paths start from.
        afresh: write them anew instead, so that nothing but the pixels is carried along.
    """
    names, masks = output_names(rows), output_masks(rows)
    for row in rows:
        if row.mask is not None:
            origin, copy = root / row.mask, out / MASKS / masks[row.id]
            copy.parent.mkdir(parents=True, exist_ok=True)
            if afresh:
                _write_afresh(row, origin, copy)
            elif origin.is_dir():
                shutil.copytree(origin, copy, dirs_exist_ok=True)
            else:
                shutil.copyfile(origin, copy)
        if row.valid is not None:
            stem = _without_suffix(names[row.id])
            copy = out / VALID / stem.with_name(f"{stem.name}.png")
            copy.parent.mkdir(parents=True, exist_ok=True)
            if afresh:
                valid = load_masks(root / row.valid, ("valid",), (row.rows, row.columns))
                write_mask_folder(copy.parent, valid, (copy.stem,))
            else:
                shutil.copyfile(root / row.valid, copy)


def _write_afresh(row: ManifestRow, origin: Path, copy: Path) -> None:
    masks = load_masks(origin, row.structures, (row.rows, row.columns))
    if origin.is_dir():
        write_mask_folder(copy, masks, row.structures)
    else:
        write_mask_nifti(copy, masks, spacing_mm=row.spacing_mm)


def write_tables(rows: Sequence[ManifestRow], out: Path) -> None:
    """`dataset.json`, and as needed `patients.csv` and `views.json`, so that `out` is a data set folder.

    Patients are the manifest's hashes; spacings are those that only the input's tables knew.
    """
    names = {key: name.as_posix() for key, name in output_names(rows).items()}
    structures = next((row.structures for row in rows if row.structures), ())
    dataset: dict[str, Any] = {"structures": list(structures), "synthetic": True}
    spacing = {row.id: row.spacing_mm for row in rows if row.spacing_origin in _TABLED_ORIGINS}
    different: set[SpacingMm | None] = set(spacing.values())
    if len(spacing) == len(rows) and len(different) == 1:
        dataset["spacing_mm"] = different.pop()
    elif spacing:
        views = [{"name": names[key], "detector_spacing_mm": value} for key, value in spacing.items()]
        write_text_atomically(out / "views.json", json.dumps({"views": views}, indent=1))
    write_text_atomically(out / "dataset.json", json.dumps(dataset, indent=1))
    known = [(names[row.id], row.patient) for row in rows if row.patient]
    if known:
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows([("file", "patient"), *known])
        write_text_atomically(out / "patients.csv", table.getvalue())


def read_provenance(out: Path) -> list[dict[str, Any]]:
    """How each finished image of a translated folder was made; a line cut off by a crash doesn't count."""
    records = []
    for line in _lines(out / PROVENANCE):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and {"key", "output", "output_sha256"} <= set(record):
            records.append(record)
    return records


def require_free(out: Path) -> None:
    """Refuse an output folder that holds anything but a translation.

    Raises:
        OutputExistsError: it does.
    """
    is_ours = (out / PROVENANCE).is_file()
    if (out.exists() and not out.is_dir()) or (out.is_dir() and any(out.iterdir()) and not is_ours):
        raise OutputExistsError(
            out,
            found="a folder with other content" if out.is_dir() else "a file",
            expected="a new folder",
            remedy="choose another --out",
        )


def require_same_translation(out: Path, keys: set[str]) -> None:
    """Refuse to mix a translation with another one that is in its folder.

    Args:
        keys: what the provenance of this translation will be marked with.

    Raises:
        OutputExistsError: the folder holds images with other keys.
    """
    if any(record["key"] not in keys for record in read_provenance(out)):
        raise OutputExistsError(
            out,
            found="another translation: of other images, by another run, or the other way",
            expected="a new folder, or the same translation interrupted",
            remedy="choose another --out",
        )


def keep_records(out: Path, keys: set[str]) -> set[str]:
    """Keys of the images that an earlier call finished and that are there; other records are dropped."""
    kept = [record for record in read_provenance(out) if record["key"] in keys and _is_there(out, record)]
    write_text_atomically(out / PROVENANCE, "".join(json.dumps(record) + "\n" for record in kept))
    return {record["key"] for record in kept}


def _is_there(out: Path, record: dict[str, Any]) -> bool:
    """Whether the image of a record, and its segmentation if it has one, are as they were written."""
    files = [(record["output"], record["output_sha256"])]
    if "segmentation" in record:
        files.append((record["segmentation"], record.get("segmentation_sha256")))
    return all((out / name).is_file() and file_sha256(out / name) == sha256 for name, sha256 in files)


def image_path(out: Path, name: Path) -> Path:
    """The file of an output name, its folder made."""
    path = out / IMAGES / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _without_suffix(name: Path) -> Path:
    return name.with_name(image_stem(name))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
