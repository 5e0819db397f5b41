"""Where a translation shows what its source has not, or has lost what the source shows, whatever its look.

A translation changes tones, and a film its tones from place to place. So what the source predicts of the
translation is learned from the image itself: a global curve of three scales of the source, then a line in
every window. What is left over is compared with what is left over elsewhere at equally busy places: a nodule
that was put in, or a rib painted over, stands out; noise, blur and tone do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float, Float64
from pydantic import Field
from scipy import ndimage

from medi2i.config import Config

# Below this range (units of the image) there is nothing to compare.
_CONSTANT_RANGE = 1e-6
_FEWEST_PIXELS = 1000
_CONTEXT_PX = (4.0, 12.0)
_STRIDE = 4
_BINS = 12
_ROUNDS = 3
# What is left over is no smaller anywhere than this share of its middle value: bins of an exact copy are 0.
_LEAST_SCALE = 0.3
_RIDGE = 1e-3
_Scale = Annotated[float, Field(ge=1, le=32)]


class ContentConfig(Config):
    """How what is left over is sought.

    Attributes:
        fine_px: sigma that both images are blurred by first: noise and focus matter less.
        window_px: sigma of the windows that the local line is learned in; much larger than a nodule.
        scales_px: sigmas at which what is left over is pooled.
    """

    fine_px: float = Field(default=1.0, ge=0.5, le=4)
    window_px: float = Field(default=12.0, ge=8, le=128)
    scales_px: tuple[_Scale, ...] = Field(default=(2.0, 3.0, 4.5), min_length=1)


@dataclass(frozen=True, slots=True)
class ContentResidual:
    """What a translation shows that its source does not explain.

    Attributes:
        z: signed, in robust standard deviations of equally busy places, at the scale where it is largest;
            positive where the translation is brighter than the source explains. 0 where nothing is counted.
        counted: pixels that are judged.
    """

    z: Float64[np.ndarray, "H W"]
    counted: Bool[np.ndarray, "H W"]

    @property
    def largest(self) -> float:
        """The largest |z|; NaN where nothing is counted."""
        return float(np.abs(self.z[self.counted]).max()) if self.counted.any() else math.nan


def measure_content(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    *,
    valid: Bool[np.ndarray, "H W"],
    region: Bool[np.ndarray, "H W"] | None = None,
    field_px: Float64[np.ndarray, "2 H W"] | None = None,
    config: ContentConfig | None = None,
) -> ContentResidual:
    """What is in one image and not in the other, pixel by pixel, after registration.

    Nothing is counted where an image is constant or not finite, or near to invalid pixels.

    Args:
        source: image before translation, any unit.
        translated: image after it, any unit; an inverted one is explained as well as any.
        valid: where both are images.
        region: what is judged, and compared with itself; everything without it.
        field_px: (row, column) displacement from the source to the translation, as `measure_deformation`
            finds it; None, or not finite, when nothing moved.
        config: settings.
    """
    config = config or ContentConfig()
    if not all(_has_contrast(image, valid) for image in (source, translated)):
        return ContentResidual(np.zeros(valid.shape), np.zeros(valid.shape, dtype=bool))
    weight = ndimage.binary_erosion(valid, iterations=math.ceil(3 * config.fine_px), border_value=1)
    first, second = _standard(source, valid), _standard(translated, valid)
    if field_px is not None and np.isfinite(field_px).all():
        second = ndimage.map_coordinates(second, np.indices(second.shape) + field_px, order=1, mode="nearest")
    first, second = _blur(first, config.fine_px), _blur(second, config.fine_px)
    counted = ndimage.binary_erosion(weight, iterations=math.ceil(max(config.scales_px)), border_value=1)
    if region is not None:
        counted = counted & region
    if counted.sum() < _FEWEST_PIXELS:
        return ContentResidual(np.zeros(valid.shape), np.zeros(valid.shape, dtype=bool))
    rest = _unexplained(first, second, weight.astype(np.float64), config)
    # what was put in makes the translation busy there, what was taken out the prediction: the calmer counts
    looks = (second - rest, second)
    z = np.stack([_standardise(rest, looks, counted, scale) for scale in config.scales_px])
    strongest = np.take_along_axis(z, np.abs(z).argmax(axis=0)[None], axis=0)[0]
    return ContentResidual(np.where(counted, strongest, 0.0), counted)


def _has_contrast(image: np.ndarray, valid: np.ndarray) -> bool:
    values = np.asarray(image)[valid]
    return bool(values.size and np.isfinite(values).all() and np.ptp(values) > _CONSTANT_RANGE)


def _standard(image: np.ndarray, valid: np.ndarray) -> Float64[np.ndarray, "H W"]:
    """The middle 98 % of the values to [0, 1]; invalid pixels hold what the nearest valid one does."""
    values = np.asarray(image, dtype=np.float64)
    low, high = np.percentile(values[valid], [1, 99])
    if not high > low:
        low, high = values[valid].min(), values[valid].max()
    if not valid.all():
        nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
        values = values[tuple(nearest)]
    return np.asarray((values - low) / (high - low))


def _unexplained(
    source: np.ndarray, translated: np.ndarray, weight: np.ndarray, config: ContentConfig
) -> Float64[np.ndarray, "H W"]:
    """Translation less what the source predicts, with outliers weighing less in each round."""
    globally = _global_curve(source, translated, weight)
    # a line of the curve, its square, and its sharpness: tone that varies in space, and focus
    features = [
        globally,
        (globally - _blur(globally, config.window_px)) ** 2,
        _blur(globally, 1.5 * config.fine_px) - globally,
    ]
    trust = weight
    rest = translated - globally
    for _ in range(_ROUNDS):
        spread = 1.4826 * float(np.median(np.abs(rest[weight > 0]))) + 1e-9
        trust = weight / (1 + (_blur(rest, 1.5) / (2 * spread)) ** 2)
        rest = translated - _local_line(features, translated, trust, config.window_px)
    return rest


def _global_curve(source: np.ndarray, translated: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Cubic of the source and of two blurred copies, fitted over the image without its worst tenth."""
    near, far = (_blur(source, scale) for scale in _CONTEXT_PX)
    terms = np.stack(
        [
            first**one * second**two * third**three
            for first, second, third in [(source, source - near, source - far)]
            for one in range(4)
            for two in range(3)
            for three in range(3)
            if one + two + three <= 3
        ]
    )
    sampled = (weight > 0) & (np.indices(source.shape).sum(axis=0) % 2 == 0)
    design, wanted = terms[:, sampled].T, translated[sampled]
    kept = np.ones(len(wanted), dtype=bool)
    for _ in range(2):
        coefficients = np.linalg.lstsq(design[kept], wanted[kept], rcond=1e-6)[0]
        wrong = np.abs(wanted - design @ coefficients)
        kept = wrong <= np.quantile(wrong, 0.9)
    curve: np.ndarray = np.tensordot(coefficients, terms, axes=1)
    return curve


