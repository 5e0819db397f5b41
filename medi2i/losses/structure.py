"""A method's structure losses: one place for names, weights, warm-up, schedule and precision."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from torch import Tensor, nn

from medi2i.errors import ConfigError
from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair
from medi2i.losses.segmentation_consistency import SegmentationConsistency


class StructureLosses(nn.ModuleList):
    """The losses of a list of settings, e.g. of an adapter's `structure_losses`.

    An adapter makes it once, and in the generators' turn adds

        self.structure_losses.terms({"source": pair, "target": other_pair}, batch.step)

    to its losses.
    """

    def __init__(self, settings: Iterable[StructureLossSettings] = ()) -> None:
        self.settings = tuple(settings)
        super().__init__(setting.build() for setting in self.settings)

    def use_segmenter(self, segmenter: nn.Module, structures: Sequence[str] = ()) -> nn.Module | None:
        """Hand copies of a trained segmenter to the losses that ask one.

        Args:
            segmenter: images (B, 1, H, W) in [-1, 1] to logits (B, K, H, W), planes as the source's masks.
            structures: names of the planes; needed for losses on thin structures.

        Returns:
            the one copy that all co-trained losses share and that somebody has to train; None without one.

        Raises:
            ConfigError: a loss names a structure that is not there.
        """
        learning: nn.Module | None = None
        for loss in self:
            if not isinstance(loss, SegmentationConsistency):
                continue
            if loss.config.segmenter == "frozen":
                loss.use_segmenter(segmenter, structures)
                continue
            if learning is None:
                learning = copy.deepcopy(segmenter).requires_grad_(True)
            loss.ask_segmenter(learning, structures)
        return learning

    def __iter__(self) -> Iterator[StructureLoss]:
        return cast(Iterator[StructureLoss], super().__iter__())

    def terms(self, pairs: Mapping[str, TranslationPair], step: int) -> dict[str, Tensor]:
        """Weighted losses of the losses that are due, as `name_index_side`; scalars.

        A loss that is not due in this step, has the weight 0, or can say nothing of a pair (segmentation
        consistency of an image without masks) is left out.

        Args:
            pairs: an image and its translation for each side, e.g. of the domain the image comes from.
            step: finished steps before this one, as `Batch.step` counts; for a player that has its turn in
                every n-th step only, finished turns: `batch.step // n`.
        """
        return {
            f"{setting.name}_{index}_{side}": weight * loss(pair)
            for index, (setting, loss) in enumerate(zip(self.settings, self, strict=True))
            if (weight := setting.weight_at(step))
            for side, pair in pairs.items()
            if loss.applies_to(pair)
        }


def require_possible(
    settings: Iterable[StructureLossSettings], *, has_masks: bool, has_segmenter: bool
) -> None:
    """Refuse losses that could not say anything, before anything is trained.

    Args:
        settings: an adapter's `structure_losses`.
        has_masks: whether the source images have masks.
        has_segmenter: whether a segmenter of these masks will be passed in.

    Raises:
        ConfigError: a loss needs what is not there.
    """
    for index, setting in enumerate(settings):
        if not setting.weight:
            continue
        missing = [
            what
            for what, required, there in (
                ("masks of the source images", setting.requires_masks, has_masks),
                ("a segmenter", setting.requires_segmenter, has_segmenter),
            )
            if required and not there
        ]
        if missing:
            raise ConfigError(
                f"adapter.structure_losses.{index}",
                found=f"'{setting.name}' without {' and '.join(missing)}",
                expected="what the loss compares with",
                remedy="use a source data set with masks (see docs/dataset-folder.md), on which the main job "
                "trains a segmenter, or drop the loss",
            )
