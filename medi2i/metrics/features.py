"""What an image looks like, without a network: tones, edges, texture. Offline features for set distances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import nn

from medi2i.metrics.tensors import to_batch

INTENSITY_BINS = 32
GRADIENT_BINS = 32
SPECTRUM_BINS = 24
FEATURE_GROUPS: dict[str, slice] = {
    "intensity": slice(0, INTENSITY_BINS),
    "gradient": slice(INTENSITY_BINS, INTENSITY_BINS + GRADIENT_BINS),
    "spectrum": slice(INTENSITY_BINS + GRADIENT_BINS, INTENSITY_BINS + GRADIENT_BINS + SPECTRUM_BINS),
}
FEATURE_COUNT = INTENSITY_BINS + GRADIENT_BINS + SPECTRUM_BINS

# log10 of the gradient in units of [-1, 1] a pixel; what lies outside counts in the end bins
LOG_GRADIENT_RANGE = (-4.0, 0.0)
# added to the power, so that a flat image has a logarithm; 8-bit rounding alone has a power of 5e-6
POWER_FLOOR = 1e-8
MINIMUM_SPECTRUM_SIDE = 16
MINIMUM_SPREAD = 0.1


def distribution_features(
    image: Float[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"] | None = None, *, feature_size: int
) -> Float[np.ndarray, " D"]:
    """Features of one image; `FEATURE_GROUPS` says which columns are which.

    - intensity: share of valid pixels in each of 32 equal bins of [-1, 1];
    - gradient: share in each of 32 bins of the logarithm of the gradient magnitude;
    - spectrum: log10 of the radially averaged power in 24 equal rings between 0 and 0.5 cycles a pixel, on
      the largest centred rectangle of valid pixels under a Hann window.

    Args:
        image: in [-1, 1].
        valid: pixels that count; None: all.
        feature_size: the longer side, in pixels, to which every image is brought (antialiased; smaller images
            are enlarged and lack fine texture). All images of a comparison need the same, best the size the
            networks work at or less.

    Returns:
        NaN in a group that is undefined: no valid pixel, or no centred rectangle of at least 16 x 16; NaN in
        all when a valid pixel is not finite.
    """
    mask = np.ones(np.shape(image), dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    if not np.isfinite(np.asarray(image)[mask]).all():
        return np.full(FEATURE_COUNT, math.nan)
    small, kept = _resize(image, mask, feature_size)
    return np.concatenate([_intensity(small, kept), _gradient(small, kept), _spectrum(small, kept)])


def is_defined(features: Float[np.ndarray, "N D"]) -> Bool[np.ndarray, " N"]:
    """Which images have all their features; the others have no distance to anything."""
    return np.isfinite(features).all(axis=1)


@dataclass(frozen=True)
class FeatureScaler:
    """Puts features on one scale, so that none and no group rules a distance.

    Fitted on the target domain's training images: each feature gets their mean 0 and standard deviation 1,
    and each group is divided by the square root of its size, so that all groups weigh the same in a Euclidean
    distance. The deviation is not taken smaller than a tenth of its group's median: a bin that hardly varies
    between target images would otherwise rule everything. A feature that is constant in the target thus
    contributes 0 between target images, and a bounded amount for images that differ; a group that is
    constant altogether contributes nothing.
    """

    center: Float[np.ndarray, " D"]
    spread: Float[np.ndarray, " D"]

    @classmethod
    def fit(cls, features: Float[np.ndarray, "N D"]) -> Self:
        """Mean and spread of target training images; all NaN from fewer than two, which have no spread."""
        if len(features) < 2:
            undefined = np.full(features.shape[1], math.nan)
            return cls(center=undefined, spread=undefined)
        spread = features.std(axis=0, ddof=1)
        for columns in FEATURE_GROUPS.values():
            group = spread[columns]
            varying = group[group > 1e-12]
            floor = MINIMUM_SPREAD * np.median(varying) if varying.size else np.inf
            spread[columns] = np.maximum(group, floor) * math.sqrt(group.size)
        return cls(center=features.mean(axis=0), spread=spread)

    def transform(self, features: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
        """Scaled features of any images."""
        return (features - self.center) / self.spread


def largest_centred_rectangle(valid: Bool[np.ndarray, "H W"]) -> tuple[slice, slice]:
    """Rows and columns of the largest wholly valid rectangle around the image's centre; maybe empty."""
    height, width = valid.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    # fold the four quadrants onto one, whose origin is the centre
    folded = valid[height - rows :] & valid[:rows][::-1]
    folded = folded[:, width - columns :] & folded[:, :columns][:, ::-1]
    reach = np.minimum.accumulate(np.cumprod(folded, axis=1).sum(axis=1))
    # an odd side's centre line is in both halves and counts once
    heights = 2 * np.arange(1, rows + 1) - height % 2
    best = int(np.argmax(heights * np.maximum(2 * reach - width % 2, 0)))
    top, left = rows - 1 - best, columns - int(reach[best])
    if reach[best] == 0:
        return slice(0, 0), slice(0, 0)
    return slice(top, height - top), slice(left, width - left)


