"""The framing of a domain, fitted to its unlabelled films."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field, model_validator

from medi2i.config import Config
from medi2i.errors import NothingUsableError
from medi2i.framing.distribution import FittedFrom, FramingDistribution
from medi2i.framing.estimation import EstimationConfig, FrameEstimate, estimate_frame
from medi2i.framing.template import Template
from medi2i.image import Radiograph

METHOD = "registration of local contrast to DRRs of the user's CT"
_LEVELS = 5  # of each fitted range


class FittingConfig(Config):
    """How frames become ranges.

    Attributes:
        estimation: how one film's frame is found.
        quantiles: lowest and highest quantile of the films that the ranges reach.
        minimum_films: fewer believed fits than this are no distribution.
    """

    estimation: EstimationConfig = EstimationConfig()
    quantiles: tuple[float, float] = (0.05, 0.95)
    minimum_films: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _quantiles_ascend(self) -> FittingConfig:
        if not 0 <= self.quantiles[0] < self.quantiles[1] <= 1:
            raise ValueError(f"quantiles {self.quantiles} must ascend within 0 to 1")
        return self


@dataclass(frozen=True, slots=True)
class FittedFraming:
    """The framing of a domain.

    Attributes:
        distribution: ranges over the accepted films.
        estimates: one a film, in the order given, accepted or not.
    """

    distribution: FramingDistribution
    estimates: tuple[FrameEstimate, ...]

    @property
    def rejected(self) -> tuple[int, ...]:
        """Positions of the films whose fit was not believed."""
        return tuple(number for number, estimate in enumerate(self.estimates) if not estimate.accepted)


def fit_framing(
    films: Iterable[Radiograph],
    templates: Sequence[Template],
    config: FittingConfig | None = None,
    progress: Callable[[int], None] | None = None,
) -> FittedFraming:
    """The framing distribution of unlabelled films; one film is held at a time.

    Args:
        films: the target domain, or a part of it.
        templates: DRRs of the user's CTs at the base geometry.
        config: limits; the defaults if None.
        progress: told the number of films done, after each.

    Raises:
        NothingUsableError: fewer films fit than `minimum_films`.
    """
    config = config or FittingConfig()
    estimates: list[FrameEstimate] = []
    for film in films:
        estimates.append(estimate_frame(film.pixels, film.valid, templates, config.estimation))
        if progress is not None:
            progress(len(estimates))
    return FittedFraming(merge_estimates(estimates, len(templates), config), tuple(estimates))


def merge_estimates(
    estimates: Sequence[FrameEstimate], templates: int, config: FittingConfig
) -> FramingDistribution:
    """Ranges over the accepted estimates, as equidistant quantiles between the configured ones.

    Raises:
        NothingUsableError: fewer than `minimum_films` are accepted.
    """
    used = [estimate for estimate in estimates if estimate.accepted]
    reasons = Counter(estimate.reason for estimate in estimates if estimate.reason is not None)
    if len(used) < config.minimum_films:
        said = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "no film"
        raise NothingUsableError(
            "--framing fit",
            found=f"{len(used)} of {len(estimates)} films fit the CT ({said})",
            expected=f"{config.minimum_films} films that show the same body part and view as the DRRs",
            remedy="give the CT's view and films that match, or write the framing's ranges into a file",
        )
    levels = np.linspace(*config.quantiles, _LEVELS)

    def spread(values: Iterable[float], digits: int) -> tuple[float, ...]:
        return tuple(round(float(value), digits) for value in np.quantile(list(values), levels))

    return FramingDistribution(
        height_mm=spread((e.frame.height_mm for e in used), 1),
        aspect=spread((e.frame.width_mm / e.frame.height_mm for e in used), 3),
        down_mm=spread((e.frame.center_mm[0] for e in used), 1),
        right_mm=spread((e.frame.center_mm[1] for e in used), 1),
        rotation_deg=spread((e.frame.rotation_deg for e in used), 2),
        stretch=spread((e.placement.stretch for e in used), 3),
        fitted=FittedFrom(
            method=METHOD,
            films=len(estimates),
            used=len(used),
            rejected=dict(sorted(reasons.items())),
            templates=templates,
            quantiles=config.quantiles,
            median_score=round(float(np.median([e.score for e in used])), 3),
        ),
    )
