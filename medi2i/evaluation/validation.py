"""The look at validation images by which the best checkpoint is chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from torch import Tensor

from medi2i.adapters import DomainAdapter
from medi2i.evaluation.domains import Domains, at_working_scale
from medi2i.evaluation.measurement import EvaluationConfig, Reference, features_of, stack_features
from medi2i.metrics.distribution import energy_distance
from medi2i.metrics.features import is_defined
from medi2i.metrics.structure import gradient_correlation
from medi2i.training.settings import Validation
from medi2i.translation import translate_whole

_HELD_BYTES = 512 * 2**20


def validator(domains: Domains, reference: Reference, config: EvaluationConfig) -> Callable[..., Validation]:
    """Distance to the target's validation images and structure kept, at working scale."""
    target = _as_point(reference.target["validation"])
    images = _ValidationImages(domains)

    def validate(adapter: DomainAdapter) -> Validation:
        device = next(adapter.parameters()).device
        features, kept = [], []
        for image, valid in images:
            out = translate_whole(adapter, image, valid, "source-to-target", device)[0].numpy()
            features.append(features_of(out, valid[0].numpy(), config))
            kept.append(gradient_correlation(image[0].numpy(), out, valid[0].numpy()))
        scaled = reference.scaler.transform(stack_features(features))
        distance = energy_distance(_as_point(scaled[is_defined(scaled)]), target)
        correlations = [value for value in kept if math.isfinite(value)]
        return Validation(
            # what can't be measured must not be chosen
            distance=distance if math.isfinite(distance) else math.inf,
            gradient_correlation=float(np.median(correlations)) if correlations else -1.0,
        )

    return validate


class _ValidationImages:
    """The source's validation images at working scale, decoded once as far as memory is set aside for it."""

    def __init__(self, domains: Domains, budget: int = _HELD_BYTES) -> None:
        self._domains, self._left = domains, budget
        self._held: dict[str, tuple[Tensor, Tensor]] = {}

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for row in self._domains.rows("source", "validation"):
            if row.id in self._held:
                yield self._held[row.id]
                continue
            pair = at_working_scale(self._domains.read(row), self._domains.data.working_size)
            size = sum(plane.numel() * plane.element_size() for plane in pair)
            if size <= self._left:
                self._left -= size
                self._held[row.id] = pair
            yield pair


def _as_point(features: np.ndarray) -> np.ndarray:
    """A set of one image as one without spread: its distance is else undefined, and nothing can be chosen."""
    return np.repeat(features, 2, axis=0) if len(features) == 1 else features
