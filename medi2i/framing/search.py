"""The search for a film's place on a template: everything coarsely, then the best of it finely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64
from pydantic import Field
from scipy import ndimage, optimize

from medi2i.config import Config
from medi2i.framing.appearance import equalize, local_contrast
from medi2i.framing.matching import correlate_shifts, correlation
from medi2i.framing.placement import Placement
from medi2i.framing.template import Template

Image = Float64[np.ndarray, "H W"]
Valid = Bool[np.ndarray, "H W"]

_STEPS = (54, 80)  # pixels on the template's side: coarse, fine
_FINE, _COARSE = 0.0155, 0.0865  # of the template's side: 5 and 28 mm of a chest of 325 mm
_STRETCH_WIDTH = 0.2  # of ln(stretch): what the penalty is one for
# natural steps of the fine search: ln(row spacing), ln(column spacing), radians, share of the template's side
_UNITS = np.array([0.03, 0.03, 0.03, 0.015, 0.015])
_EDGE_SLOPE = 3.0  # score per unit beyond a limit, so that the fine search turns round


class SearchConfig(Config):
    """What is searched, relative to the template.

    Attributes:
        working_size: longest side of the film, px.
        size: smallest and largest film, as the side of the square of the same area, in units of the
            template's.
        sizes: how many sizes are tried, spaced evenly in the logarithm.
        stretch: largest ratio of row to column spacing, or of column to row spacing.
        stretches, rotations: how many are tried between the limits.
        rotation_deg: largest turn that is tried; the fine search may go on beyond it.
        stretch_penalty: taken from the score at a stretch of exp(0.2).
        overlap: least share of the smaller of the two (film, template) that the other has to cover.
        overlap_power: the score is correlation times the covered share to this power.
        starts: how many places the fine search starts from.
    """

    working_size: int = Field(default=192, ge=48, le=1024)
    size: tuple[float, float] = (0.75, 1.9)
    sizes: int = Field(default=9, ge=1, le=64)
    stretch: float = Field(default=1.5, ge=1, le=3)
    stretches: int = Field(default=4, ge=1, le=16)
    rotation_deg: float = Field(default=6.0, ge=0, le=45)
    rotations: int = Field(default=2, ge=1, le=16)
    stretch_penalty: float = Field(default=0.03, ge=0)
    overlap: float = Field(default=0.55, gt=0, lt=1)
    overlap_power: float = Field(default=0.5, ge=0)
    starts: int = Field(default=3, ge=1, le=16)


@dataclass(frozen=True, slots=True)
class Match:
    """One place and how well film and template agree there, 1 at best."""

    placement: Placement
    score: float


def search_coarsely(
    film: Image, valid: Valid, template: Template, config: SearchConfig, *, upright_only: bool = False
) -> list[Match]:
    """Every size, stretch and rotation at its best shift, the best first.

    Args:
        film: (H, W) bone bright.
        valid: (H, W).
        template: what it is compared with.
        config: what is tried.
        upright_only: neither stretches nor rotations are tried.
    """
    step = template.side_mm / _STEPS[0]
    reference, reference_valid = _resample(
        equalize(template.image, template.valid),
        template.valid,
        Placement(template.spacing_mm, 0.0, (0.0, 0.0)),
        step,
    )
    features = _features(reference, reference_valid, (step, step), template.side_mm)
    equalized, middle = equalize(film, valid), np.array(template.frame.center_mm)
    matches = []
    for trial in _trials(film.shape, template.side_mm, config, upright_only=upright_only):
        pixels, covered = _resample(equalized, valid, trial, step)
        if not covered.any():
            continue
        contrast = _features(pixels, covered, (step, step), template.side_mm)
        agreement, count = correlate_shifts(contrast, covered, features, reference_valid)
        share = np.minimum(count / min(covered.sum(), reference_valid.sum()), 1.0)
        scores = np.where(share > config.overlap, agreement * share**config.overlap_power, -1.0)
        best = np.unravel_index(int(scores.argmax()), scores.shape)
        shift = np.array(
            [s - n if s >= m else s for s, n, m in zip(best, scores.shape, pixels.shape, strict=True)]
        )
        center = middle + step * (
            (np.array(pixels.shape) - 1) / 2 - shift - (np.array(features.shape) - 1) / 2
        )
        place = Placement(trial.spacing_mm, trial.rotation_deg, (float(center[0]), float(center[1])))
        matches.append(Match(place, float(scores[best]) - _stretch_penalty(trial.stretch, config)))
    return sorted(matches, key=lambda match: -match.score)


def refine(
    start: Placement,
    film: Image,
    valid: Valid,
    template: Template,
    config: SearchConfig,
    *,
    evaluations: int = 250,
    common: bool = False,
) -> Match:
    """The best place near `start`, by Powell's method over spacing, rotation and shift.

    Args:
        start: where to begin.
        film: (H, W) bone bright.
        valid: (H, W).
        template: what it is compared with.
        config: limits and penalties.
        evaluations: most places that are looked at.
        common: take contrast on both sides from what both show at `start`, and let the shown share not count.
            Without it, borders that only one side has draw the place by some per cent; with it, only small
            moves are meaningful.
    """
    if common:
        valid, template = _common_support(start, valid, template)
        config = config.model_copy(update={"overlap_power": 0.0})
    comparison = _Comparison.prepare(start, film, valid, template)
    units = _UNITS * [1, 1, 1, template.side_mm, template.side_mm]
    origin = np.array([*np.log(start.spacing_mm), np.deg2rad(start.rotation_deg), *start.center_mm])

    def place(steps: np.ndarray) -> Placement:
        values = origin + steps * units
        row_mm, column_mm = np.exp(values[:2])
        return Placement(
            (float(row_mm), float(column_mm)),
            float(np.rad2deg(values[2])),
            (float(values[3]), float(values[4])),
        )

    found = optimize.minimize(
        lambda steps: -comparison.score(place(steps), config),
        np.zeros(5),
        method="Powell",
        options={"maxfev": evaluations, "xtol": 0.02, "ftol": 1e-4},
    )
    return Match(place(found.x), -float(found.fun))


def distinct(matches: Sequence[Match], count: int, side_mm: float) -> list[Match]:
    """The first `count` matches whose places differ by more than the fine search bridges anyway."""
    chosen: list[Match] = []
    for match in matches:
        if len(chosen) == count:
            break
        if all(_differ(match.placement, other.placement, side_mm) for other in chosen):
            chosen.append(match)
    return chosen


def _common_support(placement: Placement, valid: Valid, template: Template) -> tuple[Valid, Template]:
    """The film's valid pixels that the template shows, and the template with only what the film shows."""
    down, right = placement.to_patient(*_from_middle(valid.shape))
    seen = ndimage.map_coordinates(
        template.valid.astype(float), template.to_pixels(down, right), order=1, mode="constant"
    )
    rows, columns = np.indices(template.valid.shape).astype(float)
    (row_mm, column_mm), (row_px, column_px) = template.spacing_mm, template.isocenter_px
    rows, columns = placement.to_film((rows - row_px) * row_mm, (columns - column_px) * column_mm)
    middle = ((n - 1) / 2 for n in valid.shape)
    points = [line + m for line, m in zip((rows, columns), middle, strict=True)]
    shown = ndimage.map_coordinates(valid.astype(float), points, order=1, mode="constant")
    return valid & (seen > 0.5), replace(template, valid=template.valid & (shown > 0.5))


