"""Training, validation and test, by patient."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from medi2i.config import Config
from medi2i.data.manifest import ManifestRow
from medi2i.data.tables import SPLITS
from medi2i.errors import DatasetFolderError, NothingUsableError, SplitLeakError

_SMALLEST_DOMAIN = 3


class SplitConfig(Config):
    """How much of each domain is never trained on: for choosing a checkpoint, and for the results."""

    validation_fraction: float = Field(default=0.15, gt=0, lt=0.5)
    test_fraction: float = Field(default=0.25, gt=0, lt=0.5)


def assign_splits(
    rows: list[ManifestRow], config: SplitConfig, *, seed: int
) -> tuple[list[ManifestRow], list[str]]:
    """Give each image of one domain a split; a patient is on one side only.

    A split that `patients.csv` gives is kept. Images of unknown patients count as a patient each. A domain of
    one or two patients can't be split by patient: it is split by image, and a warning says so.

    Returns:
        the rows with their splits, and the warnings.

    Raises:
        SplitLeakError: the user's splits put one patient, or one image, on two sides.
        DatasetFolderError: the user's splits leave one side empty.
        NothingUsableError: fewer than three different images.
    """
    domain = rows[0].domain if rows else "domain"
    by_image = _merge_identical([[index] for index in range(len(rows))], rows)
    if len(by_image) < _SMALLEST_DOMAIN:
        raise NothingUsableError(
            f"the {domain} domain",
            found=f"{len(by_image)} different usable image(s)",
            expected=f"at least {_SMALLEST_DOMAIN}: training, validation and test",
            remedy="add images; skipped.jsonl lists what could not be used",
        )
    warnings = []
    if any(row.patient is None for row in rows):
        some = "some" if any(row.patient for row in rows) else "all"
        warnings.append(f"{domain}: patients unknown for {some} images: each of them counts as one patient")
    if all(row.split for row in rows):
        require_no_leak(rows)
        _require_all_sides(rows)
        return rows, warnings
    groups = group_patients(rows)
    if len(groups) < _SMALLEST_DOMAIN:
        warnings.append(
            f"{domain}: {len(groups)} patient(s) in {len(rows)} images: split by image, so images of one "
            "patient are on both sides"
            + (", and no interval over patients can be given" if len(groups) == 1 else "")
        )
        groups = by_image
    split_of = _draw(groups, config, seed)
    return [dataclasses.replace(row, split=split_of[index]) for index, row in enumerate(rows)], warnings


def group_patients(rows: Sequence[ManifestRow]) -> list[list[int]]:
    """Numbers of the rows that must be on one side of a split: those of one patient.

    Identical files are one group even when the tables call them different patients; an image of an unknown
    patient is a patient of its own.
    """
    patients: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        patients[row.patient or row.id].append(index)
    return _merge_identical(list(patients.values()), rows)


def require_no_leak(rows: Sequence[ManifestRow]) -> None:
    """Refuse splits, as the user gave them, that put one patient or one image on two sides.

    Raises:
        SplitLeakError: they do.
    """
    for key, what in (("patient", "one patient"), ("sha256", "one image")):
        sides: dict[str, str] = {}
        for row in rows:
            value = getattr(row, key)
            if value and sides.setdefault(value, row.split) != row.split:
                raise SplitLeakError(
                    row.file,
                    found=f"{what} in '{sides[value]}' and in '{row.split}'",
                    expected="every patient on one side",
                    remedy="mend the column 'split' of patients.csv",
                )


def _draw(groups: list[list[int]], config: SplitConfig, seed: int) -> dict[int, str]:
    order = np.random.default_rng(seed).permutation(len(groups))
    n_test = max(1, round(config.test_fraction * len(groups)))
    n_validation = max(1, round(config.validation_fraction * len(groups)))
    names = ["test"] * n_test + ["validation"] * n_validation
    names += ["train"] * max(0, len(groups) - len(names))
    if "train" not in names:
        names[-1] = "train"
    return {index: name for name, group in zip(names, order, strict=False) for index in groups[group]}


def _merge_identical(groups: list[list[int]], rows: Sequence[ManifestRow]) -> list[list[int]]:
    """Groups of row numbers, joined where they share a file's content; a chain of twins is one group."""
    group_of: dict[str, list[int]] = {}
    for members in groups:
        twins = {id(g): g for index in members if (g := group_of.get(rows[index].sha256)) is not None}
        joined = [index for group in (*twins.values(), members) for index in group]
        group_of.update({rows[index].sha256: joined for index in joined})
    return list({id(group): group for group in group_of.values()}.values())


def _require_all_sides(rows: list[ManifestRow]) -> None:
    empty = [name for name in SPLITS if all(row.split != name for row in rows)]
    if empty:
        raise DatasetFolderError(
            f"the {rows[0].domain} domain",
            found=f"no usable image with split '{empty[0]}'",
            expected=f"images of each of {', '.join(SPLITS)}",
            remedy="mend the column 'split' of patients.csv, or leave it out",
        )
