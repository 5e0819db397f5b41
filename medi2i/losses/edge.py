"""Difference of soft edge maps (Sobel gradients without contrast): edges stay where they are."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair, pixel_weight
from medi2i.similarity.edges import edge_distance


class EdgeConfig(StructureLossSettings):
    """Mean absolute difference of edge maps, in [0, 1]; blind to polarity and a gain of the whole image.

    Attributes:
        noise: gradient, in image units a pixel, that is no edge even in a flat image.
    """

    name: Literal["edge"] = "edge"
    noise: float = Field(default=0.004, gt=0)

    def build(self) -> Edge:
        """The loss these settings describe."""
        return Edge(self)


class Edge(StructureLoss):
    """Distance of edge maps, averaged over the batch."""

    def __init__(self, config: EdgeConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, pair: TranslationPair) -> Float[Tensor, ""]:
        weight = pixel_weight(pair, self.config.mask_weight)
        return edge_distance(pair.source, pair.translated, weight, noise=self.config.noise).mean()
