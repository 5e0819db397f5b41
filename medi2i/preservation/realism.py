"""How alike translations and real target images look: `realism` of the results, which ranks nothing."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float64

from medi2i.data.manifest import ManifestRow
from medi2i.evaluation.domains import Domains, Translation, units
from medi2i.evaluation.reference import baseline_translations
from medi2i.metrics import features as extractor
from medi2i.metrics.distribution import energy_distance, split_half_floor
from medi2i.metrics.realism import frechet_distance, frechet_floor, polynomial_floor, polynomial_mmd
from medi2i.preservation.settings import PreservationConfig
from medi2i.training.interruption import StopRequest

_SHRINKAGE = 0.1
_REPEATS = 50
_STREAM = 37
_EXTRACTOR = "medi2i.metrics.features.distribution_features"


def measure_realism(
    domains: Domains,
    translation: Translation,
    *,
    feature_size: int,
    config: PreservationConfig | None = None,
    seed: int = 0,
    stop: StopRequest | None = None,
) -> dict[str, Any]:
    """Kernel, energy and Frechet distance of source, matched histograms and translations to real films.

    Each of the same number of images, as the Frechet distance is biased by it; beside the distance between
    halves of the target images, which is of half that number. Real images are those never trained on (all,
    with fewer than eight). The features need no network and no file: name and hash of their code and settings
    stand beside the numbers. The Frechet distance is shrunk by 0.1, since there may be more features than
    images; none of these compares with a published number.

    Args:
        domains: of the run.
        translation: source images as the run translated them.
        feature_size: longest side at which features are taken, `evaluation.feature_size` of the run.
        config: at most how many images.
        seed: of the halves.
        stop: whether somebody asked to stop; looked at after each set of images.

    Raises:
        InterruptedRunError: a stop was asked for.
    """
    config, stop = config or PreservationConfig(), stop or StopRequest()
    held_out = domains.rows("target", "validation", "test")
    target = held_out if len(held_out) >= 8 else list(domains.target)
    n = min(len(domains.source), len(target), config.realism_images)
    source, target = _spread(domains.source, n), _spread(target, n)
    known = _features(
        domains, _spread(domains.rows("target", "train"), config.realism_images), None, feature_size
    )
    scaler = extractor.FeatureScaler.fit(known[extractor.is_defined(known)])
    real = scaler.transform(_features(domains, target, None, feature_size))
    rows = {}
    for name, made in (baseline_translations(domains) | {"translated": translation}).items():
        found = scaler.transform(_features(domains, source, made, feature_size))
        rows[name] = _distances(found, real, source, target)
        stop.raise_if_requested(_EXTRACTOR, "run the same command again")
    return {
        "n_source": n,
        "n_target": n,
        "n_features": int(real.shape[1]),
        "extractor": f"{_EXTRACTOR}, {feature_size} px",
        "extractor_sha256": _hash_of_extractor(feature_size),
        "frechet_shrinkage": _SHRINKAGE,
        "rows": rows,
        "floor": _floor(real, target, seed),
        "note": "never used to rank; the floor is between halves of the target images",
    }


def _distances(
    found: np.ndarray, real: np.ndarray, source: Sequence[ManifestRow], target: Sequence[ManifestRow]
) -> dict[str, float]:
    keep, known = extractor.is_defined(found), extractor.is_defined(real)
    x_groups = units([row for row, kept in zip(source, keep, strict=True) if kept])
    y_groups = units([row for row, kept in zip(target, known, strict=True) if kept])
    x, y = found[keep], real[known]
    return {
        "kid": polynomial_mmd(x, y, x_groups=x_groups, y_groups=y_groups),
        "energy": energy_distance(x, y, x_groups=x_groups, y_groups=y_groups),
        "frechet": frechet_distance(x, y, shrinkage=_SHRINKAGE),
    }


def _floor(real: np.ndarray, target: Sequence[ManifestRow], seed: int) -> dict[str, Any]:
    known = extractor.is_defined(real)
    groups, y = units([row for row, kept in zip(target, known, strict=True) if kept]), real[known]

    def rng() -> np.random.Generator:
        return np.random.default_rng([seed, _STREAM])

    return {
        "kid": asdict(polynomial_floor(y, groups, rng=rng(), repeats=_REPEATS)),
        "energy": asdict(split_half_floor(y, groups, rng=rng(), repeats=_REPEATS)),
        "frechet": asdict(frechet_floor(y, groups, rng=rng(), repeats=_REPEATS, shrinkage=_SHRINKAGE)),
    }


def _features(
    domains: Domains, rows: Sequence[ManifestRow], made: Translation | None, feature_size: int
) -> Float64[np.ndarray, "N D"]:
    found = []
    for row in rows:
        image = domains.read(row)
        shown = image.image if made is None else made(image)
        found.append(extractor.distribution_features(shown, image.valid, feature_size=feature_size))
    return np.reshape(np.asarray(found, dtype=np.float64), (len(found), extractor.FEATURE_COUNT))


def _spread(rows: Sequence[ManifestRow], count: int) -> list[ManifestRow]:
    """So many rows, evenly from the first to the last."""
    count = min(count, len(rows))
    return [rows[math.floor(number * len(rows) / count)] for number in range(count)]


def _hash_of_extractor(feature_size: int) -> str:
    text = f"{inspect.getsource(extractor)}\nfeature_size={feature_size}"
    return hashlib.sha256(text.encode()).hexdigest()
