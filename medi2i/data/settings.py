"""How images become training crops: every setting of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from medi2i.config import Config
from medi2i.data.split import SplitConfig
from medi2i.framing.distribution import FramingDistribution, at_level, check_ascending
from medi2i.framing.frame import Frame
from medi2i.image import Domain, IntensityConfig

_LEVELS = 21  # of each range, when several become one
_REACHED = (0.05, 0.95)  # of what several ranges make together


Share = Annotated[float, Field(ge=0, lt=1)]
Factor = Annotated[float, Field(ge=0.25, le=4)]
Displacement = Annotated[float, Field(ge=-1, le=1)]
Angle = Annotated[float, Field(ge=-45, le=45)]
Factors = Annotated[tuple[Factor, Factor], AfterValidator(check_ascending)]
Displacements = Annotated[tuple[Displacement, Displacement], AfterValidator(check_ascending)]
Angles = Annotated[tuple[Angle, Angle], AfterValidator(check_ascending)]


class FramingConfig(Config):
    """Random framing of training crops, so that one domain's covers the other's.

    A number is symmetric around the image's own framing, a pair is a range: `zoom: 0.15` is `[1/1.15, 1.15]`,
    `rotation_deg: 4` is `[-4, 4]`. Crops are resampled from up to twice the working resolution and averaged
    down, which keeps them sharp.

    Attributes:
        zoom: how much more of the patient a crop shows, as a factor on its sides.
        aspect: millimetres a row over millimetres a column, relative to the image.
        rotation_deg: clockwise turn of the crop on the image.
        shift_down, shift_right: displacement of where crops are cut, in units of the image's sides; crops may
            then reach beyond the image, and what they see there is invalid.
    """

    zoom: Share | Factors = Field(default=0.15, description="0.15: between 1/1.15 and 1.15")
    aspect: Share | Factors = 0.05
    rotation_deg: Annotated[float, Field(ge=0, le=45)] | Angles = 4.0
    shift_down: Share | Displacements = 0.0
    shift_right: Share | Displacements = 0.0

    @property
    def zoom_range(self) -> tuple[float, float]:
        """Smallest and largest zoom."""
        return _factors(self.zoom)

    @property
    def aspect_range(self) -> tuple[float, float]:
        """Smallest and largest aspect."""
        return _factors(self.aspect)

    @property
    def rotation_range_deg(self) -> tuple[float, float]:
        """Smallest and largest clockwise rotation."""
        return _both_ways(self.rotation_deg)

    @property
    def shift_range(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Smallest and largest shift, (down, right)."""
        return _both_ways(self.shift_down), _both_ways(self.shift_right)


def relative_framing(target: FramingDistribution, source_frame: Frame) -> FramingConfig:
    """What turns images of one frame into images framed like a target domain's.

    Both domains are seen at `working_size` pixels on the longer side, so that zoom is the ratio of the longer
    sides, in mm freed of the stretch: max(height / sqrt(stretch), width * sqrt(stretch)). Of what height,
    aspect and stretch make together, the range reaches from 5 to 95 %.

    Args:
        target: frames of the target domain.
        source_frame: what the images to be cropped show.
    """
    levels = np.linspace(0, 1, _LEVELS)
    height, aspect, stretch = np.meshgrid(
        *(
            [at_level(values, level, logarithmic=True) for level in levels]
            for values in (target.height_mm, target.aspect, target.stretch)
        ),
        indexing="ij",
    )
    longest_mm = np.maximum(height / np.sqrt(stretch), height * aspect * np.sqrt(stretch))
    zoom = np.quantile(longest_mm / max(source_frame.height_mm, source_frame.width_mm), _REACHED)
    down, right = source_frame.center_mm
    return FramingConfig(
        zoom=_within(zoom, 0.25, 4),
        aspect=_within((target.stretch[0], target.stretch[-1]), 0.25, 4),
        rotation_deg=_within(
            [turn - source_frame.rotation_deg for turn in _ends(target.rotation_deg)], -45, 45
        ),
        shift_down=_within([(mm - down) / source_frame.height_mm for mm in _ends(target.down_mm)], -1, 1),
        shift_right=_within([(mm - right) / source_frame.width_mm for mm in _ends(target.right_mm)], -1, 1),
    )


def _factors(value: float | tuple[float, float]) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (1 / (1 + value), 1 + value)


def _both_ways(value: float | tuple[float, float]) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (-value, value)


def _ends(values: tuple[float, ...]) -> tuple[float, float]:
    return values[0], values[-1]


def _within(pair: Sequence[float] | np.ndarray, low: float, high: float) -> tuple[float, float]:
    """A pair rounded and limited to what crops can do."""
    first, last = (round(float(np.clip(value, low, high)), 4) for value in pair)
    return first, last


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
