"""MS-SSIM between an image and its translation (Wang, Simoncelli, Bovik, Asilomar 2003): SSIM's contrast and
structure at several scales, luminance at the coarsest only.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair, pixel_weight
from medi2i.similarity.multiscale_ssim import multiscale_ssim


class MSSSIMConfig(StructureLossSettings):
    """1 - MS-SSIM of the images mapped to [0, 1], in [0, 1].

    Attributes:
        scales: 1 to 5, the first of the paper's; images have to be 11 * 2^(scales - 1) pixels large.
    """

    name: Literal["ms_ssim"] = "ms_ssim"
    scales: int = Field(default=3, ge=1, le=5)

    def build(self) -> MSSSIM:
        """The loss these settings describe."""
        return MSSSIM(self)


class MSSSIM(StructureLoss):
    """1 - MS-SSIM, averaged over the batch."""

    def __init__(self, config: MSSSIMConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, pair: TranslationPair) -> Float[Tensor, ""]:
        weight = pixel_weight(pair, self.config.mask_weight)
        similarity = multiscale_ssim(
            (pair.source + 1) / 2,
            (pair.translated + 1) / 2,
            1.0,
            weight,
            scales=self.config.scales,
            undefined=1.0,
        )
        return 1 - similarity.mean()
