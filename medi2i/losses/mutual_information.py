"""Mutual information as a loss (Wells et al., Medical Image Analysis 1, 1996): gray levels that belong
together stay together, whatever the tone curve.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair, pixel_weight
from medi2i.similarity.mutual_information import lost_information


class MutualInformationConfig(StructureLossSettings):
    """Share of the information of both images that they do not share: 0 for equal ones, 1 for independent.

    Attributes:
        bins: of the soft histograms from -1 to 1.
    """

    name: Literal["mutual_information"] = "mutual_information"
    bins: int = Field(default=32, ge=4, le=256)

    def build(self) -> MutualInformation:
        """The loss these settings describe."""
        return MutualInformation(self)


class MutualInformation(StructureLoss):
    """1 - 2 MI(source, translated) / (MI of each and itself), averaged over the batch."""

    def __init__(self, config: MutualInformationConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, pair: TranslationPair) -> Float[Tensor, ""]:
        weight = pixel_weight(pair, self.config.mask_weight)
        return lost_information(pair.source, pair.translated, weight, bins=self.config.bins).mean()
