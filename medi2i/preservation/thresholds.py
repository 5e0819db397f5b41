"""Thresholds from style changes of the patients that are there for them, of images and of structures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from medi2i.evaluation.controls import PairScores, prediction_limit, worst_of_patients
from medi2i.preservation.structures import common_misfit, kind_of
from medi2i.preservation.trial import Block


def structure_thresholds(blocks: Sequence[Block]) -> dict[str, float]:
    """By kind of structure: displacement, in px, that a new patient's worst image passes with 2 %.

    Of each patient the worst score of all style changes, and of all structures of the kind, counts. A kind
    that fewer than two patients have a score of gets no threshold. Only geometry has thresholds by structure:
    content looks at one part of the image whatever lies there, and how well one outline fits tells too little
    (of hearts, those of other patients fit as well).
    """
    found: dict[str, list[tuple[str, float]]] = {}
    for image in (image for block in blocks for image in block.values()):
        for name, scores in image.structures.items():
            if (kind := kind_of(name)) is not None:
                found.setdefault(kind, []).append((image.whole.patient, scores.p95_px))
    worst = {kind: worst_of_patients(scores) for kind, scores in found.items()}
    return {kind: prediction_limit("geometry", scores) for kind, scores in worst.items() if len(scores) >= 2}


def labels_threshold(blocks: Sequence[Block], kinds: frozenset[str]) -> float:
    """Threshold of the outlines' misfit when only structures of these kinds are there; infinite without."""
    worst = worst_of_patients(
        (image.whole.patient, common_misfit(image.structures, kinds))
        for block in blocks
        for image in block.values()
    )
    return prediction_limit("labels", worst)


def dose_response(
    blocks: Sequence[Block], doses: Iterable[tuple[float, str]]
) -> list[dict[str, float | str]]:
    """Median and middle 90 % of each instrument's scores at each strength of warp.

    Args:
        blocks: of tested patients.
        doses: (px, name of the control).
    """
    rows: list[dict[str, float | str]] = []
    for px, control in doses:
        images = [block[control].whole for block in blocks if control in block]
        for instrument in images[0].scores if images else ():
            scores = _defined(images, instrument)
            p5, median, p95 = np.percentile(scores, [5, 50, 95]) if scores else [math.nan] * 3
            rows.append({"instrument": instrument, "warp_px": px, "p5": p5, "median": median, "p95": p95})
    return rows


def structure_results(
    blocks: Sequence[Block], limits: Mapping[str, float], controls: Iterable[str]
) -> list[dict[str, object]]:
    """Of each kind and control: how many structures, and the share that geometry flags."""
    rows: list[dict[str, object]] = []
    for control in controls:
        images = [block[control] for block in blocks if control in block]
        for kind, limit in limits.items():
            scored = [s for image in images for name, s in image.structures.items() if kind_of(name) == kind]
            flagged = sum(scores.p95_px > limit for scores in scored)
            share = flagged / len(scored) if scored else math.nan
            rows.append({"control": control, "kind": kind, "n": len(scored), "flagged": share})
    return rows


def _defined(images: Sequence[PairScores], instrument: str) -> list[float]:
    return [score for image in images if not math.isnan(score := image.scores[instrument])]


def whole_images(blocks: Sequence[Block]) -> dict[str, list[PairScores]]:
    """Scores of whole images by control, as `judge` takes them."""
    found: dict[str, list[PairScores]] = {}
    for name, image in ((name, image) for block in blocks for name, image in block.items()):
        found.setdefault(name, []).append(image.whole)
    return found
