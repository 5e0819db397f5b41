"""Unpaired batches: crops of both domains' images, drawn by (seed, sample number).

Which images and which crops make sample n depends on nothing but the seed and n. A resumed run therefore sees
what an uninterrupted one would have seen, with any number of workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medi2i.data.attributes import DOMAIN_VALUES
from medi2i.data.crops import random_crop
from medi2i.data.settings import DataConfig
from medi2i.image import Domain


class TrainingCrops(Dataset[dict[str, Tensor]], ABC):
    """What the training loop draws from: sample n depends on nothing but the seed and n."""

    @property
    @abstractmethod
    def epoch_length(self) -> int:
        """Samples in an epoch."""


class UnpairedCrops(TrainingCrops):
    """Sample n: a crop of a source image and a crop of a target image that have nothing in common.

    The longer domain is walked through in a new random order each epoch, the other is drawn at random.
    """

    def __init__(
        self,
        source: Dataset[Any],
        target: Dataset[Any],
        config: DataConfig,
        *,
        seed: int,
        codes: Mapping[Domain, Float[Tensor, "n C"]] | None = None,
    ) -> None:
        """Take the decoded images of both domains, and, for methods that are told them, their codes."""
        self._domains: dict[Domain, Dataset[Any]] = {"source": source, "target": target}
        self._lengths = {name: len(domain) for name, domain in self._domains.items()}  # type: ignore[arg-type]
        self._config = config
        self._seed = seed
        self._codes = {name: codes[name] for name in DOMAIN_VALUES} if codes is not None else {}
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=int))

    @property
    def epoch_length(self) -> int:
        """Samples in an epoch: the longer domain's images."""
        return max(self._lengths.values())

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self._seed, 1, number])
        longer = max(self._lengths, key=lambda name: self._lengths[name])
        sample: dict[str, Tensor] = {}
        for name in DOMAIN_VALUES:
            walked = self._walk(number)
            drawn = int(rng.integers(self._lengths[name]))
            index = walked if name == longer else drawn
            crop = random_crop(self._domains[name][index], self._config, rng)
            sample[name] = crop["image"]
            sample[f"{name}_valid"] = crop["valid"]
            if "mask" in crop:
                sample[f"{name}_mask"] = crop["mask"]
            if self._codes:
                sample[f"{name}_attributes"] = self._codes[name][index]
        return sample

    def _walk(self, number: int) -> int:
        epoch, position = divmod(number, self.epoch_length)
        if self._order[0] != epoch:
            order = np.random.default_rng([self._seed, 0, epoch]).permutation(self.epoch_length)
            self._order = (epoch, order)
        return int(self._order[1][position])


def unpaired_loader(
    crops: TrainingCrops, *, batch_size: int, first: int, last: int, rank: int, world: int, workers: int
) -> DataLoader[dict[str, Tensor]]:
    """Batches `first` to `last` - 1 of one process.

    Batch s of rank r holds the samples from (s * world + r) * batch_size on.
    """
    numbers = [
        (step * world + rank) * batch_size + offset
        for step in range(first, last)
        for offset in range(batch_size)
    ]
    return DataLoader(
        crops,
        batch_size=batch_size,
        sampler=numbers,
        num_workers=workers,
        # a loader without a generator of its own draws one number from the global state
        generator=torch.Generator().manual_seed(first),
        persistent_workers=False,
        pin_memory=torch.cuda.is_available(),
    )
