"""Predictions of other tools: a folder of masks, as `medi2i segment predict` writes it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from medi2i.data.dataset_folder import MASKS, DatasetItem, find_mask
from medi2i.data.manifest import file_sha256, load_masks
from medi2i.data.tables import read_tables
from medi2i.downstream.films import Film
from medi2i.downstream.labels import Labels, closest
from medi2i.errors import MaskMismatchError, UsageError
from medi2i.image import Radiograph


@dataclass(frozen=True)
class Predictions:
    """Masks of one tool.

    Attributes:
        name: of its row.
        folder: holds `masks/<film>` and `dataset.json`.
        structures: of its masks.
        labels: which labels are wanted.
    """

    name: str
    folder: Path
    structures: tuple[str, ...]
    labels: Labels

    def answer(self, film: Film, radiograph: Radiograph) -> Bool[np.ndarray, "K H W"]:
        """What the tool found on a film.

        Raises:
            MaskMismatchError: another matrix than the film's, other structures, or more than two values.
        """
        masks = load_masks(self.mask(film), self.structures, film.shape)
        if set(self.labels.structures) <= set(self.structures):
            return self.labels.choose(masks, self.structures)
        return self.labels.unite(masks, self.structures)

    def mask(self, film: Film) -> Path:
        """Where the masks of a film are.

        Raises:
            MaskMismatchError: there are none.
        """
        return self.find(film.item)

    def find(self, item: DatasetItem) -> Path:
        """Where the masks of a film are, which need not be opened for that.

        Raises:
            MaskMismatchError: there are none.
        """
        found = find_mask(self.folder / MASKS, item.relative)
        if found is None:
            raise MaskMismatchError(
                f"--add {self.name}={self.folder}",
                found=f"no mask of the film {item.relative.name}",
                expected="masks of every film, empty where nothing was found",
                remedy="predict all films with it",
            )
        return found

    def digest(self, films: tuple[Film, ...]) -> str:
        """Of the masks of some films."""
        facts = []
        for film in films:
            mask = self.mask(film)
            files = sorted(mask.glob("*.png")) if mask.is_dir() else [mask]
            facts.append([(file.name, file_sha256(file)) for file in files])
        return hashlib.sha256(json.dumps([self.structures, facts]).encode()).hexdigest()


def find_predictions(name: str, folder: Path, labels: Labels) -> Predictions:
    """The masks of a tool: of the films' labels, or of the source's structures that make them up.

    Raises:
        UsageError: there is no `masks/` in the folder.
        MaskMismatchError: a label can't be made of its structures.
    """
    if not (folder / MASKS).is_dir():
        raise UsageError(
            f"--add {name}={folder}",
            found="no folder 'masks' in it",
            expected="masks/<film>/<structure>.png and dataset.json, as `medi2i segment predict` writes them",
            remedy="check the path",
        )
    known = read_tables(folder).structures or _of_files(folder / MASKS)
    parts = {part for parts in labels.parts.values() for part in parts}
    if not (set(labels.structures) <= set(known) or parts <= set(known)):
        missing = next(label for label in labels.structures if label not in known)
        near = closest(missing, known)
        raise MaskMismatchError(
            f"--add {name}={folder}",
            found=f"no structure '{missing}'" + (f"; the nearest is '{near}'" if near else ""),
            expected=f"the films' labels {', '.join(labels.structures)}, or the source's structures",
            remedy="name its masks as the films' labels are named, or say in --map what those are made of",
        )
    return Predictions(name, folder, known, labels)


def _of_files(masks: Path) -> tuple[str, ...]:
    return tuple(sorted({file.stem for file in masks.rglob("*.png") if not file.name.startswith(".")}))
