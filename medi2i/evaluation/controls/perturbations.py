"""Known changes of a pair: of anatomy, which an instrument must find, and of style, which none may flag."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float, Float64
from pydantic import Field, model_validator
from scipy import ndimage

from medi2i.config import Config
from medi2i.evaluation.controls.pairs import Pair, clear_lung, union_of
from medi2i.evaluation.controls.ribs import find_rib_piece, paint_over

# Changes a pair; None where the pair has not what is to be changed (no rib, no lung).
Perturbation = Callable[[Pair, np.random.Generator], Pair | None]
WARPS_PX = (1.0, 2.0, 4.0, 8.0)
_FEWEST_RIB_PX = 24
_Radius = Annotated[float, Field(ge=1, le=64)]


class ControlsConfig(Config):
    """Strengths of the controls.

    Attributes:
        correlation_px: sigma of the Gaussian that makes a warp smooth.
        rib_length_px: longest piece of a rib that is dropped; pieces below 24 px are none.
        nodule_radius_px: of inserted and removed nodules, drawn evenly.
        nodule_contrast: of a nodule's middle, as a share of the image's range (1st to 99th percentile).
        gamma: exponent on [0, 1], or one divided by it, drawn by a coin.
        noise: standard deviation of white noise, as a share of the image's range.
        blur_px: sigma of a Gaussian.
        tone_steepness: of the sigmoid that is the tone curve, on [0, 1].
    """

    correlation_px: float = Field(default=24.0, ge=4, le=128)
    rib_length_px: float = Field(default=96.0, ge=24, le=1024)
    nodule_radius_px: tuple[_Radius, _Radius] = (5.0, 8.0)
    nodule_contrast: float = Field(default=0.15, gt=0, le=1)
    gamma: float = Field(default=1.6, gt=0, le=4)
    noise: float = Field(default=0.015, gt=0, le=0.2)
    blur_px: float = Field(default=0.8, gt=0, le=8)
    tone_steepness: float = Field(default=5.0, gt=0, le=20)

    @model_validator(mode="after")
    def _radii_ascend(self) -> ControlsConfig:
        if self.nodule_radius_px[0] > self.nodule_radius_px[1]:
            raise ValueError("nodule_radius_px: the smaller radius comes first")
        return self


def positive_controls(config: ControlsConfig) -> Mapping[str, Perturbation]:
    """Changes of anatomy by name: each must be found."""
    return {
        **{f"warp_{size:g}_px": partial(warp, rms_px=size, config=config) for size in WARPS_PX},
        "dropped_rib": partial(drop_rib, config=config),
        "inserted_nodule": partial(insert_nodule, config=config),
        "removed_nodule": partial(remove_nodule, config=config),
        "flip": flip,
    }


def negative_controls(config: ControlsConfig) -> Mapping[str, Perturbation]:
    """Changes of style by name, and none at all: no structure instrument may flag one."""
    return {
        "unchanged": lambda pair, rng: pair,
        "gamma": partial(change_gamma, config=config),
        "inversion": lambda pair, rng: replace(pair, translated=-pair.translated),
        "noise": partial(add_noise, config=config),
        "blur": partial(blur, config=config),
        "tone_curve": partial(change_tone, config=config),
    }


def warp(pair: Pair, rng: np.random.Generator, *, rms_px: float, config: ControlsConfig) -> Pair:
    """The translation moved by a smooth random displacement whose length has this root mean square."""
    field = smooth_field(pair.translated.shape, rms_px, config.correlation_px, rng)
    return replace(pair, translated=_moved(pair.translated, field))


def smooth_field(
    shape: tuple[int, ...], rms_px: float, correlation_px: float, rng: np.random.Generator
) -> Float64[np.ndarray, "2 H W"]:
    """(row, column) displacement of this root mean square length."""
    field = np.stack(
        [ndimage.gaussian_filter(rng.normal(size=shape), correlation_px, truncate=3.0) for _ in range(2)]
    )
    scaled: Float64[np.ndarray, "2 H W"] = field * rms_px / math.sqrt(float((field**2).sum(axis=0).mean()))
    return scaled


def drop_rib(pair: Pair, rng: np.random.Generator, *, config: ControlsConfig) -> Pair | None:
    """The translation without a piece of one rib, painted over from its surroundings; None without a rib."""
    region = find_rib_piece(
        union_of(pair, "rib") & pair.valid,
        clear_lung(pair),
        length_px=config.rib_length_px,
        margin_px=2.0,
        rng=rng,
    )
    extent = np.argwhere(region)
    if len(extent) == 0 or np.hypot(*np.ptp(extent, axis=0)) < _FEWEST_RIB_PX:
        return None
    return replace(pair, translated=paint_over(pair.translated, region).astype(pair.translated.dtype))


def insert_nodule(pair: Pair, rng: np.random.Generator, *, config: ControlsConfig) -> Pair | None:
    """The translation with a ball of soft tissue in a lung; None without room for one."""
    nodule = draw_nodule(clear_lung(pair), rng, config)
    return None if nodule is None else replace(pair, translated=_with(pair.translated, nodule, config))


def remove_nodule(pair: Pair, rng: np.random.Generator, *, config: ControlsConfig) -> Pair | None:
    """The source with a nodule that the translation has not; None without room for one."""
    nodule = draw_nodule(clear_lung(pair), rng, config)
    return None if nodule is None else replace(pair, source=_with(pair.source, nodule, config))


def flip(pair: Pair, rng: np.random.Generator) -> Pair:
    """The translation with left and right exchanged."""
    return replace(pair, translated=pair.translated[:, ::-1].copy(), valid=pair.valid & pair.valid[:, ::-1])


def shuffle_labels(pair: Pair, other: Pair) -> Pair:
    """The pair with the masks of another patient."""
    return replace(pair, masks=other.masks)


def change_gamma(pair: Pair, rng: np.random.Generator, *, config: ControlsConfig) -> Pair:
    """The translation as a power of itself."""
    exponent = config.gamma if rng.random() < 0.5 else 1 / config.gamma
    return replace(pair, translated=2 * np.clip((pair.translated + 1) / 2, 0, 1) ** exponent - 1)


def change_tone(pair: Pair, rng: np.random.Generator, *, config: ControlsConfig) -> Pair:
    """The translation through a sigmoid around its own median."""
    middle = float(np.median(pair.translated[pair.valid]))
    curve = np.tanh(config.tone_steepness / 4 * (pair.translated - middle))
    return replace(pair, translated=curve / max(float(np.abs(curve).max()), 1e-9))


def add_noise(pair: Pair, rng: np.random.Generator, *, config: ControlsConfig) -> Pair:
    """The translation with white noise."""
    noise = rng.normal(size=pair.translated.shape) * config.noise * _range(pair.translated)
    return replace(pair, translated=(pair.translated + noise).astype(pair.translated.dtype))


def blur(pair: Pair, rng: np.random.Generator, *, config: ControlsConfig) -> Pair:
    """The translation out of focus."""
    return replace(pair, translated=ndimage.gaussian_filter(pair.translated, config.blur_px))


def draw_nodule(
    lungs: Bool[np.ndarray, "H W"], rng: np.random.Generator, config: ControlsConfig
) -> Float64[np.ndarray, "H W"] | None:
    """Path length through a ball that lies wholly in a lung, 1 in its middle; None where none has room."""
    radius = rng.uniform(*config.nodule_radius_px)
    places = np.argwhere(ndimage.distance_transform_edt(np.pad(lungs, 1))[1:-1, 1:-1] > radius)
    if len(places) == 0:
        return None
    row, column = places[rng.integers(len(places))]
    rows, columns = np.indices(lungs.shape)
    squared = ((rows - row) ** 2 + (columns - column) ** 2) / radius**2
    ball: Float64[np.ndarray, "H W"] = np.sqrt(np.maximum(1 - squared, 0))
    return ndimage.gaussian_filter(ball, 0.7)


def _with(image: Float[np.ndarray, "H W"], nodule: np.ndarray, config: ControlsConfig) -> np.ndarray:
    added = image + config.nodule_contrast * _range(image) * nodule
    return added.astype(image.dtype)


def _range(image: np.ndarray) -> float:
    low, high = np.percentile(image, [1, 99])
    return float(high - low)


def _moved(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    moved: np.ndarray = ndimage.map_coordinates(
        image, np.indices(image.shape) + field, order=3, mode="nearest"
    )
    return moved.astype(image.dtype)
