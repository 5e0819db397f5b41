"""Training crops: where they are cut, and how framing warps them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.data.settings import DataConfig

_CROP_TRIES = 8


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One framing: zoom and aspect as factors, the clockwise turn in radians, the shift in image sides."""

    zoom: float = 1.0
    aspect: float = 1.0
    turn: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)


def random_crop(image: dict[str, Tensor], config: DataConfig, rng: np.random.Generator) -> dict[str, Tensor]:
    """One crop of `crop_size` with valid area and masks; one that holds little of the image is redrawn."""
    drawn = _draw_framing(config, rng)
    longest = max(image["image"].shape[-2:])
    factor = longest / config.working_size if config.working_size else 1.0
    side, root = config.crop_size * factor * drawn.zoom, math.sqrt(drawn.aspect)
    extent = (side * root, side / root)
    corner = _draw_corner(image["valid"], extent, drawn.shift, config.minimum_valid, rng)
    crop = (
        _slice(image, corner, config.crop_size)
        if config.framing is None
        else _warp(image, corner, extent, drawn.turn, config.crop_size)
    )
    if config.flip and rng.random() < 0.5:
        crop = {key: value.flip(-1) for key, value in crop.items()}
    return crop


def _draw_framing(config: DataConfig, rng: np.random.Generator) -> _Drawn:
    framing = config.framing
    if framing is None:
        return _Drawn()
    zoom, aspect, turn, down, right = (rng.uniform(-1, 1, size=5) + 1) / 2
    down_range, right_range = framing.shift_range
    return _Drawn(
        zoom=_between(framing.zoom_range, zoom, logarithmic=True),
        aspect=_between(framing.aspect_range, aspect, logarithmic=True),
        turn=math.radians(_between(framing.rotation_range_deg, turn)),
        shift=(_between(down_range, down), _between(right_range, right)),
    )


def _between(ends: tuple[float, float], level: float, *, logarithmic: bool = False) -> float:
    low, high = (math.log(end) for end in ends) if logarithmic else ends
    value = (1 - level) * low + level * high
    return math.exp(value) if logarithmic else value


def _draw_corner(
    valid: Tensor,
    extent: tuple[float, float],
    shift: tuple[float, float],
    minimum: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Upper left corner (row, column) of a window that is valid enough; the best of a few tries otherwise."""
    height, width = valid.shape[-2:]
    # a window larger than the image can hold no more than all of it
    most = min(extent[0], height) * min(extent[1], width)
    best, best_fraction = (0.0, 0.0), -1.0
    for _ in range(_CROP_TRIES):
        corner = tuple(
            float(rng.uniform(min(0.0, size - side), max(0.0, size - side))) + share * size
            for size, side, share in zip((height, width), extent, shift, strict=True)
        )
        top, left = (max(0, round(c)) for c in corner)
        bottom, right = (max(1, round(c + e)) for c, e in zip(corner, extent, strict=True))
        fraction = float(valid[0, top:bottom, left:right].sum()) / most
        if fraction > best_fraction:
            best, best_fraction = (corner[0], corner[1]), fraction
        if fraction >= minimum:
            break
    return best


def _slice(image: dict[str, Tensor], corner: tuple[float, float], size: int) -> dict[str, Tensor]:
    """The window's own pixels, untouched; a smaller image is padded to the crop, and the padding invalid."""
    height, width = image["image"].shape[-2:]
    top, left = max(0, round(corner[0])), max(0, round(corner[1]))
    bottom, right = min(height, top + size), min(width, left + size)
    pad = (0, size - (right - left), 0, size - (bottom - top))
    return {
        key: F.pad(value[:, top:bottom, left:right], pad, value=-1.0 if key == "image" else 0.0)
        for key, value in image.items()
    }


def _warp(
    image: dict[str, Tensor],
    corner: tuple[float, float],
    extent: tuple[float, float],
    turn: float,
    size: int,
) -> dict[str, Tensor]:
    """The window resampled at twice the crop's resolution and averaged down."""
    height, width = image["image"].shape[-2:]
    middle = (corner[0] + extent[0] / 2, corner[1] + extent[1] / 2)
    grid = F.affine_grid(
        _affine(turn, extent, middle, (height, width)), [1, 1, 2 * size, 2 * size], align_corners=False
    )
    # one call for all that is resampled alike: with a dozen structures most of the time goes into calls
    alike = [key for key in image if key != "image"]
    planes = [image[key] for key in alike]
    crop = {"image": _sample(image["image"], grid, "bicubic", "reflection")}
    crop |= zip(
        alike,
        _sample(torch.cat(planes), grid, "bilinear", "zeros").split([len(plane) for plane in planes]),
        strict=True,
    )
    crop["valid"] = (crop["valid"] > 0.99).float()
    return {key: crop[key].clamp(-1, 1) for key in image}


def _sample(planes: Tensor, grid: Tensor, mode: str, padding: str) -> Tensor:
    doubled = F.grid_sample(planes[None], grid, mode=mode, padding_mode=padding, align_corners=False)
    return F.avg_pool2d(doubled, 2)[0]


def _affine(
    turn: float, extent: tuple[float, float], middle: tuple[float, float], shape: tuple[int, int]
) -> Tensor:
    """(1, 2, 3) for `affine_grid`: a window of the image turned clockwise, columns first, from -1 to 1."""
    cosine, sine = math.cos(turn), math.sin(turn)
    (height, width), (rows, columns) = shape, extent
    return torch.tensor(
        [
            [
                [cosine * columns / width, -sine * rows / width, 2 * middle[1] / width - 1],
                [sine * columns / height, cosine * rows / height, 2 * middle[0] / height - 1],
            ]
        ],
        dtype=torch.float32,
    )