def _local_line(
    features: list[np.ndarray], wanted: np.ndarray, weight: np.ndarray, window_px: float
) -> np.ndarray:
    """Weighted least squares of the features in a Gaussian window around each pixel.

    Windows are far wider than `_STRIDE`, so that sums and coefficients are kept on a coarse grid.
    """
    sigma = window_px / _STRIDE

    def pooled(values: np.ndarray) -> np.ndarray:
        return _blur(_coarse(weight * values), sigma)

    total = pooled(np.ones_like(wanted)) + 1e-6
    means = [pooled(feature) / total for feature in features]
    mean = pooled(wanted) / total
    count = len(features)
    matrix, right = np.empty((*total.shape, count, count)), np.empty((*total.shape, count, 1))
    for i, one in enumerate(features):
        right[..., i, 0] = pooled(one * wanted) / total - means[i] * mean
        for j in range(i, count):
            product = pooled(one * features[j]) / total - means[i] * means[j]
            matrix[..., i, j] = matrix[..., j, i] = product
    typical = np.diagonal(matrix, axis1=-2, axis2=-1).mean(axis=(0, 1))
    matrix += np.diag(_RIDGE * typical + 1e-12)
    slopes = np.linalg.solve(matrix, right)[..., 0]
    offset = mean - sum(slopes[..., i] * means[i] for i in range(count))
    line = _full(offset, wanted.shape)
    for i, feature in enumerate(features):
        line = line + _full(slopes[..., i], wanted.shape) * feature
    return line


def _standardise(
    rest: np.ndarray, looks: tuple[np.ndarray, ...], counted: np.ndarray, scale_px: float
) -> Float64[np.ndarray, "H W"]:
    """What is left over at one scale, in robust standard deviations of places as busy as this one."""
    pooled = _blur(rest, scale_px) - _blur(rest, 2.5 * scale_px)
    details = [_blur(look, scale_px / 2) - _blur(look, 2.5 * scale_px) for look in looks]
    powers = [_blur(detail**2, 1.5 * scale_px) for detail in details]
    busy = np.sqrt(np.maximum(np.minimum.reduce(powers), 0))
    edges = np.quantile(busy[counted], np.linspace(0, 1, _BINS + 1))
    bins = np.clip(np.searchsorted(edges, busy[counted]) - 1, 0, _BINS - 1)
    absolute, levels = np.abs(pooled[counted]), busy[counted]
    filled = [number for number in range(_BINS) if (bins == number).any()]
    spread = np.array([1.4826 * np.median(absolute[bins == number]) for number in filled])
    middle = np.array([np.median(levels[bins == number]) for number in filled])
    # a change that fills the calmest bins must not be their measure: no bin is wider than a busier one
    spread = np.minimum.accumulate(spread[::-1])[::-1]
    spread = np.maximum(spread, _LEAST_SCALE * np.median(spread)) + 1e-9
    standardised: Float64[np.ndarray, "H W"] = pooled / np.interp(busy, middle, spread)
    return standardised


def _coarse(image: np.ndarray) -> np.ndarray:
    """Means of blocks, the border repeated."""
    rows, columns = (-side % _STRIDE for side in image.shape)
    padded = np.pad(image, ((0, rows), (0, columns)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // _STRIDE, _STRIDE, padded.shape[1] // _STRIDE, _STRIDE)
    means: np.ndarray = blocks.mean(axis=(1, 3))
    return means


def _full(coarse: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values of blocks' centres, linear in between, at each pixel."""
    rows, columns = ((np.arange(side) + 0.5) / _STRIDE - 0.5 for side in shape)
    places = np.meshgrid(rows, columns, indexing="ij")
    full: np.ndarray = ndimage.map_coordinates(coarse, places, order=1, mode="nearest")
    return full


def _blur(image: np.ndarray, sigma_px: float) -> Float64[np.ndarray, "H W"]:
    blurred: np.ndarray = ndimage.gaussian_filter(image, sigma_px, mode="nearest", truncate=3.0)
    return blurred
