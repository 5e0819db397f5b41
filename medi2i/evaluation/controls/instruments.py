"""What the instruments say of one pair: each one number, higher where structure was less kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy import ndimage

from medi2i.config import Config
from medi2i.evaluation.controls.content import ContentConfig, ContentResidual, measure_content
from medi2i.evaluation.controls.pairs import Pair, clear_lung
from medi2i.metrics.deformation import Deformation, DeformationConfig, measure_deformation
from medi2i.metrics.structure import sanity_flags

# Instruments of structure, in the order of reports; image sanity is apart from them.
INSTRUMENTS = ("geometry", "content", "orientation", "labels")
_EDGE_PX = 2.0
_OUTLINE_PX = 1.5
_REACH_PX = 10
_FEWEST_OUTLINE_PX = 40
_FEWEST_LUNG_PX = 1000


class InstrumentsConfig(Config):
    """Settings of the instruments that have any."""

    deformation: DeformationConfig = DeformationConfig()
    content: ContentConfig = ContentConfig()


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """What the instruments say of one pair.

    Attributes:
        patient: label of the patient.
        scores: by instrument of structure, higher is worse; NaN where it can't tell (no contrast, no masks).
        sanity: flags of `medi2i.metrics.structure.sanity_flags`.
    """

    patient: str
    scores: Mapping[str, float]
    sanity: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PairFindings:
    """What the scores of one pair are made of.

    Attributes:
        deformation: from the source to the translation.
        content: what the source does not explain, after registration.
        scores: of the whole image.
    """

    deformation: Deformation
    content: ContentResidual
    scores: PairScores


def score_pair(pair: Pair, config: InstrumentsConfig | None = None) -> PairScores:
    """All instruments of one pair.

    - `geometry`: 95th percentile of the displacement, in pixels (`metrics.deformation`);
    - `content`: the largest difference that the source does not explain, in robust standard deviations of
      equally busy places (`measure_content`), after registration. Judged where lung is seen with nothing
      thick before or behind it; in the whole image without masks of lungs;
    - `orientation`: how much better the edges agree with the mirrored image than with the image;
    - `labels`: how badly the masks' outlines fit the edges of the translation.
    """
    return examine_pair(pair, config).scores


def examine_pair(
    pair: Pair, config: InstrumentsConfig | None = None, *, deformation: Deformation | None = None
) -> PairFindings:
    """`score_pair`, with the maps that the scores are made of.

    Args:
        pair: the source beside its translation.
        config: settings of the instruments.
        deformation: of these two images, when it is known already.
    """
    config = config or InstrumentsConfig()
    moved = deformation or measure_deformation(
        pair.source, pair.translated, spacing_mm=None, valid=pair.valid, config=config.deformation
    )
    lung = clear_lung(pair)
    content = measure_content(
        pair.source,
        pair.translated,
        valid=pair.valid,
        region=lung if shows_lung(lung) else None,
        field_px=moved.field_px,
        config=config.content,
    )
    scores = {
        "geometry": moved.p95_px,
        "content": content.largest,
        "orientation": mirrored_agreement(pair.source, pair.translated, pair.valid),
        "labels": label_misfit(pair.translated, pair.masks, pair.valid),
    }
    flags = tuple(sanity_flags(pair.source, pair.translated, pair.valid))
    return PairFindings(moved, content, PairScores(pair.patient, scores, flags))


def shows_lung(lung: Bool[np.ndarray, "H W"]) -> bool:
    """Whether so much of `clear_lung` is there that content is judged in it alone."""
    return int(lung.sum()) >= _FEWEST_LUNG_PX


def mirrored_agreement(
    source: Float[np.ndarray, "H W"],
    translated: Float[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"],
) -> float:
    """Agreement of edges with the mirrored translation less that with the translation, in [-1, 1].

    Agreement is the mean squared inner product of the gradients over the root of the product of their mean
    fourth powers: an inversion changes nothing. Mirrored is about the image's middle column. NaN where an
    image has no edges.
    """
    both = ndimage.binary_erosion(valid & valid[:, ::-1], iterations=math.ceil(2 * _EDGE_PX), border_value=1)
    if not both.any():
        return math.nan
    first = _gradient(source, valid, _EDGE_PX)
    direct = _gradient(translated, valid, _EDGE_PX)
    mirrored = direct[:, :, ::-1] * np.array([1.0, -1.0])[:, None, None]
    return _agreement(first, mirrored, both) - _agreement(first, direct, both)


def _agreement(first: np.ndarray, second: np.ndarray, counted: np.ndarray) -> float:
    inner = (first * second).sum(axis=0)[counted]
    powers = [float(np.mean((edges**2).sum(axis=0)[counted] ** 2)) for edges in (first, second)]
    whole = math.sqrt(powers[0] * powers[1])
    return float(np.mean(inner**2)) / whole if whole > 0 else math.nan


def label_misfit(
    translated: Float[np.ndarray, "H W"],
    masks: Mapping[str, Bool[np.ndarray, "H W"]],
    valid: Bool[np.ndarray, "H W"],
) -> float:
    """1 - the mean over structures of how sharply the image changes across their outlines, in [0, 1].

    For a structure that is the mean slope across its outline, along which it keeps its sign when the outline
    is the image's own, over the root mean square slope within 10 pixels of it. Its sign does not count, so
    that an inversion changes nothing. Names are not judged: left and right exchanged fit as well.

    NaN without a structure whose outline has 40 pixels in the image, or without any slope.
    """
    edges = _gradient(translated, valid, _OUTLINE_PX)
    inside = ndimage.binary_erosion(valid, iterations=math.ceil(2 * _OUTLINE_PX), border_value=0)
    found = [_sharpness(mask, edges, inside) for mask in masks.values() if mask.any()]
    defined = [value for value in found if not math.isnan(value)]
    return 1 - float(np.mean(defined)) if defined else math.nan


def _sharpness(mask: np.ndarray, edges: np.ndarray, inside: np.ndarray) -> float:
    window = _window(mask)
    mask, edges, inside = mask[window], edges[(slice(None), *window)], inside[window]
    distance = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    near = inside & (np.abs(distance) <= _REACH_PX)
    outline = near & (np.abs(distance) <= 1)
    if outline.sum() < _FEWEST_OUTLINE_PX:
        return math.nan
    across = np.stack(np.gradient(ndimage.gaussian_filter(distance, 1.0)))
    slope = (edges * across).sum(axis=0)
    typical = math.sqrt(float(np.mean(slope[near] ** 2)))
    return min(abs(float(slope[outline].mean())) / typical, 1.0) if typical > 0 else math.nan


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """The rectangle around a mask and all that is within reach of it."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    reach = _REACH_PX + 2
    return (
        slice(max(rows[0] - reach, 0), rows[-1] + reach + 1),
        slice(max(columns[0] - reach, 0), columns[-1] + reach + 1),
    )


def _gradient(image: np.ndarray, valid: np.ndarray, sigma_px: float) -> Float64[np.ndarray, "2 H W"]:
    """Slope of the blurred image; values that are not finite, and what is no image, are its median."""
    values = np.asarray(image, dtype=np.float64)
    counted = valid & np.isfinite(values)
    middle = float(np.median(values[counted])) if counted.any() else 0.0
    blurred = ndimage.gaussian_filter(np.where(counted, values, middle), sigma_px, truncate=3.0)
    return np.stack(np.gradient(blurred))
