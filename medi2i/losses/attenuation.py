"""Low-pass attenuation consistency (ours): tone may change by a rising curve, but mass may not move."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor

from medi2i.losses.base import StructureLoss, StructureLossSettings, TranslationPair, pixel_weight
from medi2i.similarity.attenuation import attenuation_distance


class AttenuationConfig(StructureLossSettings):
    """Mean |blur(translated) - blur(T(source))|, T the best rising tone curve, in image units, in [0, 2].

    Meant for images whose gray level is a line integral: DRRs, in either direction of translation.

    Attributes:
        blur_px: odd; three boxes of this side, near a Gaussian of half of it.
        knots: gray levels at which the tone curve bends.
        minimum_slope: of the tone curve: a translation that wipes contrast out beyond it costs.
    """

    name: Literal["attenuation"] = "attenuation"
    blur_px: int = Field(default=13, ge=3)
    knots: int = Field(default=16, ge=3, le=64)
    minimum_slope: float = Field(default=0.1, ge=0, le=1)

    @field_validator("blur_px")
    @classmethod
    def _is_odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"{value} is even, and a box around a pixel has an odd side")
        return value

    def build(self) -> Attenuation:
        """The loss these settings describe."""
        return Attenuation(self)


class Attenuation(StructureLoss):
    """Distance of blurred images up to a tone curve, averaged over the batch."""

    def __init__(self, config: AttenuationConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, pair: TranslationPair) -> Float[Tensor, ""]:
        weight = pixel_weight(pair, self.config.mask_weight)
        return attenuation_distance(
            pair.source,
            pair.translated,
            weight,
            window_px=self.config.blur_px,
            knots=self.config.knots,
            minimum_slope=self.config.minimum_slope,
        ).mean()
