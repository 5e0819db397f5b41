"""What a translation will be compared with, measured before it exists: the floor and the baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from medi2i.adapters import HistogramConfig
from medi2i.data.manifest import ManifestRow
from medi2i.data.tables import SPLITS
from medi2i.evaluation.domains import Domains, NetworkImage, Translation, tensors, units
from medi2i.evaluation.measurement import (
    EvaluationConfig,
    Reference,
    features_of,
    measure_translation,
    stack_features,
)
from medi2i.metrics.distribution import split_half_floors
from medi2i.metrics.features import FeatureScaler, is_defined


def fix_reference(
    domains: Domains, config: EvaluationConfig, *, seed: int, tick: Callable[[], None]
) -> Reference:
    """Everything a translation will be compared with, measured before it exists.

    The floor is the distance between random halves, by patient, of the target images never trained on
    (validation and test): what two sets of real images differ by.
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in SPLITS}
    shown: dict[str, list[ManifestRow]] = {name: [] for name in SPLITS}
    for image in domains.images("target"):
        features = features_of(image.image, image.valid, config)
        if is_defined(features[None])[0]:
            found[image.row.split].append(features)
            shown[image.row.split].append(image.row)
        tick()
    scaler = FeatureScaler.fit(stack_features(found["train"]))
    target = {name: scaler.transform(stack_features(values)) for name, values in found.items()}
    floors = split_half_floors(
        np.concatenate([target["validation"], target["test"]]),
        units(shown["validation"] + shown["test"]),
        rng=np.random.default_rng([seed, 7]),
        repeats=config.floor_repeats,
    )
    groups = {name: units(rows) for name, rows in shown.items()}
    reference = Reference(scaler, target, groups, {name: asdict(floor) for name, floor in floors.items()}, {})
    for name, translation in baseline_translations(domains).items():
        reference.baselines[name] = measure_translation(domains, reference, translation, config, tick=tick)
    return reference


def baseline_translations(domains: Domains) -> dict[str, Translation]:
    """The identity, and histogram matching fitted on the target's training images."""
    histogram = HistogramConfig().build(seed=0)
    histogram.fit("target", tensors(domains.images("target", "train")))

    def match(image: NetworkImage) -> np.ndarray:
        tensor, valid = next(iter(tensors([image])))
        out = histogram.translate(tensor[None], direction="source-to-target", valid=valid[None])
        return np.where(image.valid, out[0, 0].numpy(), np.float32(-1))

    return {"identity": lambda image: image.image, "histogram": match}
