"""Gradient-consistency loss (Hiasa et al., SASHIMI 2018): edges stay in place, whatever their contrast."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair, pixel_weight
from medi2i.similarity.gradient_correlation import gradient_correlation, local_gradient_correlation


class GradientCorrelationConfig(StructureLossSettings):
    """1 - gradient correlation, in [0, 2]; punishes an inverted polarity.

    Attributes:
        window_px: side of the windows of the local measure, in which every part of the image counts the same;
            None is the paper's global correlation.
    """

    name: Literal["gradient_correlation"] = "gradient_correlation"
    window_px: int | None = Field(default=None, ge=4)

    def build(self) -> GradientCorrelation:
        """The loss these settings describe."""
        return GradientCorrelation(self)


class GradientCorrelation(StructureLoss):
    """1 - gradient correlation, averaged over the batch."""

    def __init__(self, config: GradientCorrelationConfig) -> None:
        super().__init__()
        self.mask_weight = config.mask_weight
        self.window_px = config.window_px

    def forward(self, pair: TranslationPair) -> Float[Tensor, ""]:
        weight = pixel_weight(pair, self.mask_weight)
        if self.window_px is None:
            return 1 - gradient_correlation(pair.source, pair.translated, weight).mean()
        local = local_gradient_correlation(pair.source, pair.translated, weight, window_px=self.window_px)
        return 1 - local.mean()
