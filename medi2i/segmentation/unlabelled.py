"""Films that a segmenter adapts to: their pixels, never a mask."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from medi2i.data.crops import random_crop
from medi2i.data.dataset_folder import discover
from medi2i.data.decoding import decoded_images
from medi2i.data.manifest import ManifestRow, inspect_folder, require_different_domains
from medi2i.data.settings import DataConfig
from medi2i.data.unpaired import TrainingCrops
from medi2i.errors import NothingUsableError
from medi2i.image import IntensityMap, merge_intensity
from medi2i.segmentation.masked import MaskedCrops, MaskedImages


@dataclass(frozen=True)
class UnlabelledFilms:
    """Films of one folder, without masks, whether there are any or not.

    Attributes:
        rows: without masks and without structures.
        root: where the rows' paths start.
        intensity: the folder's map, for `fit: domain`.
        skipped: how many images could not be used.
    """

    rows: tuple[ManifestRow, ...]
    root: Path
    intensity: IntensityMap
    skipped: int = 0


def inspect_films(
    location: Path,
    data: DataConfig,
    *,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> UnlabelledFilms:
    """Read every film of a folder once; masks beside them are not opened, and no split is made.

    Args:
        tick: called with films read, and films there are.

    Raises:
        UsageError: nothing is there.
        NothingUsableError: no film can be used.
    """
    folder = discover(location)
    bare = tuple(dataclasses.replace(item, mask=None) for item in folder.items)
    unlabelled = dataclasses.replace(folder, items=bare, structures=())
    salt = secrets.token_bytes(16)  # never written
    rows, skipped = inspect_folder(unlabelled, "source", data.source_intensity, salt=salt, progress=tick)
    if not rows:
        raise NothingUsableError(
            location,
            found=f"{len(skipped)} image(s), none usable; the first: {skipped[0].reason}",
            expected="films to adapt to",
            remedy="see docs/dataset-folder.md for what is read",
        )
    intensity = merge_intensity([row.intensity for row in rows])
    return UnlabelledFilms(tuple(rows), folder.root, intensity, skipped=len(skipped))


def require_others(films: UnlabelledFilms, images: Sequence[MaskedImages]) -> None:
    """Refuse films that are among the images with masks: held-out ones would not be held out.

    Raises:
        SameDomainError: a film's content is.
    """
    rows = [row for folder in images for row in folder.rows]
    require_different_domains(rows, films.rows, named="the folders with masks, and --adapt-to")


def decode_films(films: UnlabelledFilms, data: DataConfig) -> Dataset[dict[str, Tensor]]:
    """Whole films (`image`, `valid`) at working scale; their warp is the self-training's own."""
    return decoded_images(films.rows, films.root, films.intensity, data.model_copy(update={"framing": None}))


class CropsWithFilms(TrainingCrops):
    """Sample n: that of `MaskedCrops`, and a crop of a film, all films once in a new order each epoch."""

    def __init__(
        self,
        masked: MaskedCrops,
        films: Dataset[dict[str, Tensor]],
        config: DataConfig,
        *,
        seed: int,
    ) -> None:
        self._masked, self._films, self._seed = masked, films, seed
        self._config = config.model_copy(update={"framing": None})
        self._count = len(films)  # type: ignore[arg-type]

    @property
    def epoch_length(self) -> int:
        """Samples in an epoch: the images with masks."""
        return self._masked.epoch_length

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        epoch, position = divmod(number, self._count)
        order = np.random.default_rng([self._seed, 4, epoch]).permutation(self._count)
        rng = np.random.default_rng([self._seed, 5, number])
        crop = random_crop(self._films[int(order[position])], self._config, rng)
        return self._masked[number] | {"target": crop["image"], "target_valid": crop["valid"]}
