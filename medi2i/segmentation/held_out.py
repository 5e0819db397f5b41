"""What a segmenter reaches on images that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from medi2i.metrics.overlap import dice
from medi2i.segmentation.calibration import Answers
from medi2i.segmentation.masked import MaskedImages, decode_masked, iterate_images
from medi2i.segmentation.prediction import answer_whole, show_outside
from medi2i.segmentation.settings import SegmenterConfig
from medi2i.training.settings import Score

_Asked = Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class HeldOutDice(Score):
    """Mean Dice of held-out images over the structures they show.

    Attributes:
        adapted: films, where there are any, counted with their whole weight.
    """

    dice: float
    adapted: bool = True

    def better_than(self, other: HeldOutDice | None, minimum: float) -> bool:
        """Adapted first, since held-out images of the source can't tell; then the larger Dice.

        `minimum` is of translations and without effect.
        """
        if other is None or self.adapted != other.adapted:
            return other is None or self.adapted
        return self.dice > other.dice


def make_validator(
    images: Sequence[MaskedImages], config: SegmenterConfig
) -> Callable[[nn.Module, torch.device], list[np.ndarray]]:
    """Dice (K) of each image at working scale, NaN for structures that are not there and not found."""
    ask = _asker(images, config)
    return lambda network, device: [
        dice(logits >= 0, masks, valid) for logits, masks, valid in ask(network, device)
    ]


def _asker(
    images: Sequence[MaskedImages], config: SegmenterConfig
) -> Callable[[nn.Module, torch.device], _Asked]:
    """Logits, masks and valid area of each image at working scale."""
    # whole images, so that none of the framing of crops
    decoded = decode_masked(images, config.data.model_copy(update={"framing": None}))

    def ask(network: nn.Module, device: torch.device) -> _Asked:
        for image in iterate_images(decoded):
            valid = image["valid"][0].numpy() > 0
            shown = torch.from_numpy(show_outside(image["image"][0].numpy(), valid, config))[None]
            logits = answer_whole(network, shown, config.size_multiple, device)
            yield logits.numpy(), (image["mask"] >= 0.5).numpy(), valid

    return ask


def fit_temperature(
    images: Sequence[MaskedImages], config: SegmenterConfig, network: nn.Module, device: torch.device
) -> float:
    """The temperature that fits images that were not trained on; see `Answers.fit_temperature`."""
    answers = Answers(sum(len(folder.rows) for folder in images))
    for logits, masks, valid in _asker(images, config)(network, device):
        answers.add(logits, masks, valid)
    return answers.fit_temperature()


def average_by_structure(scores: Sequence[np.ndarray], structures: Sequence[str]) -> dict[str, float | None]:
    """Mean over the images in which a structure is shown or found; None where it is in none."""
    columns = zip(structures, np.stack(scores).T, strict=True)
    kept = {name: values[~np.isnan(values)] for name, values in columns}
    return {name: round(float(v.mean()), 4) if v.size else None for name, v in kept.items()}


def average(scores: Sequence[np.ndarray]) -> float:
    """Mean over structures of their means over images; 0 where nothing is shown or found."""
    numbers = [str(plane) for plane in range(len(scores[0]))]
    means = [mean for mean in average_by_structure(scores, numbers).values() if mean is not None]
    return float(np.mean(means)) if means else 0.0
