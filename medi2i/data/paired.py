"""Paired batches: one window of an image and of its true translation, drawn by (seed, number)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from medi2i.data.crops import random_crop
from medi2i.data.settings import DataConfig
from medi2i.data.unpaired import TrainingCrops
from medi2i.errors import MaskMismatchError


class PairedCrops(TrainingCrops):
    """Sample n: one crop of a source image and the same crop of its target image.

    Framing, flip and place are drawn once for both. Pairs are walked through in a new random order each
    epoch.
    """

    def __init__(self, source: Dataset[Any], target: Dataset[Any], config: DataConfig, *, seed: int) -> None:
        """Take the decoded images of both domains, in one order: image n of each makes pair n.

        Raises:
            ValueError: one domain has more images than the other.
        """
        self._domains = {"source": source, "target": target}
        counts = {name: len(domain) for name, domain in self._domains.items()}  # type: ignore[arg-type]
        if counts["source"] != counts["target"]:
            raise ValueError(f"{counts['source']} source and {counts['target']} target images are no pairs")
        self._count = counts["source"]
        self._config, self._seed = config, seed

    @property
    def epoch_length(self) -> int:
        """Samples in an epoch: the pairs."""
        return self._count

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        epoch, position = divmod(number, self._count)
        order = np.random.default_rng([self._seed, 0, epoch]).permutation(self._count)
        source, target = (self._domains[name][int(order[position])] for name in ("source", "target"))
        if source["image"].shape != target["image"].shape:
            raise MaskMismatchError(
                f"pair {int(order[position])}",
                found=f"images of {tuple(source['image'].shape[1:])} and {tuple(target['image'].shape[1:])}",
                expected="one matrix",
                remedy="give the target image in the geometry of its source image",
            )
        both_valid = source["valid"] * target["valid"]  # the plane that says where a crop is worth cutting
        planes = {
            "image": torch.cat([source["image"], target["image"]]),
            "valid": torch.cat([both_valid, source["valid"], target["valid"]]),
        }
        if "mask" in source:
            planes["mask"] = source["mask"]
        crop = random_crop(planes, self._config, np.random.default_rng([self._seed, 1, number]))
        sample = {name: crop["image"][plane : plane + 1] for plane, name in enumerate(self._domains)}
        _, sample["source_valid"], sample["target_valid"] = crop["valid"].split(1)
        return sample | ({"source_mask": crop["mask"]} if "mask" in crop else {})
