"""How frames vary within a domain: ranges in millimetres at the patient, given or fitted."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from medi2i.config import Config
from medi2i.framing.frame import Frame


def check_ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    """The values, as pydantic's validators hand them on.

    Raises:
        ValueError: one is below the one before.
    """
    if any(b < a for a, b in pairwise(values)):
        raise ValueError(f"{list(values)} must ascend")
    return values


Length = Annotated[float, Field(gt=0, le=5000)]
Ratio = Annotated[float, Field(ge=0.1, le=10)]
Shift = Annotated[float, Field(ge=-2000, le=2000)]
Angle = Annotated[float, Field(ge=-180, le=180)]

Lengths = Annotated[tuple[Length, ...], Field(min_length=2), AfterValidator(check_ascending)]
Ratios = Annotated[tuple[Ratio, ...], Field(min_length=2), AfterValidator(check_ascending)]
Shifts = Annotated[tuple[Shift, ...], Field(min_length=2), AfterValidator(check_ascending)]
Angles = Annotated[tuple[Angle, ...], Field(min_length=2), AfterValidator(check_ascending)]


class FittedFrom(Config):
    """Where fitted ranges come from; nothing in it identifies a patient.

    Attributes:
        method: how frames were found.
        films: number of films looked at.
        used: those whose fit was believed.
        rejected: reason to number of films.
        templates: number of DRRs the films were compared with.
        quantiles: lowest and highest quantile that the ranges reach.
        median_score: median agreement of the films used, 1 at best.
    """

    method: str
    films: int = Field(ge=1)
    used: int = Field(ge=1)
    rejected: dict[str, int] = Field(default_factory=dict)
    templates: int = Field(ge=1)
    quantiles: tuple[float, float]
    median_score: float = Field(ge=-1, le=1)


class FramingDistribution(Config):
    """Which rectangles of the patient the images of a domain show.

    Every range is two or more ascending numbers, equally probable from one to the next: two are a uniform
    range, more are equidistant quantiles. `height_mm` and the ratios are interpolated in the logarithm. The
    quantities are drawn independently.

    Attributes:
        height_mm: height of the rectangle in the plane of the isocentre.
        aspect: its width over its height.
        down_mm, right_mm: displacement of its middle from the isocentre, as a viewer sees it.
        rotation_deg: its clockwise turn on the upright patient.
        stretch: millimetres a row over millimetres a column, relative to the templates. 1 for true
            proportions; `sample` leaves it to the augmentation of crops, since a DRR has square pixels.
        fitted: how the ranges were found; None for ranges that somebody wrote down.
    """

    height_mm: Lengths
    aspect: Ratios = (1.0, 1.0)
    down_mm: Shifts = (0.0, 0.0)
    right_mm: Shifts = (0.0, 0.0)
    rotation_deg: Angles = (0.0, 0.0)
    stretch: Ratios = (1.0, 1.0)
    fitted: FittedFrom | None = None

    def sample(self, rng: np.random.Generator) -> Frame:
        """Draw one frame; always five random values."""
        height, aspect, down, right, rotation = rng.random(5)
        height_mm = at_level(self.height_mm, height, logarithmic=True)
        return Frame(
            height_mm=height_mm,
            width_mm=height_mm * at_level(self.aspect, aspect, logarithmic=True),
            center_mm=(at_level(self.down_mm, down), at_level(self.right_mm, right)),
            rotation_deg=at_level(self.rotation_deg, rotation),
        )


def at_level(values: tuple[float, ...], level: float, *, logarithmic: bool = False) -> float:
    """The value at a level in [0, 1] of a range, linear (or log-linear) between its numbers."""
    levels = np.linspace(0, 1, len(values))
    if logarithmic:
        return float(np.exp(np.interp(level, levels, np.log(values))))
    return float(np.interp(level, levels, values))
