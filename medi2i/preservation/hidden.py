"""Whether a run's method hides its source in its translations: the steganography gap over some images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from medi2i.data.manifest import ManifestRow
from medi2i.evaluation.domains import Domains, NetworkImage, Translation, at_working_scale
from medi2i.metrics.statistics import mean_interval
from medi2i.metrics.steganography import SteganographyGap, steganography_gap
from medi2i.preservation.images import patient_labels
from medi2i.preservation.settings import PreservationConfig
from medi2i.training.interruption import StopRequest

# An image of the target domain and where it is valid, to the source domain.
Back = Callable[[Float32[np.ndarray, "H W"], Bool[np.ndarray, "H W"]], np.ndarray]
_DISTURBANCES = ("blur", "noise", "jpeg")
_STREAM = 31


def measure_hidden(
    domains: Domains,
    translate: Translation,
    back: Back | None,
    *,
    config: PreservationConfig | None = None,
    seed: int = 0,
    stop: StopRequest | None = None,
) -> dict[str, Any]:
    """Growth of the cycle error when the translation is disturbed: `steganography` of the results.

    At working scale, so that detail which was handed around the networks hides nothing. Images never trained
    on come first, one of each patient before a second of any.

    Args:
        domains: of the run.
        translate: an image of the source domain through the run's method, at the matrix it is given in.
        back: the way back, or None for a method that has none; then only the reason is said.
        config: how many images, and how they are disturbed.
        seed: of the noise.
        stop: whether somebody asked to stop; looked at after each image.

    Raises:
        InterruptedRunError: a stop was asked for.
    """
    config, stop = config or PreservationConfig(), stop or StopRequest()
    if back is None:
        return {"n_images": 0, "reason": "the method goes one way only: there is no way back to read a code"}
    labels, known = patient_labels(domains)
    rows = _first_rows(domains, labels, config.hidden_images)
    gaps = []
    for number, row in enumerate(rows):
        image = _small(domains, row)
        gaps.append(_gap_of(image, translate, back, config, np.random.default_rng([seed, _STREAM, number])))
        stop.raise_if_requested(row.id, "run the same command again")
    groups = [labels[row.id] for row in rows] if known is not None else None

    def interval(values: Sequence[float]) -> dict[str, Any]:
        return asdict(mean_interval(values, groups))

    return {
        "n_images": len(rows),
        "reason": None,
        "unit": "share of the range",
        "disturbed_by": config.steganography.model_dump(mode="json"),
        # images in [-1, 1] are two wide
        "cycle_error": interval([gap.cycle_error / 2 for gap in gaps]),
        "cycle_error_disturbed": {
            name: interval([(gap.cycle_error + gap.gap[name]) / 2 for gap in gaps]) for name in _DISTURBANCES
        },
        "amplification": {
            name: interval([gap.amplification[name] for gap in gaps]) for name in _DISTURBANCES
        },
        "worst_amplification": max(
            (gap.worst for gap in gaps if not math.isnan(gap.worst)), default=math.nan
        ),
    }


def _first_rows(domains: Domains, labels: dict[str, str], count: int) -> list[ManifestRow]:
    seen: dict[str, int] = {}
    turns = []
    for row in sorted(domains.source, key=lambda row: row.split != "test"):
        seen[labels[row.id]] = seen.get(labels[row.id], 0) + 1
        turns.append((seen[labels[row.id]], row))
    return [row for _, row in sorted(turns, key=lambda turn: turn[0])][:count]


def _small(domains: Domains, row: ManifestRow) -> NetworkImage:
    image = domains.read(row)
    small, valid = at_working_scale(image, domains.data.working_size)
    return replace(image, image=small[0].numpy(), valid=valid[0].numpy())


def _gap_of(
    image: NetworkImage,
    translate: Translation,
    back: Back,
    config: PreservationConfig,
    rng: np.random.Generator,
) -> SteganographyGap:
    def way_back(translated: np.ndarray) -> np.ndarray:
        return back(translated.astype(np.float32), image.valid)

    return steganography_gap(
        image.image,
        translate(image),
        way_back,
        rng=rng,
        valid=image.valid,
        config=config.steganography,
    )
