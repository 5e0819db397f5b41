"""Labelled batches: crops of images whose attributes are known, in groups of one class each.

Which classes, images, and crops make batch n depends on nothing but the seed and n, as in `unpaired`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medi2i.data.attributes import AttributesConfig
from medi2i.data.classes import Combination, combination
from medi2i.data.crops import random_crop
from medi2i.data.manifest import ManifestRow
from medi2i.data.settings import DataConfig
from medi2i.errors import NothingUsableError
from medi2i.image import Domain

_CROPS, _ORDER = 2, 3  # streams of random numbers; `unpaired` has 0 and 1


class LabelledCrops(Dataset[dict[str, Tensor]]):
    """Batch n: `groups` classes with `images` crops of each.

    The classes are walked through in a new random order each round, so that rare ones come as often as common
    ones. Within a class no image comes twice in a batch, unless it has too few.

    Attributes:
        every: a labelled batch comes in every n-th step: 1 where all images are labelled, else 2
            (Sun et al. 2020, MatchGAN: labelled and unlabelled steps alternate).
    """

    def __init__(
        self,
        domains: Mapping[Domain, Dataset[Any]],
        rows: Mapping[Domain, Sequence[ManifestRow]],
        attributes: AttributesConfig,
        config: DataConfig,
        *,
        groups: int,
        images: int,
        seed: int,
        alternate: bool = False,
    ) -> None:
        """Find the images of each class.

        Args:
            domains: decoded images, one for each of `rows`.
            rows: training images of each domain.
            alternate: labelled batches in every second step even where all images are labelled, for losses
                that need masks: only the other batches bring them.

        Raises:
            NothingUsableError: the images make fewer than two classes.
        """
        self._domains, self._config, self._seed, self._images = domains, config, seed, images
        places: dict[Combination, list[tuple[Domain, int]]] = defaultdict(list)
        for domain in rows:
            for index, row in enumerate(rows[domain]):
                places[combination(row, attributes)].append((domain, index))
        found = zip(attributes.classes(), attributes.class_rows(), strict=True)
        kept = [(code, places[values]) for code, values in found if values in places]
        self._codes, self._members = [code for code, _ in kept], [of for _, of in kept]
        if len(kept) < 2:
            raise NothingUsableError(
                "adapter.attributes",
                found=f"training images of {len(kept)} class(es)",
                expected="at least 2 combinations of domain and attributes to tell apart",
                remedy="fill attributes.csv, or tell other groups (adapter.attributes.groups)",
            )
        self._groups = min(groups, len(kept))
        labelled = sum(len(of) for of in self._members)
        all_labelled = labelled == sum(len(rows[domain]) for domain in rows)
        self.every = 1 if all_labelled and not alternate else 2

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self._seed, _CROPS, number])
        chosen = self._walk(number)
        crops = [crop for place in chosen for crop in self._draw(self._members[place], rng)]
        return {
            "labelled_image": torch.stack([crop["image"] for crop in crops]),
            "labelled_valid": torch.stack([crop["valid"] for crop in crops]),
            "labelled_attributes": torch.stack([self._codes[place] for place in chosen]).repeat_interleave(
                self._images, dim=0
            ),
            "labelled_group": torch.arange(self._groups).repeat_interleave(self._images),
        }

    def _walk(self, number: int) -> list[int]:
        """Classes of a batch, all different; a round leaves out those that would not fill a batch."""
        count = len(self._members)
        epoch, position = divmod(number, count // self._groups)
        order = np.random.default_rng([self._seed, _ORDER, epoch]).permutation(count)
        return [int(place) for place in order[position * self._groups : (position + 1) * self._groups]]

    def _draw(
        self, members: list[tuple[Domain, int]], rng: np.random.Generator
    ) -> Iterator[dict[str, Tensor]]:
        places = rng.choice(len(members), self._images, replace=len(members) < self._images)
        for place in places:
            domain, index = members[place]
            image = self._domains[domain][index]
            yield random_crop({key: image[key] for key in ("image", "valid")}, self._config, rng)


def labelled_loader(
    crops: LabelledCrops, *, first: int, last: int, accumulate: int, rank: int, world: int, workers: int
) -> DataLoader[dict[str, Tensor]]:
    """Labelled batches of one process for steps `first` to `last` - 1, `accumulate` in each labelled step."""
    numbers = [
        (step // crops.every * accumulate + offset) * world + rank
        for step in range(first, last)
        if step % crops.every == 0
        for offset in range(accumulate)
    ]
    return DataLoader(
        crops,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        generator=torch.Generator().manual_seed(first),
        persistent_workers=False,
        pin_memory=torch.cuda.is_available(),
    )


def join_batches(
    unpaired: Iterable[dict[str, Tensor]],
    labelled: Iterable[dict[str, Tensor]],
    *,
    first: int,
    accumulate: int,
    every: int,
) -> Iterator[dict[str, Tensor]]:
    """Unpaired batches from step `first` on; those of labelled steps have a labelled batch in them, too."""
    following = iter(labelled)
    for place, batch in enumerate(unpaired):
        step = first + place // accumulate
        yield batch | next(following) if step % every == 0 else batch
