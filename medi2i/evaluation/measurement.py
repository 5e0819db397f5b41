"""How near a translation comes to the target domain, and how much structure it keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic import Field

from medi2i.config import Config
from medi2i.data.manifest import ManifestRow
from medi2i.evaluation.domains import Domains, NetworkImage, Translation, patients, units
from medi2i.metrics.distribution import energy_distances
from medi2i.metrics.edges import edge_displacement
from medi2i.metrics.features import FEATURE_COUNT, FeatureScaler, distribution_features, is_defined
from medi2i.metrics.statistics import mean_interval
from medi2i.metrics.structure import gradient_correlation, sanity_flags, ssim
from medi2i.similarity.ssim import WINDOW

_MEASURES = ("gradient_correlation", "ssim", "edge_median", "edge_p95")


class EvaluationConfig(Config):
    """How the first edition of the measurements is taken.

    `feature_size` is the longest side, in pixels, to which images of both domains are averaged down before
    their features are compared, so that a difference of matrix is no difference of domain.
    """

    feature_size: int = Field(default=256, ge=64)
    floor_repeats: int = Field(default=200, ge=10)
    worst: int = Field(default=6, ge=0)


@dataclass(frozen=True)
class Reference:
    """What the distances are measured against; fixed before training.

    Attributes:
        scaler: z-score of features, fitted on the target's training images.
        target: scaled features of the target images that have them all, by split.
        target_groups: their patients, None where images count as drawn on their own.
        floors: by feature group, distance of random halves of the held-out target images.
        baselines: distances and structure of the identity and of histogram matching.
    """

    scaler: FeatureScaler
    target: dict[str, np.ndarray]
    target_groups: dict[str, list[str] | None]
    floors: dict[str, dict[str, Any]]
    baselines: dict[str, dict[str, Any]]


def features_of(image: np.ndarray, valid: np.ndarray, config: EvaluationConfig) -> np.ndarray:
    """Features (D,) of one image; NaN where undefined."""
    return distribution_features(image, valid, feature_size=config.feature_size)


def stack_features(features: Sequence[np.ndarray]) -> np.ndarray:
    """(N, D), also for no image at all."""
    return np.reshape(features, (len(features), FEATURE_COUNT))


def measure_translation(
    domains: Domains,
    reference: Reference,
    translation: Translation,
    config: EvaluationConfig,
    *,
    tick: Callable[[], None],
) -> dict[str, Any]:
    """Distances and structure of one translation of every source image.

    Returns:
        `distance` and `distance_held_out_source` (by feature group), `n_undefined_features` (images that
        count in no distance), `structure` (summaries over images with patient-level intervals), `images` (one
        row each).
    """
    rows, features, unit = [], [], domains.edge_unit
    for image in domains.images("source"):
        out = translation(image)
        features.append(features_of(out, image.valid, config))
        rows.append(_measure_image(image, out, unit))
        tick()
    scaled = reference.scaler.transform(stack_features(features))
    defined = is_defined(scaled)
    held_out = np.array([row.split == "test" for row in domains.source])

    def distances(chosen: np.ndarray) -> dict[str, float]:
        return energy_distances(
            scaled[chosen],
            reference.target["test"],
            x_groups=units([row for row, keep in zip(domains.source, chosen, strict=True) if keep]),
            y_groups=reference.target_groups["test"],
        )

    return {
        "distance": distances(defined),
        "distance_held_out_source": distances(defined & held_out),
        "n_undefined_features": int((~defined).sum()),
        "structure": summarize(rows, domains.source, _MEASURES),
        "images": rows,
    }


def summarize(
    rows: Sequence[Mapping[str, Any]],
    manifest: Sequence[ManifestRow],
    measures: Sequence[str],
) -> dict[str, Any]:
    """Median, 5th and 95th percentile, and mean with its patient-level interval, of each measure."""
    groups = patients(manifest)
    summary = {}
    for measure in measures:
        values = np.array([row[measure] for row in rows], dtype=float)
        interval = asdict(mean_interval(values, groups))
        finite = values[np.isfinite(values)]
        quantiles = np.percentile(finite, [5, 50, 95]) if finite.size else [math.nan] * 3
        summary[measure] = {
            "p5": float(quantiles[0]),
            "median": float(quantiles[1]),
            "p95": float(quantiles[2]),
            "mean": interval,
        }
    return summary


def _measure_image(image: NetworkImage, out: np.ndarray, unit: str) -> dict[str, Any]:
    spacing_mm = image.row.spacing_mm if unit == "mm" else None
    edges = edge_displacement(image.image, out, image.valid, spacing_mm=spacing_mm)
    return {
        "id": image.row.id,
        "split": image.row.split,
        "gradient_correlation": gradient_correlation(image.image, out, image.valid),
        "ssim": ssim_where_defined(image.image, out, image.valid),
        "edge_median": edges[f"median_{unit}"],
        "edge_p95": edges[f"p95_{unit}"],
        "edge_unit": unit,
        "flags": sanity_flags(image.image, out, image.valid),
    }


def ssim_where_defined(one: np.ndarray, other: np.ndarray, valid: np.ndarray) -> float:
    """SSIM, or NaN for images smaller than its window: one thumbnail must not end the job."""
    return ssim(one, other, valid) if min(one.shape) >= WINDOW else math.nan
