"""SSIM between an image and its translation (Wang et al., IEEE TIP 2004): luminance, contrast and structure
stay; the strictest of the structure losses.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair, pixel_weight
from medi2i.similarity.ssim import ssim


class SSIMConfig(StructureLossSettings):
    """1 - SSIM of the images mapped to [0, 1], in [0, 2]; every change of tone costs, too."""

    name: Literal["ssim"] = "ssim"

    def build(self) -> SSIM:
        """The loss these settings describe."""
        return SSIM(self)


class SSIM(StructureLoss):
    """1 - SSIM, averaged over the batch; images of at least 11 x 11 pixels."""

    def __init__(self, config: SSIMConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, pair: TranslationPair) -> Float[Tensor, ""]:
        weight = pixel_weight(pair, self.config.mask_weight)
        similarity = ssim((pair.source + 1) / 2, (pair.translated + 1) / 2, 1.0, weight, undefined=1.0)
        return 1 - similarity.mean()
