"""PatchNCE with fixed features (after Park et al., "Contrastive learning for unpaired image-to-image
translation", ECCV 2020): each patch of a translation finds its own place in the source.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair, pixel_weight
from medi2i.similarity.patch_nce import patch_nce_distance


class PatchNCEConfig(StructureLossSettings):
    """Nats by which patches find their place worse than in the source itself; blind to an inverted polarity.

    Departures from the paper, whose features are the generator's own and whose places are drawn: MIND
    descriptors on a grid, so that it fits any method; and the source's own cross-entropy is taken off, so
    that 0 is reached.

    Attributes:
        temperature: the smaller, the more a place is told from those that look alike.
        stride_px: between places, in rows and columns; memory grows with the fourth power of their density.
    """

    name: Literal["patch_nce"] = "patch_nce"
    temperature: float = Field(default=0.07, gt=0)
    stride_px: int = Field(default=8, ge=1)

    def build(self) -> PatchNCE:
        """The loss these settings describe."""
        return PatchNCE(self)


class PatchNCE(StructureLoss):
    """Lost recognition of places, averaged over the batch."""

    def __init__(self, config: PatchNCEConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, pair: TranslationPair) -> Float[Tensor, ""]:
        return patch_nce_distance(
            pair.source,
            pair.translated,
            pixel_weight(pair, self.config.mask_weight),
            temperature=self.config.temperature,
            stride_px=self.config.stride_px,
        ).mean()
