"""What every structure loss takes and is: a pair of images in, one number out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from medi2i.config import Config


@dataclass(frozen=True)
class TranslationPair:
    """An image, its translation, and what is known about the image.

    Attributes:
        source: images as they were, in [-1, 1].
        translated: the same images in the look of the other domain.
        source_mask: one plane a structure, in [0, 1] or bool; None when the images have no masks.
        valid: 1 where there is an image, 0 in padding, collimation, outside the CT; None: all valid.
    """

    source: Float[Tensor, "B 1 H W"]
    translated: Float[Tensor, "B 1 H W"]
    source_mask: Float[Tensor, "B K H W"] | Bool[Tensor, "B K H W"] | None = None
    valid: Float[Tensor, "B 1 H W"] | None = None


class StructureLoss(nn.Module, ABC):
    """A loss between an image and its translation; its weight is the config's, applied by the adapter."""

    def applies_to(self, pair: TranslationPair) -> bool:
        """Whether what is known of the image is enough for this loss; most need nothing."""
        return True

    @abstractmethod
    def forward(self, pair: TranslationPair) -> Float[Tensor, ""]:
        """Mean over the batch, without the config's weight; 0 when the structure is kept."""


class StructureLossSettings(Config, ABC):
    """Settings that all structure losses have.

    Attributes:
        name: which loss; a subclass gives the one value it may have.
        weight: factor of the loss in the sum that the generators minimise.
        mask_weight: m: pixels in any structure weigh 1 + m, other valid pixels 1. Images without masks (the
            target domain's) weigh 1 everywhere.
        warmup_steps: over so many first steps the weight rises linearly from 0; 0: the whole weight at once.
        every: k: computed in the k-th, 2k-th, ... step only, then with k times the weight, so that the mean
            over steps is the weight (lazy regularisation: Karras et al., StyleGAN2, CVPR 2020, section 3.1).
    """

    requires_masks: ClassVar[bool] = False  # whether the loss says nothing without them
    requires_segmenter: ClassVar[bool] = False

    name: str
    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    mask_weight: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    warmup_steps: int = Field(default=0, ge=0)
    every: int = Field(default=1, ge=1)

    @abstractmethod
    def build(self) -> StructureLoss:
        """The loss these settings describe."""

    @property
    def wants_masks(self) -> bool:
        """Whether the loss uses the source's masks where there are some."""
        return self.requires_masks or self.mask_weight > 0

    def weight_at(self, step: int) -> float:
        """Weight in a step, warm-up and `every` included; 0 where the loss is not due.

        Args:
            step: finished steps before this one, as `Batch.step` counts.
        """
        # steps are logged by how many are finished: what is due in every 10th is then in every 10th line
        if (step + 1) % self.every:
            return 0.0
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return self.weight * self.every * warm


def pixel_weight(pair: TranslationPair, mask_weight: float) -> Float[Tensor, "B 1 H W"] | None:
    """Validity times 1 + `mask_weight` where any structure is; None when every pixel weighs the same."""
    if pair.source_mask is None or mask_weight == 0:
        return pair.valid
    weight = 1 + mask_weight * pair.source_mask.to(pair.source.dtype).amax(dim=1, keepdim=True)
    return weight if pair.valid is None else weight * pair.valid
