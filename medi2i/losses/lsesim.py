"""Spatially-correlative loss (Zheng, Cham, Cai, CVPR 2021, the fixed variant FSeSim): what a place resembles
around it stays, whatever its look.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair, pixel_weight
from medi2i.similarity.self_similarity import self_similarity_distance


class LSeSimConfig(StructureLossSettings):
    """1 - cosine of self-similarity maps, in [0, 2]; blind to inverted polarity and slow changes of gain.

    On patches of the image instead of VGG's features, at several scales: no weights to download.

    Attributes:
        scales: how many, each half as large as the one before.
        patch_radius: half the side of the compared patches, in pixels of each scale.
        reach_px: distance, in pixels of each scale, up to which patches are compared; even.
        noise: standard deviation, in image units, that is no structure.
    """

    name: Literal["lsesim"] = "lsesim"
    scales: int = Field(default=3, ge=1, le=6)
    patch_radius: int = Field(default=2, ge=1)
    reach_px: int = Field(default=6, ge=2, multiple_of=2)
    noise: float = Field(default=0.01, gt=0)

    def build(self) -> LSeSim:
        """The loss these settings describe."""
        return LSeSim(self)


class LSeSim(StructureLoss):
    """Distance of self-similarity maps, averaged over the batch."""

    def __init__(self, config: LSeSimConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, pair: TranslationPair) -> Float[Tensor, ""]:
        weight = pixel_weight(pair, self.config.mask_weight)
        return self_similarity_distance(
            pair.source,
            pair.translated,
            weight,
            scales=self.config.scales,
            patch_radius=self.config.patch_radius,
            reach_px=self.config.reach_px,
            noise=self.config.noise,
        ).mean()
