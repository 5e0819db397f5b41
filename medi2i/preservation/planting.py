"""Nodules, rib gaps and devices planted in source images: what the translation keeps, loses and invents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage

from medi2i.evaluation.controls import (
    ContentResidual,
    Pair,
    clear_lung,
    draw_nodule,
    examine_pair,
    positive_controls,
    shows_lung,
)
from medi2i.evaluation.domains import Domains, NetworkImage, Translation
from medi2i.preservation.controls import RunControls
from medi2i.preservation.images import masks_of, measuring_pair, patient_labels, resampled
from medi2i.preservation.settings import PreservationConfig
from medi2i.preservation.summary import share_of
from medi2i.training.interruption import StopRequest
from medi2i.training.progress import Progress

KINDS = ("nodule", "rib gap", "device")
# Of a device, in pixels of the measuring matrix: a battery as large as on films, and its lead.
_BATTERY_PX, _LEAD_PX, _LEAD_WIDTH_PX = 7.0, 40.0, 1.2
_AROUND_PX = 5.0
_AWAY_PX = 12.0
_SMOOTH_PX = 1.5
_FAR_SHARE = 0.5
_STREAM = 23


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one thing that was planted in one image."""

    kind: str
    patient: str
    outcome: str
    response: float
    elsewhere: bool


def measure_planted(
    domains: Domains,
    translate: Translation,
    controls: RunControls,
    *,
    out: Path,
    config: PreservationConfig | None = None,
    seed: int = 0,
    stop: StopRequest | None = None,
) -> dict[str, Any]:
    """Content test of a translation: `content_controls` of `results.json`.

    A nodule, a gap in a rib, and a device (battery and lead) are planted, one at a time, in source images of
    as many patients as there are. The translation of the planted image is compared with the source as it was,
    by the content instrument and its calibrated threshold:

    - `kept`: at the planted place the translation shows what that source does not explain;
    - `lost`: it does not;
    - `undecided`: it does so already without anything planted.

    `response` is how strong the planted thing is in the translation, as a share of what it was in the source,
    each in units of its image's range: projection of the difference of the two translations on what was
    planted, without what a curve of tones explains. `elsewhere` counts plantings more than 12 pixels away
    from which the content instrument finds something new, at least half as strong as what was planted;
    `invented` images in which the translation shows something that the source does not explain with nothing
    planted.

    Only images with masks of lungs are taken: the threshold is of lung, and so is the place.

    Args:
        domains: of the run.
        translate: any image of the source domain through the run's method, at its own matrix.
        controls: from `judge_instruments`.
        out: the run folder, named when somebody asked to stop.
        config: settings.
        seed: of places.
        stop: whether somebody asked to stop; looked at after each image.

    Raises:
        InterruptedRunError: a stop was asked for.
    """
    config, stop = config or PreservationConfig(), stop or StopRequest()
    limit = controls.thresholds["content"]
    chosen = _choose(domains, config)
    if not chosen or not math.isfinite(limit):
        words = "no image has masks of lungs with room" if not chosen else "content has no threshold"
        return {"n_images": 0, "reason": words, "planted": [], "invented": None}
    outcomes: list[_Outcome] = []
    plain: dict[str, list[bool]] = {}
    progress = Progress("planting content", len(chosen))
    try:
        for number, (image, pair) in enumerate(chosen):
            rng = np.random.default_rng([seed, _STREAM, number])
            found, flagged = _plant_all(image, pair, translate, limit, config, rng)
            outcomes += found
            plain.setdefault(pair.patient, []).append(flagged)
            progress.advance()
            stop.raise_if_requested(str(out), "run the same command again")
    finally:
        progress.close()
    trials = [any(flags) for flags in plain.values()]
    if len(plain) == 1:
        trials = next(iter(plain.values()))
    invented = sum(trials)
    return {
        "n_images": len(chosen),
        "n_patients": len(plain),
        "reason": None,
        "unit": "patients" if len(plain) > 1 else "images of one patient, so intervals are too narrow",
        "threshold": limit,
        "calibrated_on": controls.calibrated_on,
        "planted": [_summarise(kind, outcomes) for kind in KINDS],
        "invented": {"n": len(trials), "count": invented, **share_of(invented, len(trials))},
    }


