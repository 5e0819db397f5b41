"""Where the translation stands between doing nothing and real images, and whether a difference is one."""

from __future__ import annotations

from dataclasses import dataclass

from medi2i.report.results import FEATURE_GROUPS, Results
from medi2i.report.schema.adapted import Truth

# Median gradient correlation below which edges, and with them the masks, can't be trusted to be in place.
STRUCTURE_LIMIT = 0.75


@dataclass(frozen=True, slots=True)
class Standing:
    """The distances that are compared, of all feature groups together or of one.

    Attributes:
        floor: real against real; 0, which it is on average, where it could not be measured.
        spread: how far the distance of two sets of real images strays from 0; 0 where unknown.
        identity, histogram, translated: distance to the target, or None where undefined.
        gap: whether doing nothing is further from the target than real images are from each other, by more
            than twice the spread; without a gap a position says nothing.
    """

    floor: float
    spread: float
    identity: float | None
    histogram: float | None
    translated: float | None

    @property
    def gap(self) -> bool:
        return self.identity is not None and self.identity - self.floor > 2 * self.spread

    def position(self, distance: float | None) -> float | None:
        """`position` on this scale, or None without a gap."""
        return position(self.floor, self.identity, distance) if self.gap else None

    def compare(self, distance: float, other: float) -> str:
        """Whether a distance is `nearer` than another, `further`, or `alike`: by less than the spread."""
        if abs(distance - other) <= self.spread:
            return "alike"
        return "nearer" if distance < other else "further"


def standing(results: Results, group: str = "all") -> Standing:
    """The distances of a run in one feature group; those of all groups together make its verdict."""
    distances, floor = results.distance_groups, getattr(results.floors, group)
    return Standing(
        floor=floor.mean or 0.0,
        spread=floor.sd or 0.0,
        identity=getattr(distances.identity, group),
        histogram=getattr(distances.histogram, group),
        translated=getattr(distances.translated, group),
    )


def position(floor: float | None, identity: float | None, distance: float | None) -> float | None:
    """(distance - floor) / (identity - floor): 0 is as real images among themselves, 1 is doing nothing.

    An unknown floor counts as 0, which an unbiased distance of equal sets is on average. None when a distance
    is undefined or doing nothing is no further away than real images.
    """
    if identity is None or distance is None or not identity > (floor or 0.0):
        return None
    return (distance - (floor or 0.0)) / (identity - (floor or 0.0))


def group_positions(results: Results, row: str) -> dict[str, float | None]:
    """`Standing.position` of one row of the distance table, for each feature group alone."""
    values = getattr(results.distance_groups, row)
    return {group: standing(results, group).position(getattr(values, group)) for group in FEATURE_GROUPS}


def flagged(results: Results) -> dict[str, int]:
    """The sanity flags that any image has, and on how many images."""
    return {flag: number for flag, number in results.flags.items() if number}


def below_limit(results: Results) -> tuple[int, int]:
    """Images whose gradient correlation is below the limit, and images where it is defined."""
    values = [i.gradient_correlation for i in results.images if i.gradient_correlation is not None]
    return sum(value < STRUCTURE_LIMIT for value in values), len(values)


def error_ratio(truth: Truth) -> float | None:
    """Mean absolute error of the translation over that of doing nothing; None where one is undefined or 0."""
    identity = truth.identity.mean_absolute_error.mean.estimate
    error = truth.translated.mean_absolute_error.mean.estimate
    return error / identity if identity and error is not None else None
