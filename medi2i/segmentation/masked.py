"""Images with masks, of one folder or of several: what is there, and training crops of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from medi2i.data.crops import random_crop
from medi2i.data.dataset_folder import discover
from medi2i.data.decoding import decoded_images
from medi2i.data.manifest import ManifestRow, inspect_folder
from medi2i.data.settings import DataConfig
from medi2i.data.split import assign_splits
from medi2i.data.unpaired import TrainingCrops
from medi2i.errors import MaskMismatchError, NothingUsableError, UsageError
from medi2i.image import IntensityMap, merge_intensity


@dataclass(frozen=True)
class MaskedImages:
    """Images of one folder that have masks.

    Attributes:
        rows: with masks, and with their split.
        root: where the rows' paths start.
        intensity: the folder's map, for `fit: domain`.
    """

    rows: tuple[ManifestRow, ...]
    root: Path
    intensity: IntensityMap

    def of_split(self, split: str) -> MaskedImages:
        """Those of one split."""
        return dataclasses.replace(self, rows=tuple(row for row in self.rows if row.split == split))


def inspect_masked(
    folders: Sequence[Path],
    data: DataConfig,
    *,
    seed: int,
    tick: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> list[MaskedImages]:
    """Read every image of the folders once and split all of them by patient.

    A patient of the same name in two folders is one patient. A translated folder names its patients by hashes
    of its run, so joined with others of the same patients it can have a patient on two sides.

    Args:
        tick: called with the folder's number as text, images read, and images there are.

    Raises:
        UsageError: no folder, or one that holds no masks.
        MaskMismatchError: the folders' masks show different structures, or don't fit their images.
        NothingUsableError: a folder has no usable image, or all of them fewer than three.
        SplitLeakError, DatasetFolderError: the splits that the folders give can't be.
    """
    if not folders:
        raise UsageError("segmenter", found="no folder", expected="images with masks", remedy="give one")
    salt = secrets.token_bytes(16)  # never written: a hash can't be traced back to an identity
    read = [
        _read_folder(folder, index, data, salt, lambda done, total, n=index: tick(str(n), done, total))  # type: ignore[misc]
        for index, folder in enumerate(folders)
    ]
    first = read[0][0][0].structures
    for folder, (rows, _) in zip(folders, read, strict=True):
        if rows[0].structures != first:
            raise MaskMismatchError(
                folder,
                found=f"structures {', '.join(rows[0].structures)}",
                expected=f"{', '.join(first)}, as in {folders[0]}, in this order",
                remedy="join folders of the same structures only",
            )
    split, _ = assign_splits([row for rows, _ in read for row in rows], data.split, seed=seed)
    of_id = {row.id: row for row in split}
    return [with_intensity([of_id[row.id] for row in rows], root) for rows, root in read]


def fingerprint(images: Sequence[MaskedImages], films: Sequence[ManifestRow] = ()) -> str:
    """A hash of which images with which masks are on which side, and of films; the same for the same."""
    facts: list[tuple[str | None, ...]] = [
        (row.sha256, row.mask, row.split) for folder in images for row in folder.rows
    ]
    facts += [(row.sha256,) for row in films]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def decode_masked(images: Sequence[MaskedImages], data: DataConfig) -> Dataset[dict[str, Tensor]]:
    """Decoded images (`image`, `valid`, `mask`) of all folders, one after the other."""
    return ConcatDataset(
        decoded_images(folder.rows, folder.root, folder.intensity, data, with_masks=True)
        for folder in images
        if folder.rows
    )


class MaskedCrops(TrainingCrops):
    """Sample n: a crop of an image with its masks; all images once in a new random order each epoch."""

    def __init__(self, images: Dataset[dict[str, Tensor]], config: DataConfig, *, seed: int) -> None:
        self._images, self._config, self._seed = images, config, seed
        self._length = len(images)  # type: ignore[arg-type]
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=int))

    @property
    def epoch_length(self) -> int:
        """Samples in an epoch: the images."""
        return self._length

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        epoch, position = divmod(number, self._length)
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self._seed, 2, epoch]).permutation(self._length))
        rng = np.random.default_rng([self._seed, 3, number])
        crop = random_crop(self._images[int(self._order[1][position])], self._config, rng)
        return {
            "source": crop["image"],
            "source_valid": crop["valid"],
            # framing resamples masks with cubes' overshoot cut at [-1, 1]
            "source_mask": crop["mask"].clamp(0, 1),
        }


def iterate_images(images: Dataset[Any]) -> Iterator[dict[str, Tensor]]:
    """The images of a data set in their order."""
    for number in range(len(images)):  # type: ignore[arg-type]
        yield images[number]


def _read_folder(
    location: Path, index: int, data: DataConfig, salt: bytes, progress: Callable[[int, int], None]
) -> tuple[list[ManifestRow], Path]:
    folder = discover(location)
    if not folder.has_masks:
        raise UsageError(
            location,
            found="images without masks",
            expected="a data set folder with masks",
            remedy="add masks/ to it, see docs/dataset-folder.md",
        )
    rows, skipped = inspect_folder(folder, "source", data.source_intensity, salt=salt, progress=progress)
    if not rows:
        raise NothingUsableError(
            location,
            found=f"{len(skipped)} image(s), none usable; the first: {skipped[0].reason}",
            expected="projection radiographs with masks",
            remedy="see docs/dataset-folder.md for what is read",
        )
    return [dataclasses.replace(row, id=f"{index}-{row.id}") for row in rows], folder.root


def with_intensity(rows: Sequence[ManifestRow], root: Path) -> MaskedImages:
    """Images with the map of those that are trained on, or of all where none is."""
    learnt = [row.intensity for row in rows if row.split == "train"] or [row.intensity for row in rows]
    return MaskedImages(tuple(rows), root, merge_intensity(learnt))
