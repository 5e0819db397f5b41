"""Gradient-consistency loss (Hiasa et al., SASHIMI 2018): edges stay in place, whatever their contrast."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair, pixel_weight
from medi2i.similarity.gradient_correlation import gradient_correlation


class GradientCorrelationConfig(StructureLossSettings):
    """1 - gradient correlation, in [0, 2]; punishes an inverted polarity."""

    name: Literal["gradient_correlation"] = "gradient_correlation"

    def build(self) -> GradientCorrelation:
        """The loss these settings describe."""
        return GradientCorrelation(self)


class GradientCorrelation(StructureLoss):
    """1 - gradient correlation, averaged over the batch."""

    def __init__(self, config: GradientCorrelationConfig) -> None:
        super().__init__()
        self.mask_weight = config.mask_weight

    def forward(self, pair: TranslationPair) -> Float[Tensor, ""]:
        weight = pixel_weight(pair, self.mask_weight)
        return 1 - gradient_correlation(pair.source, pair.translated, weight).mean()