def _from_middle(shape: tuple[int, ...]) -> list[Float64[np.ndarray, "H W"]]:
    return [index - (n - 1) / 2 for index, n in zip(np.indices(shape), shape, strict=True)]


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Both sides of one comparison, sampled once: film points, and the template to be looked up."""

    rows: Float64[np.ndarray, " N"]
    columns: Float64[np.ndarray, " N"]
    film: Float64[np.ndarray, " N"]
    pixels_per_point: float
    template: Template
    features: Image
    coverage: Image

    @classmethod
    def prepare(cls, start: Placement, film: Image, valid: Valid, template: Template) -> _Comparison:
        """Film features at the scale of `start`, on a grid of the fine step."""
        side = template.side_mm
        contrast = _features(equalize(film, valid), valid, start.spacing_mm, side)
        stride = [max(1.0, side / _STEPS[1] / spacing) for spacing in start.spacing_mm]
        rows, columns = np.meshgrid(
            *(np.arange((s - 1) / 2, n - 0.5, s) for s, n in zip(stride, film.shape, strict=True)),
            indexing="ij",
        )
        inside = ndimage.map_coordinates(valid.astype(float), [rows, columns], order=1, mode="nearest") > 0.9
        values = ndimage.map_coordinates(contrast, [rows[inside], columns[inside]], order=1, mode="nearest")
        return cls(
            rows=rows[inside] - (film.shape[0] - 1) / 2,
            columns=columns[inside] - (film.shape[1] - 1) / 2,
            film=values,
            pixels_per_point=float(np.prod(stride)),
            template=template,
            features=_features(
                equalize(template.image, template.valid), template.valid, template.spacing_mm, side
            ),
            coverage=template.valid.astype(np.float64),
        )

    def score(self, placement: Placement, config: SearchConfig) -> float:
        """Correlation of the features, times what is covered, less the penalties."""
        down, right = placement.to_patient(self.rows, self.columns)
        points = self.template.to_pixels(down, right)
        weight = ndimage.map_coordinates(self.coverage, points, order=1, mode="constant")
        values = ndimage.map_coordinates(self.features, points, order=1, mode="constant")
        point_mm2 = self.pixels_per_point * placement.spacing_mm[0] * placement.spacing_mm[1]
        smaller = min(float(self.film.size), self.template.side_mm**2 / point_mm2)
        share = min(1.0, float(weight.sum()) / max(smaller, 1.0))
        beyond = max(0.0, config.overlap - share)
        beyond += max(0.0, abs(np.log(placement.stretch)) - np.log(config.stretch))
        agreement = correlation(self.film, values, weight) * share**config.overlap_power
        return agreement - _stretch_penalty(placement.stretch, config) - _EDGE_SLOPE * beyond


def _trials(
    shape: tuple[int, ...], side_mm: float, config: SearchConfig, *, upright_only: bool
) -> Iterator[Placement]:
    """Spacings and rotations of the coarse search, in a fixed order."""
    limit = config.stretch**0.5
    stretches = np.ones(1) if upright_only else _between(1 / limit, limit, config.stretches)
    turns = np.linspace(-config.rotation_deg, config.rotation_deg, config.rotations)
    rotations = np.zeros(1) if upright_only or config.rotations == 1 else turns
    for size in _between(*config.size, config.sizes):
        spacing = size * side_mm / np.sqrt(np.prod(shape))
        for stretch in stretches:
            both = (float(spacing * stretch**0.5), float(spacing / stretch**0.5))
            yield from (Placement(both, float(rotation), (0.0, 0.0)) for rotation in rotations)


def _between(low: float, high: float, count: int) -> Float64[np.ndarray, " N"]:
    """Factors evenly spaced in the logarithm; their middle if there is one only."""
    return np.geomspace(low, high, count) if count > 1 else np.array([np.sqrt(low * high)])


def _resample(pixels: Image, valid: Valid, placement: Placement, step_mm: float) -> tuple[Image, Valid]:
    """An image upright on a grid of `step_mm` at the patient, around its middle, smoothed for that step."""
    turn = np.deg2rad(placement.rotation_deg)
    height, width = (n * s for n, s in zip(pixels.shape, placement.spacing_mm, strict=True))
    cosine, sine = abs(np.cos(turn)), abs(np.sin(turn))
    sides = (height * cosine + width * sine, width * cosine + height * sine)
    down, right = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * step_mm for n in (max(1, round(side / step_mm)) for side in sides)),
        indexing="ij",
    )
    points = [
        (down * np.cos(turn) - right * np.sin(turn)) / placement.spacing_mm[0] + (pixels.shape[0] - 1) / 2,
        (down * np.sin(turn) + right * np.cos(turn)) / placement.spacing_mm[1] + (pixels.shape[1] - 1) / 2,
    ]
    weight = valid.astype(np.float64)
    sigma = [0.5 * max(0.0, step_mm / spacing - 1) for spacing in placement.spacing_mm]
    total = ndimage.gaussian_filter(weight, sigma)
    smooth = ndimage.gaussian_filter(pixels * weight, sigma) / np.maximum(total, 1e-3)
    covered = ndimage.map_coordinates(weight, points, order=1, mode="constant") > 0.95
    return ndimage.map_coordinates(smooth, points, order=1, mode="nearest"), covered


def _features(pixels: Image, valid: Valid, spacing_mm: tuple[float, float], side_mm: float) -> Image:
    """Local contrast at sizes that belong to the patient, not to the pixels."""
    fine, coarse = (
        (side_mm * share / spacing_mm[0], side_mm * share / spacing_mm[1]) for share in (_FINE, _COARSE)
    )
    return local_contrast(pixels, valid, fine_px=fine, coarse_px=coarse)


def _stretch_penalty(stretch: float, config: SearchConfig) -> float:
    return config.stretch_penalty * (float(np.log(stretch)) / _STRETCH_WIDTH) ** 2


def _differ(first: Placement, second: Placement, side_mm: float) -> bool:
    logs = np.abs(np.log(first.spacing_mm) - np.log(second.spacing_mm))
    shift = np.abs(np.subtract(first.center_mm, second.center_mm)) / side_mm
    turn = abs(first.rotation_deg - second.rotation_deg)
    return bool(logs.max() > 0.1 or shift.max() > 0.045 or turn > 17)