def _resize(
    image: np.ndarray, valid: np.ndarray, longest: int
) -> tuple[Float[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Antialiased mean over valid pixels; a pixel is valid when most of what it covers is."""
    factor = longest / max(image.shape)
    size = [max(1, round(side * factor)) for side in image.shape]
    weight = to_batch(valid)
    planes = torch.cat([to_batch(np.where(valid, image, 0.0)), weight], dim=1)
    total, coverage = nn.functional.interpolate(planes, size=size, mode="bilinear", antialias=True)[0].numpy()
    kept = coverage > 0.5
    return np.where(kept, total / np.where(kept, coverage, 1.0), 0.0), kept


def _shares(values: np.ndarray, bins: int, limits: tuple[float, float]) -> Float[np.ndarray, " bins"]:
    if values.size == 0:
        return np.full(bins, math.nan)
    counts, _ = np.histogram(np.clip(values, *limits), bins=bins, range=limits)
    return counts / values.size


def _intensity(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    return _shares(image[valid], INTENSITY_BINS, (-1.0, 1.0))


def _gradient(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    along_rows = (image[2:, 1:-1] - image[:-2, 1:-1]) / 2
    along_columns = (image[1:-1, 2:] - image[1:-1, :-2]) / 2
    neighbours = valid[2:, 1:-1] & valid[:-2, 1:-1] & valid[1:-1, 2:] & valid[1:-1, :-2]
    magnitude = np.hypot(along_rows, along_columns)[neighbours & valid[1:-1, 1:-1]]
    smallest = 10.0 ** LOG_GRADIENT_RANGE[0]
    return _shares(np.log10(np.maximum(magnitude, smallest)), GRADIENT_BINS, LOG_GRADIENT_RANGE)


def _spectrum(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    rows, columns = largest_centred_rectangle(valid)
    region = image[rows, columns]
    if min(region.shape) < MINIMUM_SPECTRUM_SIDE:
        return np.full(SPECTRUM_BINS, math.nan)
    window = np.outer(np.hanning(region.shape[0]), np.hanning(region.shape[1]))
    centred = region - np.average(region, weights=window)
    # divided by the window's energy, white noise has its variance at any size of the region
    power = np.abs(np.fft.fft2(centred * window)) ** 2 / np.sum(window**2)
    radius = np.hypot(np.fft.fftfreq(region.shape[0])[:, None], np.fft.fftfreq(region.shape[1])[None])
    inside = (radius > 0) & (radius < 0.5)
    ring = (radius[inside] * 2 * SPECTRUM_BINS).astype(int)
    count = np.bincount(ring, minlength=SPECTRUM_BINS)
    total = np.bincount(ring, weights=power[inside], minlength=SPECTRUM_BINS)
    filled = np.flatnonzero(count)
    logarithm = np.log10(total[filled] / count[filled] + POWER_FLOOR)
    # a small region has no frequency in the lowest rings
    return np.interp(np.arange(SPECTRUM_BINS), filled, logarithm)
