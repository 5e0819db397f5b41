"""Draws of a method with styles: how much they differ, and whether anatomy stays where it is."""

from __future__ import annotations

from itertools import combinations, islice
from typing import Any, Literal

import numpy as np
from pydantic import Field

from medi2i.benchmarks.finished import FinishedRun
from medi2i.benchmarks.measure import Measured, MeasureSettings, mean_values, patient_numbers
from medi2i.evaluation import NetworkImage
from medi2i.evaluation.measurement import ssim_where_defined
from medi2i.metrics.deformation import measure_deformation
from medi2i.metrics.features import FeatureScaler, distribution_features, is_defined


class StylesMeasure(MeasureSettings):
    """Diversity without a network: n draws of each of a few test images; no value for methods without styles.

    | Value | Of |
    |---|---|
    | `ssim_between` | mean SSIM of two draws of one image |
    | `distance_between` | mean distance of two draws in feature space, scaled by the films' spread |
    | `distance_between_films` | the same of two real test films, other patients, to compare with |
    | `moved_p95_px` | displacement of a draw against the mean of all draws, mean over draws |

    Attributes:
        draws: styles of each image.
        images: test images, the first ones.
    """

    name: Literal["styles"] = "styles"
    draws: int = Field(default=10, ge=2, le=100)
    images: int = Field(default=4, ge=1)

    def measure(self, run: FinishedRun) -> Measured:
        """All draws of the chosen images."""
        if not run.translator.adapter.styles:
            return Measured({})
        feature_size = run.config.evaluation.feature_size

        def features(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
            return distribution_features(image, valid, feature_size=feature_size)

        known = np.stack([features(film.image, film.valid) for film in run.domains.images("target", "train")])
        scaler = FeatureScaler.fit(known[is_defined(known)])
        numbers = patient_numbers(run.domains.source)
        rows: list[dict[str, Any]] = []
        for image in islice(run.test_images(), self.images):
            draws = [_draw(run, image, number) for number in range(self.draws)]
            scaled = scaler.transform(np.stack([features(draw, image.valid) for draw in draws]))
            rows.append(
                {
                    "id": image.row.id,
                    "patient": numbers[image.row.id],
                    "ssim_between": _mean_of_pairs(
                        draws, lambda one, other, valid=image.valid: ssim_where_defined(one, other, valid)
                    ),
                    "distance_between": _mean_of_pairs(list(scaled), _distance),
                    "moved_p95_px": _moved_p95_px(draws, image.valid),
                }
            )
        films = np.stack([features(film.image, film.valid) for film in run.test_images("target")])
        values = mean_values(rows, ["ssim_between", "distance_between", "moved_p95_px"])
        values["distance_between_films"] = _mean_of_pairs(list(scaler.transform(films)), _distance)
        return Measured(values, rows)


def _draw(run: FinishedRun, image: NetworkImage, number: int) -> np.ndarray:
    drawn: np.ndarray = run.translator.translate(image.image, image.valid, "source-to-target", style=number)[
        0
    ]
    return drawn


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other))


def _mean_of_pairs(items: list[Any], compare: Any) -> float:
    """Mean of a comparison over all pairs where it is defined; NaN without one."""
    values = np.array([compare(one, other) for one, other in combinations(items, 2)], dtype=float)
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _moved_p95_px(draws: list[np.ndarray], valid: np.ndarray) -> float:
    mean = np.mean(draws, axis=0)
    moved = [measure_deformation(mean, draw, spacing_mm=None, valid=valid).p95_px for draw in draws]
    return float(np.mean(moved))
