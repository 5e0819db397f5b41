"""MIND loss (Yang et al., "Unpaired brain MR-to-CT synthesis using a structure-constrained CycleGAN", 2018):
local self-similarity is kept, whatever the contrast or polarity.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair, pixel_weight
from medi2i.similarity.mind import Neighbours, mind_distance


class MINDConfig(StructureLossSettings):
    """Mean absolute difference of MIND descriptors, in [0, 1]; blind to an inverted polarity.

    Attributes:
        patch_radius: half the side of the compared patches, in pixels.
        dilation: distance to the neighbours, in pixels.
        neighbours: 4, or 8 with the diagonals.
    """

    name: Literal["mind"] = "mind"
    patch_radius: int = Field(default=1, ge=0)
    dilation: int = Field(default=2, ge=1)
    neighbours: Neighbours = 4

    def build(self) -> MIND:
        """The loss these settings describe."""
        return MIND(self)


class MIND(StructureLoss):
    """Distance of MIND descriptors, averaged over the batch."""

    def __init__(self, config: MINDConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, pair: TranslationPair) -> Float[Tensor, ""]:
        return mind_distance(
            pair.source,
            pair.translated,
            pixel_weight(pair, self.config.mask_weight),
            patch_radius=self.config.patch_radius,
            dilation=self.config.dilation,
            neighbours=self.config.neighbours,
        ).mean()
