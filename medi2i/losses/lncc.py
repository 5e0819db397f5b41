"""Local normalised cross-correlation as a loss (Cachier et al., CVIU 89, 2003; the "CC" of registration):
in every window the translation is a line of the source.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair, pixel_weight
from medi2i.similarity.lncc import local_correlation


class LNCCConfig(StructureLossSettings):
    """1 - local correlation, in [0, 2] when signed and in [0, 1] when not.

    Attributes:
        window_px: side of the windows.
        noise: standard deviation, in image units, that is no structure.
        signed: whether an inverted window costs 2. Unsigned it is the squared correlation, as in MONAI's
            loss: blind to inversion.
    """

    name: Literal["lncc"] = "lncc"
    window_px: int = Field(default=11, ge=3)
    noise: float = Field(default=0.01, ge=0.001)
    signed: bool = True

    def build(self) -> LNCC:
        """The loss these settings describe."""
        return LNCC(self)


class LNCC(StructureLoss):
    """1 - local correlation, averaged over the batch; images at least one window large."""

    def __init__(self, config: LNCCConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, pair: TranslationPair) -> Float[Tensor, ""]:
        weight = pixel_weight(pair, self.config.mask_weight)
        correlation = local_correlation(
            pair.source,
            pair.translated,
            weight,
            window_px=self.config.window_px,
            noise=self.config.noise,
            signed=self.config.signed,
            undefined=1.0,
        )
        return 1 - correlation.mean()
