"""Films as a site makes them: ranges of settings, and one film's settings drawn from them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, Field, ValidationError, model_validator

from medi2i.config import Config
from medi2i.drr.film.annotation import MarkerConfig
from medi2i.drr.film.beam import Border, CollimationConfig
from medi2i.drr.film.rendering import FilmConfig
from medi2i.drr.film.tone import CurveName
from medi2i.drr.geometry import ViewName

_DRAWS = 40  # more than are used, so that a new range doesn't change what the others draw


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("the lower limit comes first")
    return limits


def _positive(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] <= 0:
        raise ValueError("limits of a logarithmic range are above 0")
    return limits


Range = Annotated[tuple[float, float], AfterValidator(_rising)]
LogRange = Annotated[tuple[float, float], AfterValidator(_rising), AfterValidator(_positive)]
Turn = Annotated[float, Field(ge=-45, le=45)]
Share = Annotated[float, Field(ge=0, le=1)]


class FilmDistribution(Config):
    """What varies from film to film; all else is `base`.

    A range is (lowest, highest); None keeps the base's value. Log ranges are uniform in the logarithm.

    Attributes:
        base: settings that don't vary.
        kvp, filtration_mm_al: beam.
        heel_fall: heel effect.
        scatter_fraction: in front of the grid.
        grid_probability: share of films with the base's grid (a default one if the base has none); None keeps
            it.
        focal_spot_mm, mtf50_per_mm: sharpness; mtf50 is a log range.
        detector_air_kerma_ugy, electronic_noise_ugy: log ranges.
        latitude_compression: display.
        detail_gain: log range of a common factor on all bands' gains.
        lower_percentile, upper_percentile, reserve, middle: display range.
        curves: tone curves to choose from; empty keeps the base's.
        brightness, contrast: tone; contrast is a log range.
        bits_stored: to choose from; empty keeps the base's.
        monochrome1_probability: share of films stored bone dark; None keeps the base's.
        markers: to choose from.
        marker_probability: share of films with one of `markers`.
        collimation: the collimator of collimated films; its border and rotation are drawn.
        collimation_probability: share of collimated films.
        collimation_border: range of each border's share.
        collimation_rotation_deg: range.
    """

    base: FilmConfig = FilmConfig()
    kvp: Range | None = None
    filtration_mm_al: Range | None = None
    heel_fall: Range | None = None
    scatter_fraction: Range | None = None
    grid_probability: Share | None = None
    focal_spot_mm: Range | None = None
    mtf50_per_mm: LogRange | None = None
    detector_air_kerma_ugy: LogRange | None = None
    electronic_noise_ugy: LogRange | None = None
    latitude_compression: Range | None = None
    detail_gain: LogRange | None = None
    lower_percentile: Range | None = None
    upper_percentile: Range | None = None
    reserve: Range | None = None
    middle: Range | None = None
    curves: tuple[CurveName, ...] = ()
    brightness: Range | None = None
    contrast: LogRange | None = None
    bits_stored: tuple[Annotated[int, Field(ge=8, le=16)], ...] = ()
    monochrome1_probability: Share | None = None
    markers: tuple[MarkerConfig, ...] = (MarkerConfig(),)
    marker_probability: Share = 0.0
    collimation: CollimationConfig = CollimationConfig()
    collimation_probability: Share = 0.0
    collimation_border: Annotated[tuple[Border, Border], AfterValidator(_rising)] = (0.0, 0.06)
    collimation_rotation_deg: Annotated[tuple[Turn, Turn], AfterValidator(_rising)] = (-1.5, 1.5)

    def sample(
        self, generator: torch.Generator, *, view: ViewName | None = None, upright: bool = True
    ) -> FilmConfig:
        """Settings of one film; the same number of random values is drawn whatever is configured.

        Args:
            generator: draws the values.
            view: of the film: markers whose words contradict it are not chosen. None if nobody knows it; then
                words are chosen as if they agreed.
            upright: whether the patient stood; counts where the view is known.
        """
        numbers = torch.rand(_DRAWS, generator=generator, device=generator.device, dtype=torch.float64)
        if view is None:
            return self._settle(numbers.tolist())
        return self._agreeing_with(view, upright)._settle(numbers.tolist())

    def _agreeing_with(self, view: ViewName, upright: bool) -> FilmDistribution:
        marker = self.base.marker
        if marker is not None and not marker.agrees_with(view, upright=upright):
            marker = marker.model_copy(update={"words": None})
        markers = tuple(choice for choice in self.markers if choice.agrees_with(view, upright=upright))
        base = self.base.model_copy(update={"marker": marker})
        return self.model_copy(update={"base": base, "markers": markers})

    @model_validator(mode="after")
    def _ends_are_possible(self) -> FilmDistribution:
        for end in (0.0, 1 - 1e-12):
            try:
                self._settle([end] * _DRAWS)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"]))
                raise ValueError(f"a range reaches {place} = {first['input']}: {first['msg']}") from None
        return self

    def _settle(self, numbers: list[float]) -> FilmConfig:
        draws = iter(numbers)
        values = self.base.model_dump()
        self._draw_beam(values, draws)
        self._draw_detector(values, draws)
        self._draw_display(values, draws)
        self._draw_borders(values, draws)
        return FilmConfig.model_validate(values)

    def _draw_beam(self, values: dict[str, Any], draws: Iterator[float]) -> None:
        _put(values, "spectrum", "kvp", self.kvp, next(draws))
        _put(values, "spectrum", "filtration_mm_al", self.filtration_mm_al, next(draws))
        _put(values, "heel", "fall", self.heel_fall, next(draws))
        _put(values, "scatter", "fraction", self.scatter_fraction, next(draws))
        has_grid = next(draws)
        if self.grid_probability is not None:
            values["grid"] = (values["grid"] or {}) if has_grid < self.grid_probability else None

    def _draw_detector(self, values: dict[str, Any], draws: Iterator[float]) -> None:
        _put(values, "sharpness", "focal_spot_mm", self.focal_spot_mm, next(draws))
        _put(values, "sharpness", "mtf50_per_mm", self.mtf50_per_mm, next(draws), logarithmic=True)
        kerma, noise = self.detector_air_kerma_ugy, self.electronic_noise_ugy
        _put(values, "exposure", "detector_air_kerma_ugy", kerma, next(draws), logarithmic=True)
        _put(values, "exposure", "electronic_noise_ugy", noise, next(draws), logarithmic=True)

    def _draw_display(self, values: dict[str, Any], draws: Iterator[float]) -> None:
        _put(values, "display", "latitude_compression", self.latitude_compression, next(draws))
        factor = _between(self.detail_gain or (1.0, 1.0), next(draws), logarithmic=True)
        values["display"]["band_gains"] = [gain * factor for gain in values["display"]["band_gains"]]
        _put(values, "display", "lower_percentile", self.lower_percentile, next(draws))
        _put(values, "display", "upper_percentile", self.upper_percentile, next(draws))
        curve, bits, dark = next(draws), next(draws), next(draws)
        if self.curves:
            values["tone"]["curve"] = self.curves[int(curve * len(self.curves))]
        _put(values, "tone", "brightness", self.brightness, next(draws))
        _put(values, "tone", "contrast", self.contrast, next(draws), logarithmic=True)
        if self.bits_stored:
            values["storage"]["bits_stored"] = self.bits_stored[int(bits * len(self.bits_stored))]
        if self.monochrome1_probability is not None:
            is_dark = dark < self.monochrome1_probability
            values["storage"]["photometric_interpretation"] = "MONOCHROME1" if is_dark else "MONOCHROME2"

    def _draw_borders(self, values: dict[str, Any], draws: Iterator[float]) -> None:
        has_marker, which, is_collimated, turn = (next(draws) for _ in range(4))
        border = [_between(self.collimation_border, next(draws)) for _ in range(4)]
        if self.markers and has_marker < self.marker_probability:
            values["marker"] = self.markers[int(which * len(self.markers))]
        if is_collimated < self.collimation_probability:
            angle = _between(self.collimation_rotation_deg, turn)
            drawn = {"border": border, "rotation_deg": angle}
            values["collimation"] = self.collimation.model_dump() | drawn
        # last, so that what was drawn before these two ranges were there is drawn as it was
        _put(values, "display", "reserve", self.reserve, next(draws))
        _put(values, "display", "middle", self.middle, next(draws))


def _between(limits: tuple[float, float], draw: float, *, logarithmic: bool = False) -> float:
    if not logarithmic:
        return limits[0] + draw * (limits[1] - limits[0])
    low, high = math.log(limits[0]), math.log(limits[1])
    return math.exp(low + draw * (high - low))


def _put(
    values: dict[str, Any],
    section: str,
    key: str,
    limits: tuple[float, float] | None,
    draw: float,
    *,
    logarithmic: bool = False,
) -> None:
    """Set `values[section][key]` to the draw's place in its range, if it has one."""
    if limits is not None:
        values[section][key] = _between(limits, draw, logarithmic=logarithmic)
