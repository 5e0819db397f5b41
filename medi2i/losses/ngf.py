"""Normalised gradient fields as a loss (Haber and Modersitzki, MICCAI 2006): edges stay where they are and
run the same way, whatever their contrast or polarity.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair, pixel_weight
from medi2i.similarity.ngf import ngf_distance


class NGFConfig(StructureLossSettings):
    """What is lost of the agreement an image has with itself, in [0, 1]; blind to an inverted polarity.

    Attributes:
        noise: gradient, in image units a pixel, that is no edge.
    """

    name: Literal["ngf"] = "ngf"
    noise: float = Field(default=0.01, gt=0)

    def build(self) -> NGF:
        """The loss these settings describe."""
        return NGF(self)


class NGF(StructureLoss):
    """Distance of normalised gradient fields, averaged over the batch."""

    def __init__(self, config: NGFConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, pair: TranslationPair) -> Float[Tensor, ""]:
        weight = pixel_weight(pair, self.config.mask_weight)
        return ngf_distance(pair.source, pair.translated, weight, noise=self.config.noise).mean()
