"""How images become training crops: every setting of the data."""

from __future__ import annotations

from pydantic import Field

from medi2i.config import Config
from medi2i.data.split import SplitConfig
from medi2i.image import Domain, IntensityConfig


class FramingConfig(Config):
    """Random zoom, aspect and rotation of training crops, so that one domain's framing covers the other's.

    Crops are resampled from up to twice the working resolution and averaged down, which keeps them sharp.
    """

    zoom: float = Field(default=0.15, ge=0, lt=1, description="0.15: between 1/1.15 and 1.15")
    aspect: float = Field(default=0.05, ge=0, lt=1)
    rotation_deg: float = Field(default=4.0, ge=0, le=45)


class DataConfig(Config):
    """How images become training crops.

    `working_size` is the longest side, in pixels, at which the networks see a whole image; None keeps the
    stored size. Training crops have `crop_size` at that scale.
    """

    working_size: int | None = Field(default=256, ge=32)
    crop_size: int = Field(default=256, ge=32)
    source_intensity: IntensityConfig = IntensityConfig()
    target_intensity: IntensityConfig = IntensityConfig()
    framing: FramingConfig | None = None
    flip: bool = False
    minimum_valid: float = Field(default=0.6, ge=0, le=1)
    split: SplitConfig = SplitConfig()
    workers: int = Field(default=0, ge=0)
    cache_mib: int = Field(default=4096, ge=0)

    def intensity(self, domain: Domain) -> IntensityConfig:
        """The domain's intensity settings."""
        return self.source_intensity if domain == "source" else self.target_intensity
