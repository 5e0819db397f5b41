"""Labelled films of the target domain: what scoring has to know of each, and their outer folds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from medi2i.data.dataset_folder import DatasetFolder, DatasetItem, discover
from medi2i.data.manifest import file_sha256, load_masks, load_radiograph
from medi2i.downstream.labels import Labels
from medi2i.errors import NothingUsableError, UnreadableImageError, UsageError
from medi2i.image import Radiograph, SpacingMm


@dataclass(frozen=True)
class Film:
    """One film that can be read.

    Attributes:
        item: where it lies.
        sha256: of its file and of its masks.
        patient: number of its patient, by first occurrence.
        shape: (rows, columns).
        spacing_mm: None when unknown.
        empty: labels that are on no pixel of it.
    """

    item: DatasetItem
    sha256: str
    patient: int
    shape: tuple[int, int]
    spacing_mm: SpacingMm | None
    empty: tuple[str, ...]


@dataclass(frozen=True)
class Films:
    """All of a folder.

    Attributes:
        films: those that can be read, in the order of their names.
        labels: which of their masks are scored.
        names: of all their masks, in order.
        patients_known: whether patients are known of all; if not, each film counts as one.
        skipped: how many can't be read.
    """

    films: tuple[Film, ...]
    labels: Labels
    names: tuple[str, ...]
    patients_known: bool
    skipped: int

    @property
    def n_patients(self) -> int:
        """Patients, or films where those are unknown."""
        return len({film.patient for film in self.films})

    @property
    def unit(self) -> str:
        """Unit of distances: px for all films as soon as the spacing of one is unknown."""
        return "px" if any(film.spacing_mm is None for film in self.films) else "mm"

    def spacing(self, film: Film) -> SpacingMm | None:
        """Of a film, in `unit`: None stands for pixels."""
        return film.spacing_mm if self.unit == "mm" else None

    def read(self, film: Film) -> tuple[Radiograph, Bool[np.ndarray, "K H W"]]:
        """A film and the masks that are scored."""
        radiograph = load_radiograph(film.item)
        return radiograph, self.masks(film)

    def masks(self, film: Film) -> Bool[np.ndarray, "K H W"]:
        """The masks that are scored."""
        return self.labels.choose(load_masks(_mask_of(film.item), self.names, film.shape), self.names)


def find_films(location: Path) -> DatasetFolder:
    """The films by their names and tables; none is opened.

    Raises:
        UsageError: nothing is there, or they have no masks.
    """
    folder = discover(location)
    if not folder.has_masks:
        raise UsageError(
            location,
            found="films without masks",
            expected="labelled films of the target domain",
            remedy="add masks/ to it, see docs/dataset-folder.md, or leave --target-labels out",
        )
    return folder


def read_films(folder: DatasetFolder, labels: Labels, tick: Callable[[], None]) -> Films:
    """Open every film once: its matrix, spacing, patient, and which labels are empty.

    Raises:
        NothingUsableError: no film can be read.
        MaskMismatchError: masks don't fit their film, or are not binary.
    """
    films: list[Film] = []
    identities: list[str | None] = []
    numbers: dict[str, int] = {}
    for index, item in enumerate(folder.items):
        tick()
        try:
            radiograph = load_radiograph(item)
        except UnreadableImageError:
            continue
        shape = (radiograph.header.rows, radiograph.header.columns)
        masks = labels.choose(load_masks(_mask_of(item), folder.structures, shape), folder.structures)
        identity = radiograph.patient_id or item.patient
        identities.append(identity)
        films.append(
            Film(
                item=item,
                sha256=_content(item),
                patient=numbers.setdefault(identity or f"film {index}", len(numbers)),
                shape=shape,
                spacing_mm=radiograph.header.spacing_mm,
                empty=tuple(
                    name for name, mask in zip(labels.structures, masks, strict=True) if not mask.any()
                ),
            )
        )
    if not films:
        raise NothingUsableError(
            folder.root,
            found=f"{len(folder.items)} film(s), none of which can be read",
            expected="labelled films of the target domain",
            remedy="see docs/dataset-folder.md for what is read",
        )
    skipped, known = len(folder.items) - len(films), all(identity is not None for identity in identities)
    if not known:  # one of them may be a patient that is known of another film: nobody can tell
        films = [replace(film, patient=number) for number, film in enumerate(films)]
    return Films(tuple(films), labels, folder.structures, known, skipped)


def draw_folds(patients: int, folds: int, *, seed: int) -> tuple[int, ...]:
    """The outer fold of each patient, as equal in size as can be; not more folds than patients."""
    order = np.random.default_rng([seed, 11]).permutation(patients)
    fold_of = np.empty(patients, dtype=int)
    fold_of[order] = np.arange(patients) % min(folds, patients)
    return tuple(int(fold) for fold in fold_of)


def draw_patients(others: Sequence[int], count: int, *, seed: int, fold: int) -> tuple[int, ...]:
    """Patients of a few-shot training: the first `count` of one order, so that 5 are among 10."""
    order = np.random.default_rng([seed, 12, fold]).permutation(len(others))
    return tuple(sorted(others[place] for place in order[:count]))


def _content(item: DatasetItem) -> str:
    mask = _mask_of(item)
    files = sorted(mask.glob("*.png")) if mask.is_dir() else [mask]
    facts = [file_sha256(item.path), *((path.name, file_sha256(path)) for path in files)]
    if item.valid is not None:
        facts.append(file_sha256(item.valid))
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _mask_of(item: DatasetItem) -> Path:
    if item.mask is None:
        raise UsageError(
            item.path, found="a film without a mask", expected="masks of every film", remedy="add them"
        )
    return item.mask
