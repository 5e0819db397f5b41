"""Films with the masks of their source images: what a segmenter that judges all runs is trained on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from medi2i.benchmarks.folders import Folders
from medi2i.data.dataset_folder import IMAGES, MASKS, VALID, DatasetItem, discover, image_stem
from medi2i.errors import UsageError
from medi2i.io.atomic import replace_folder_atomically


def require_splits(folder: Path) -> None:
    """Refuse a data set whose test patients would differ between runs: a segmenter of all runs saw some.

    Raises:
        UsageError: an image has no split in `patients.csv`.
    """
    if any(item.split is None for item in discover(folder).items):
        raise UsageError(
            folder,
            found="images without a split",
            expected="a column 'split' in patients.csv, the same for all seeds",
            remedy="add it, or leave out the measure fcn_score",
        )


def require_pairs(folders: Folders) -> list[tuple[DatasetItem, DatasetItem]]:
    """Source images with masks and their true films.

    Raises:
        UsageError: there are no true films, no masks, or no splits.
    """
    require_splits(folders.source)
    pairs = list(_films_of(folders))
    if not pairs:
        raise UsageError(
            folders.source,
            found="no source image with a mask and a true film",
            expected="masks, and 'truth' with films of the same names",
            remedy="leave out the measure fcn_score for these data",
        )
    return pairs


def label_films(folders: Folders, out: Path) -> None:
    """Write a data set folder: true films of source images with the source's masks, splits and patients.

    Patients keep the names they have in the source's tables, so the folder is as private as the source.

    Raises:
        UsageError: there are no true films, no masks, or no splits.
    """
    if out.is_dir():
        return
    pairs = require_pairs(folders)
    structures = discover(folders.source).structures

    def write(folder: Path) -> None:
        lines = ["file,patient,split"]
        for item, film in pairs:
            _copy(film.path, folder / IMAGES / film.relative)
            if film.valid is not None:
                stem = film.relative.with_name(image_stem(film.relative))
                _copy(film.valid, folder / VALID / stem.with_name(f"{stem.name}.png"))
            _copy_mask(item, film, folder)
            lines.append(f"{film.relative.as_posix()},{item.patient or item.relative},{item.split}")
        (folder / "patients.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        facts = {"structures": list(structures)}
        (folder / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")

    replace_folder_atomically(out, write)


def _films_of(folders: Folders) -> Iterator[tuple[DatasetItem, DatasetItem]]:
    """Source images with masks, and their true films."""
    if folders.truth is None:
        return
    films = {_name(item): item for item in discover(folders.truth).items}
    for item in discover(folders.source).items:
        if item.mask is not None and _name(item) in films:
            yield item, films[_name(item)]


def _name(item: DatasetItem) -> Path:
    return item.relative.with_name(image_stem(item.relative))


def _copy_mask(item: DatasetItem, film: DatasetItem, folder: Path) -> None:
    stem = _name(film)
    if item.mask is None:
        return
    if item.mask.is_dir():
        shutil.copytree(item.mask, folder / MASKS / stem)
        return
    suffix = ".nii.gz" if item.mask.name.endswith(".nii.gz") else item.mask.suffix
    _copy(item.mask, folder / MASKS / stem.with_name(f"{stem.name}{suffix}"))


def _copy(origin: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(origin, place)
