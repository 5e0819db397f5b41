"""The labelled images that a set is drawn from: read once, with patients as numbers and a side for each."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import ManifestRow, Skipped, file_sha256, inspect_folder, load_masks
from medi2i.data.split import group_patients, require_no_leak
from medi2i.data.table_files import read_json
from medi2i.data.tables import SPLITS
from medi2i.errors import NothingUsableError, UsageError
from medi2i.image import IntensityConfig

_SPLIT_STREAM = 31


@dataclass(frozen=True)
class Sources:
    """What there is to draw from.

    Attributes:
        root: folder that the rows' paths start from.
        rows: usable images; `split` is filled.
        patients: of each row, numbered by first occurrence: no identity, and the same in every process.
        patients_known: whether the folder says all of them; otherwise an image is a patient of its own.
        structures: names of the mask planes.
        convention: what masks of lungs mean, if the folder says so.
        skipped: images that could not be used.
    """

    root: Path
    rows: tuple[ManifestRow, ...]
    patients: tuple[str, ...]
    patients_known: bool
    structures: tuple[str, ...]
    convention: str | None
    skipped: tuple[Skipped, ...]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that a set takes from its sources: images, masks, spacing, whose and on which side."""
        facts = [
            (
                row.file,
                row.sha256,
                *(_content(self.root, name) for name in (row.mask, row.valid)),
                row.spacing_mm,
                row.attributes,
                row.split,
                patient,
            )
            for row, patient in zip(self.rows, self.patients, strict=True)
        ]
        return hashlib.sha256(json.dumps([facts, self.structures]).encode()).hexdigest()

    @property
    def images_hash(self) -> str:
        """Hash of the images alone, whatever their sides."""
        return hashlib.sha256("|".join(row.sha256 for row in self.rows).encode()).hexdigest()

    def view(self, number: int) -> str | None:
        """How a source image was taken, as far as that is known."""
        return self.rows[number].attributes.get("view")

    def shown(self, number: int) -> frozenset[str]:
        """Structures that a source image shows.

        Raises:
            MaskMismatchError: its masks don't fit it any more.
        """
        planes = masks_of_row(self.rows[number], self.root)
        return frozenset(name for name, plane in zip(self.structures, planes, strict=True) if plane.any())


def _content(root: Path, name: str | None) -> list[str] | None:
    """Names and hashes of a mask's files."""
    if name is None:
        return None
    path = root / name
    files = sorted(path.glob("*.png")) if path.is_dir() else [path]
    return [f"{file.name}:{file_sha256(file)}" for file in files]


def masks_of_row(row: ManifestRow, root: Path) -> np.ndarray:
    """(K, H, W) bool planes of a source image.

    Raises:
        MaskMismatchError: they don't fit the image any more.
    """
    assert row.mask is not None  # noqa: S101 (sources without masks are refused)
    return load_masks(root / row.mask, row.structures, (row.rows, row.columns))


def read_sources(
    location: Path,
    *,
    split: tuple[float, float, float],
    seed: int,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Sources:
    """Read every image of a labelled folder once and give each patient a side.

    Args:
        location: data set folder with masks.
        split: shares of patients for training, validation and test.
        seed: of the split.
        tick: called with images read and images there are.

    Raises:
        UsageError: nothing is there, the images have no masks, or there are fewer patients than sides.
        NothingUsableError: no image can be used.
        SplitLeakError: the folder's own splits put a patient on two sides.
        InputError: tables or masks don't fit.
    """
    folder = discover(location)
    if not folder.has_masks:
        raise UsageError(
            location,
            found="images without masks",
            expected="labelled DRRs: a data set folder with masks",
            remedy="render them with `medi2i drr`, or add masks/, see docs/dataset-folder.md",
        )
    rows, skipped = inspect_folder(
        folder,
        "source",
        IntensityConfig(),
        salt=secrets.token_bytes(16),  # never written: patients are numbers from here on
        attributes=("view",),
        progress=tick,
    )
    if not rows:
        raise NothingUsableError(
            location,
            found=f"{len(skipped)} image(s), none usable; the first: {skipped[0].reason}",
            expected="projection radiographs with masks",
            remedy="see docs/dataset-folder.md for what is read",
        )
    known = all(row.patient is not None for row in rows)
    numbers: dict[str, int] = {}
    patients = tuple(f"p{numbers.setdefault(row.patient or row.id, len(numbers) + 1):04d}" for row in rows)
    convention = read_json(folder.root / "dataset.json").get("convention")
    return Sources(
        root=folder.root,
        rows=tuple(_with_sides(rows, split, seed)),
        patients=patients,
        patients_known=known,
        structures=folder.structures,
        convention=convention if isinstance(convention, str) else None,
        skipped=tuple(skipped),
    )


def _with_sides(rows: list[ManifestRow], split: tuple[float, float, float], seed: int) -> list[ManifestRow]:
    if all(row.split for row in rows):
        require_no_leak(rows)
        return rows
    groups = group_patients(rows)
    order = np.random.default_rng([seed, _SPLIT_STREAM]).permutation(len(groups))
    sides = [
        side for side, count in zip(SPLITS, _counts(len(groups), split), strict=True) for _ in range(count)
    ]
    side_of = {row: side for side, group in zip(sides, order, strict=True) for row in groups[group]}
    return [replace(row, split=side_of[number]) for number, row in enumerate(rows)]


def _counts(patients: int, split: tuple[float, float, float]) -> list[int]:
    """Patients of each side, by largest remainders; one at least where there is a share."""
    wanted = [number for number, share in enumerate(split) if share > 0]
    if patients < len(wanted):
        raise UsageError(
            f"--split {'/'.join(f'{share:g}' for share in split)}",
            found=f"{patients} patient(s)",
            expected=f"one at least for each of {len(wanted)} sides: a patient is on one side only",
            remedy="give --split 1/0/0, or more patients",
        )
    exact = [share * patients for share in split]
    counts = [max(int(value), int(number in wanted)) for number, value in enumerate(exact)]
    while sum(counts) < patients:
        counts[max(wanted, key=lambda number: exact[number] - counts[number])] += 1
    while sum(counts) > patients:
        counts[max(wanted, key=lambda number: (counts[number] > 1, counts[number] - exact[number]))] -= 1
    return counts
