"""Segmentation consistency (Zhang, Miao, Mansi, Liao, "Task driven generative modeling for unsupervised
domain adaptation", TD-GAN, MICCAI 2018): a frozen segmenter finds in the translation what its source shows.
"""

from __future__ import annotations

import copy
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from medi2i.errors import MaskMismatchError, UsageError
from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair, pixel_weight
from medi2i.similarity.overlap import soft_dice
from medi2i.similarity.weighting import at_least_float32, masked_mean


class SegmentationConsistencyConfig(StructureLossSettings):
    """Soft Dice and binary cross-entropy of the segmenter's answer; one sigmoid a structure: they overlap.

    Attributes:
        dice_share: a in a * (1 - Dice) + (1 - a) * cross-entropy.
        own_labels: for images without masks, take the segmenter's own answer on the source (CyCADA's noisy
            labels: Hoffman et al., ICML 2018) instead of leaving them out.
    """

    requires_masks: ClassVar[bool] = True
    requires_segmenter: ClassVar[bool] = True

    name: Literal["segmentation_consistency"] = "segmentation_consistency"
    dice_share: float = Field(default=0.5, ge=0, le=1)
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
        # not as an attribute that nn.Module would register: it is no part of an adapter's weights
        self.__dict__["_segmenter"] = None

    def use_segmenter(self, segmenter: nn.Module) -> None:
        """Take a copy, frozen and in evaluation mode.

        Args:
            segmenter: images (B, 1, H, W) in [-1, 1] to logits (B, K, H, W), planes as the masks'.
        """
        own = copy.deepcopy(segmenter).eval()
        for parameter in own.parameters():
            parameter.requires_grad_(False)
        self.__dict__["_segmenter"] = own

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
        overlap, present = soft_dice(logits.sigmoid(), wanted, weight)
        lost = masked_mean(1 - overlap, present.to(overlap.dtype))
        surprise = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        share = self.config.dice_share
        return share * lost + (1 - share) * masked_mean(surprise, weight)

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
                remedy="pass it with use_segmenter before the training, or drop the loss",
            )
        segmenter.to(image.device)
        logits: Tensor = segmenter(image)
        return logits
