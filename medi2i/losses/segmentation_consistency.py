"""Segmentation consistency (Zhang, Miao, Mansi, Liao, "Task driven generative modeling for unsupervised
domain adaptation", TD-GAN, MICCAI 2018): a segmenter finds in the translation what its source shows.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from medi2i.errors import ConfigError, MaskMismatchError, UsageError
from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair, pixel_weight
from medi2i.losses.segmentation import overlap_loss, thin_loss
from medi2i.similarity.weighting import at_least_float32

HalfWidth = Annotated[int, Field(gt=0, le=64)]


class SegmentationConsistencyConfig(StructureLossSettings):
    """Soft Dice and binary cross-entropy of the segmenter's answer; one sigmoid a structure: they overlap.

    Attributes:
        segmenter: `frozen`: as it was trained on the source (TD-GAN); `co_trained`: it learns on beside the
            translation, from images, their translations, and the masks (as CyCADA's task network does:
            Hoffman et al., ICML 2018), so that it follows the translation's look, and an honest change of
            look is not held against the generator.
        dice_share: a in a * (1 - Dice) + (1 - a) * cross-entropy.
        thin: structures that also cost 1 - soft clDice, with half their width in pixels at working scale.
        thin_weight: factor of that term.
        own_labels: for images without masks, take the segmenter's own answer on the source (CyCADA's noisy
            labels) instead of leaving them out.
    """

    requires_masks: ClassVar[bool] = True
    requires_segmenter: ClassVar[bool] = True

    name: Literal["segmentation_consistency"] = "segmentation_consistency"
    segmenter: Literal["frozen", "co_trained"] = "frozen"
    dice_share: float = Field(default=0.5, ge=0, le=1)
    thin: dict[str, HalfWidth] = Field(default={})
    thin_weight: float = Field(default=0.25, ge=0)
    own_labels: bool = False

    def build(self) -> SegmentationConsistency:
        """The loss these settings describe; it waits for `use_segmenter`."""
        return SegmentationConsistency(self)


class SegmentationConsistency(StructureLoss):
    """dice_share * (1 - Dice) + (1 - dice_share) * cross-entropy, means over structures and valid pixels.

    Its minimum is 0, reached by a segmenter that is sure and right; in practice it is what the segmenter
    reaches on the source itself. Dice counts the structures that an image's mask shows; a structure drawn in
    where there is none costs cross-entropy.
    """

    def __init__(self, config: SegmentationConsistencyConfig) -> None:
        super().__init__()
        self.config = config
        self._thin: dict[int, int] = {}
        # not as an attribute that nn.Module would register: it is no part of an adapter's weights
        self.__dict__["_segmenter"] = None

    def use_segmenter(self, segmenter: nn.Module, structures: Sequence[str] = ()) -> None:
        """Take a copy, frozen and in evaluation mode.

        Args:
            segmenter: images (B, 1, H, W) in [-1, 1] to logits (B, K, H, W), planes as the masks'.
            structures: names of the planes; needed for `thin`.

        Raises:
            ConfigError: `thin` names another structure.
        """
        own = copy.deepcopy(segmenter).eval()
        for parameter in own.parameters():
            parameter.requires_grad_(False)
        self.ask_segmenter(own, structures)

    def ask_segmenter(self, segmenter: nn.Module, structures: Sequence[str] = ()) -> None:
        """Ask a segmenter as it is, e.g. one that goes on learning; arguments as of `use_segmenter`."""
        unknown = [name for name in self.config.thin if name not in structures]
        if unknown:
            raise ConfigError(
                "segmentation_consistency.thin",
                found=f"'{unknown[0]}'",
                expected=f"structures of the masks: {', '.join(structures) or 'unknown here'}",
                remedy="mend the name",
            )
        self._thin = {structures.index(name): width for name, width in self.config.thin.items()}
        self.__dict__["_segmenter"] = segmenter

    def applies_to(self, pair: TranslationPair) -> bool:
        return pair.source_mask is not None or self.config.own_labels

    def forward(self, pair: TranslationPair) -> Float[Tensor, ""]:
        """The loss of one pair.

        Raises:
            UsageError: there is no segmenter, or no mask while `own_labels` is off.
            MaskMismatchError: the segmenter's structures are not as many as the masks'.
        """
        logits = at_least_float32(self._segment(pair.translated))
        wanted = self._wanted(pair).to(logits.dtype)
        if logits.shape != wanted.shape:
            raise MaskMismatchError(
                "segmentation_consistency",
                found=f"a segmenter of {logits.shape[1]} structures",
                expected=f"{wanted.shape[1]}, as the masks have",
                remedy="train the segmenter on the same structures",
            )
        weight = pixel_weight(pair, self.config.mask_weight)
        loss = overlap_loss(logits, wanted, weight, dice_share=self.config.dice_share)
        if self._thin and self.config.thin_weight:
            loss = loss + self.config.thin_weight * thin_loss(logits, wanted, self._thin, pair.valid)
        return loss

    def _wanted(self, pair: TranslationPair) -> Tensor:
        if pair.source_mask is not None:
            return pair.source_mask
        if self.config.own_labels:
            with torch.no_grad():
                return at_least_float32(self._segment(pair.source)).sigmoid()
        raise UsageError(
            "segmentation_consistency",
            found="images without masks",
            expected="masks of the source's structures",
            remedy="add masks to the data set, or set own_labels: true",
        )

    def _segment(self, image: Tensor) -> Tensor:
        segmenter: nn.Module | None = self.__dict__["_segmenter"]
        if segmenter is None:
            raise UsageError(
                "segmentation_consistency",
                found="no segmenter",
                expected="one that was trained on the source's masks",
                remedy="`medi2i adapt` trains one; from Python pass it with use_segmenter",
            )
        segmenter.to(image.device)
        logits: Tensor = segmenter(image)
        return logits