def _choose(domains: Domains, config: PreservationConfig) -> list[tuple[NetworkImage, Pair]]:
    """Images with clear lung, one of each patient before a second of any, source as its own translation."""
    labels, _ = patient_labels(domains)
    seen: dict[str, int] = {}
    turns = []
    for row in domains.source:
        turns.append((seen.setdefault(labels[row.id], 0), row))
        seen[labels[row.id]] += 1
    found: list[tuple[NetworkImage, Pair]] = []
    for _, row in sorted(turns, key=lambda turn: turn[0]):
        if len(found) == config.content_images:
            break
        if row.mask is None:
            continue
        image = domains.read(row)
        masks = masks_of(domains, row)
        pair = measuring_pair(image, image.image, masks, side_px=config.side_px, patient=labels[row.id])
        if shows_lung(clear_lung(pair)):
            found.append((image, pair))
    return found


def _plant_all(
    image: NetworkImage,
    pair: Pair,
    translate: Translation,
    limit: float,
    config: PreservationConfig,
    rng: np.random.Generator,
) -> tuple[list[_Outcome], bool]:
    """Each kind in one image, and whether its translation is flagged with nothing planted."""
    before = replace(pair, translated=resampled(translate(image), pair.source.shape))
    plain = examine_pair(before, config.instruments)
    outcomes = []
    for kind in KINDS:
        change = _draw(kind, pair, config, rng)
        if change is None:
            continue
        planted = np.clip(image.image + resampled_change(change, image.image.shape), -1, 1).astype(np.float32)
        after = resampled(translate(replace(image, image=planted)), pair.source.shape)
        content = examine_pair(
            replace(pair, translated=after), config.instruments, deformation=plain.deformation
        ).content
        place = _around(change)
        outcome = _decide(plain.content, content, place, limit)
        difference = _beyond_tone(before.translated, after, place)
        response = _response(change, pair.source, difference, before.translated)
        far = ndimage.distance_transform_edt(~place) > _AWAY_PX
        # a method may draw another style for another image: only what shows as content counts
        elsewhere = (
            _largest(content, far) > limit
            and not _largest(plain.content, far) > limit
            and _reaches(far, change, pair.source, difference, before.translated)
        )
        outcomes.append(_Outcome(kind, pair.patient, outcome, response, elsewhere))
    return outcomes, plain.content.largest > limit


def _draw(
    kind: str, pair: Pair, config: PreservationConfig, rng: np.random.Generator
) -> Float64[np.ndarray, "H W"] | None:
    """What is added to the source at the measuring matrix; None where it has no room."""
    low, high = np.percentile(pair.source[pair.valid], [1, 99])
    if kind == "rib gap":
        gap = positive_controls(config.controls)["dropped_rib"](pair, rng)
        return None if gap is None else np.asarray(gap.translated - pair.source, dtype=np.float64)
    if kind == "nodule":
        shape = draw_nodule(clear_lung(pair), rng, config.controls)
        strength = config.controls.nodule_contrast
    else:
        shape, strength = _draw_device(clear_lung(pair), rng), config.device_contrast
    return None if shape is None else strength * float(high - low) * shape


def _draw_device(
    lung: Bool[np.ndarray, "H W"], rng: np.random.Generator
) -> Float64[np.ndarray, "H W"] | None:
    """A round battery in the lung and a thin lead that leaves it; 1 inside, blurred by less than a pixel."""
    places = np.argwhere(ndimage.distance_transform_edt(lung) > _BATTERY_PX)
    if len(places) == 0:
        return None
    row, column = places[rng.integers(len(places))]
    angle = rng.uniform(0, 2 * math.pi)
    rows, columns = np.indices(lung.shape)
    down, right = rows - row, columns - column
    along = down * math.sin(angle) + right * math.cos(angle)
    across = down * math.cos(angle) - right * math.sin(angle)
    battery = np.hypot(down, right) <= _BATTERY_PX
    lead = (along > 0) & (along < _LEAD_PX) & (np.abs(across) <= _LEAD_WIDTH_PX)
    return np.asarray(ndimage.gaussian_filter((battery | lead).astype(np.float64), 0.7))


