"""Training, validation and test, by patient."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
from pydantic import Field

from medi2i.config import Config
from medi2i.data.manifest import ManifestRow
from medi2i.errors import NothingUsableError, SplitLeakError

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
        NothingUsableError: fewer than three images.
    """
    domain = rows[0].domain if rows else "domain"
    if len(rows) < _SMALLEST_DOMAIN:
        raise NothingUsableError(
            f"the {domain} domain",
            found=f"{len(rows)} usable image(s)",
            expected=f"at least {_SMALLEST_DOMAIN}: training, validation and test",
            remedy="add images; skipped.jsonl lists what could not be used",
        )
    if all(row.split for row in rows):
        _require_no_leak(rows)
        return rows, []
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[row.patient or row.id].append(index)
    warnings = []
    if len(groups) < _SMALLEST_DOMAIN:
        warnings.append(
            f"{domain}: {len(groups)} patient(s) in {len(rows)} images: split by image, so images of one patient "
            "are on both sides, and no interval over patients can be given"
        )
        groups = {row.id: [index] for index, row in enumerate(rows)}
    elif any(row.patient is None for row in rows):
        warnings.append(f"{domain}: patients unknown for some images: each of them counts as one patient")
    # identical files are one group even when the tables call them different patients
    split_of = _draw(list(_merge_identical(groups, rows)), config, seed)
    result = [dataclasses.replace(row, split=split_of[index]) for index, row in enumerate(rows)]
    return result, warnings


def _draw(groups: list[list[int]], config: SplitConfig, seed: int) -> dict[int, str]:
    order = np.random.default_rng(seed).permutation(len(groups))
    n_test = max(1, round(config.test_fraction * len(groups)))
    n_validation = max(1, round(config.validation_fraction * len(groups)))
    names = ["test"] * n_test + ["validation"] * n_validation
    names += ["train"] * max(0, len(groups) - len(names))
    if "train" not in names:
        names[-1] = "train"
    return {index: name for name, group in zip(names, order, strict=False) for index in groups[group]}


def _merge_identical(groups: dict[str, list[int]], rows: list[ManifestRow]) -> list[list[int]]:
    merged: list[list[int]] = []
    group_of_hash: dict[str, list[int]] = {}
    for members in groups.values():
        twin = next((group_of_hash[rows[i].sha256] for i in members if rows[i].sha256 in group_of_hash), None)
        target = twin if twin is not None else []
        if twin is None:
            merged.append(target)
        target.extend(members)
        group_of_hash.update({rows[i].sha256: target for i in members})
    return merged


def _require_no_leak(rows: list[ManifestRow]) -> None:
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