def resampled_change(change: Float64[np.ndarray, "H W"], shape: tuple[int, ...]) -> np.ndarray:
    """A change at the measuring matrix, at the image's own; linear in between."""
    if change.shape == shape:
        return change
    places = [
        (np.arange(side) + 0.5) * own / side - 0.5 for side, own in zip(shape, change.shape, strict=True)
    ]
    grid = np.meshgrid(*places, indexing="ij")
    return np.asarray(ndimage.map_coordinates(change, grid, order=1, mode="nearest"))


def _around(change: np.ndarray) -> Bool[np.ndarray, "H W"]:
    core = np.abs(change) >= 0.25 * np.abs(change).max()
    return np.asarray(ndimage.distance_transform_edt(~core) <= _AROUND_PX)


def _decide(plain: ContentResidual, planted: ContentResidual, place: np.ndarray, limit: float) -> str:
    if _largest(plain, place) > limit:
        return "undecided"
    return "kept" if _largest(planted, place) > limit else "lost"


def _largest(content: ContentResidual, place: np.ndarray) -> float:
    judged = place & content.counted
    return float(np.abs(content.z[judged]).max()) if judged.any() else math.nan


def _response(
    change: np.ndarray, source: np.ndarray, difference: np.ndarray, translated: np.ndarray
) -> float:
    """Share of what was planted that is in the translation; NaN where the translation shows nothing."""
    gain = _gain(source, translated)
    return float((difference * change).sum() / (change**2).sum()) / gain if gain > 0 else math.nan


def _beyond_tone(before: np.ndarray, after: np.ndarray, place: np.ndarray) -> Float64[np.ndarray, "H W"]:
    """What the second translation has beyond a cubic of the first, which is fitted away from the place."""
    terms = np.stack([np.asarray(before, dtype=np.float64) ** power for power in range(4)], axis=-1)
    coefficients = np.linalg.lstsq(terms[~place], after[~place], rcond=None)[0]
    return np.asarray(after - terms @ coefficients)


def _reaches(
    far: np.ndarray, change: np.ndarray, source: np.ndarray, difference: np.ndarray, translated: np.ndarray
) -> bool:
    """Whether the translation changed there by at least half of what was planted."""
    planted, found = (np.abs(ndimage.gaussian_filter(plane, _SMOOTH_PX)) for plane in (change, difference))
    expected = float(planted.max()) * _gain(source, translated)
    return bool(far.any() and expected > 0 and found[far].max() > _FAR_SHARE * expected)


def _gain(source: np.ndarray, translated: np.ndarray) -> float:
    """Range of the translation over that of the source; 0 where the source shows nothing."""
    first, second = (float(np.subtract(*np.percentile(image, [99, 1]))) for image in (source, translated))
    return second / first if first > 0 else 0.0


def _summarise(kind: str, outcomes: Sequence[_Outcome]) -> dict[str, Any]:
    """Shares over patients: one with several images counts by its first."""
    first: Mapping[str, _Outcome] = {
        one.patient: one for one in reversed(outcomes) if one.kind == kind and one.outcome != "undecided"
    }
    mine = [one for one in outcomes if one.kind == kind]
    judged = list(first.values()) if len(first) > 1 else [one for one in mine if one.outcome != "undecided"]
    kept, elsewhere = sum(one.outcome == "kept" for one in judged), sum(bool(one.elsewhere) for one in judged)
    responses = [one.response for one in mine if not math.isnan(one.response)]
    return {
        "kind": kind,
        "n": len(judged),
        "undecided": sum(one.outcome == "undecided" for one in mine),
        "kept": {"count": kept, **share_of(kept, len(judged))},
        "lost": {"count": len(judged) - kept, **share_of(len(judged) - kept, len(judged))},
        "elsewhere": {"count": elsewhere, **share_of(elsewhere, len(judged))},
        "response_median": float(np.median(responses)) if responses else math.nan,
    }
