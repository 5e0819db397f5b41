"""The certificate: whether each structure of each image is preserved, by which instrument and threshold."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from medi2i.evaluation.controls import PairScores
from medi2i.io.atomic import write_text_atomically
from medi2i.preservation.controls import RunControls
from medi2i.preservation.structures import STRUCTURE_INSTRUMENTS, StructureScores, kind_of

WHOLE_IMAGE = "whole image"
_UNITS = {
    "geometry": "px",
    "content": "robust standard deviations",
    "labels": "misfit of outlines, 0 to 1",
    "orientation": "difference of agreements, -1 to 1",
    "sanity": "flags",
}


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """Whether one structure of one image survived.

    Attributes:
        id: of the image, as in `results.json`.
        structure: name of the mask, or `whole image` for images without masks.
        preserved: None when no instrument can tell.
        by: the instrument that decided: the one that flags it, else the one that followed it.
        score, threshold: of that instrument; above the threshold is flagged.
        unit: of both; px are those of the measuring matrix.
        calibrated_on: where the threshold comes from.
        reason: why it is not preserved, or not known; None when preserved.
    """

    id: str
    structure: str
    preserved: bool | None
    by: str | None
    score: float | None
    threshold: float | None
    unit: str | None
    calibrated_on: str | None
    reason: str | None


def unit_of(instrument: str) -> str:
    """What an instrument's scores are counted in."""
    return _UNITS[instrument]


def certify(
    image_id: str,
    whole: PairScores,
    structures: Mapping[str, StructureScores],
    controls: RunControls,
) -> list[CertificateRow]:
    """Rows of one image, by this rule; the first that applies:

    - an image that shows nothing, is not finite, or is inverted: nothing in it is preserved, by image sanity;
    - controls that failed or were underpowered: not known, because the instruments are not;
    - a flipped image, one that is above the threshold and agrees better with its mirror image than with
      itself: nothing in it is preserved, by orientation (below that, a structure's own scores tell);
    - a score of the structure above its threshold: not preserved, by the instrument furthest above;
    - masks whose outlines, all together, don't fit the translation: not preserved, by labels;
    - no pixel of the structure that can be followed: not known;
    - preserved, by geometry.
    """
    shared = _of_whole_image(whole, controls)
    if not structures:
        found = shared or _judge(_whole_scores(whole), whole, controls, kind=None)
        return [CertificateRow(image_id, WHOLE_IMAGE, *found)]
    return [
        CertificateRow(
            image_id, name, *(shared or _judge(_scores_of(scores), whole, controls, kind=kind_of(name)))
        )
        for name, scores in structures.items()
    ]


def write_certificate(path: Path, rows: Iterable[CertificateRow]) -> None:
    """`certificate.jsonl`: one JSON object a line, complete or not at all."""
    lines = [json.dumps(asdict(row), allow_nan=False) + "\n" for row in rows]
    write_text_atomically(path, "".join(lines))


_Judged = tuple[bool | None, str | None, float | None, float | None, str | None, str | None, str | None]


def _of_whole_image(whole: PairScores, controls: RunControls) -> _Judged | None:
    """What holds for all structures of an image, whatever their own scores are."""
    if whole.sanity:
        return False, "sanity", None, None, None, None, f"image sanity: {', '.join(whole.sanity)}"
    state = controls.controls.state
    if state != "passed":
        return None, None, None, None, None, None, f"controls {state}: {'; '.join(controls.controls.reasons)}"
    score, limit = whole.scores.get("orientation", math.nan), max(controls.thresholds["orientation"], 0.0)
    if score > limit:
        return _flagged("orientation", score, limit, controls.calibrated_on)
    return None


def _judge(
    scores: Mapping[str, float], whole: PairScores, controls: RunControls, *, kind: str | None
) -> _Judged:
    flagged = []
    for instrument, score in scores.items():
        limit, origin = limit_of(instrument, kind, controls)
        if score > limit:
            flagged.append((score / limit if limit > 0 else math.inf, instrument, score, limit, origin))
    if flagged:
        _, instrument, score, limit, origin = max(flagged)
        return _flagged(instrument, score, limit, origin)
    misfit, most = whole.scores.get("labels", math.nan), controls.thresholds["labels"]
    if misfit > most:
        return _flagged("labels", misfit, most, controls.calibrated_on)
    score = scores["geometry"]
    limit, origin = limit_of("geometry", kind, controls)
    if math.isnan(score) or math.isinf(limit):
        reason = "too little texture to follow" if math.isnan(score) else "no threshold: too few controls"
        return None, None, None, None, None, None, reason
    return True, "geometry", score, limit, unit_of("geometry"), origin, None


def limit_of(instrument: str, kind: str | None, controls: RunControls) -> tuple[float, str]:
    """Threshold of an instrument for a kind of structure, and where it comes from."""
    if instrument == "content":
        return controls.thresholds[instrument], controls.calibrated_on
    if kind is not None and kind in controls.structures:
        return controls.structures[kind], f"{controls.calibrated_on}, kind '{kind}'"
    return controls.thresholds[
        instrument
    ], f"{controls.calibrated_on}, whole images: no control has this kind"


def _flagged(instrument: str, score: float, limit: float, origin: str) -> _Judged:
    words = f"{instrument} {score:.3g} above {limit:.3g}"
    return False, instrument, score, limit, unit_of(instrument), origin, words


def _scores_of(scores: StructureScores) -> dict[str, float]:
    return {instrument: scores.of(instrument) for instrument in STRUCTURE_INSTRUMENTS}


def _whole_scores(whole: PairScores) -> dict[str, float]:
    return {name: whole.scores.get(name, math.nan) for name in ("geometry", "content")}


def furthest(
    whole: PairScores, controls: RunControls, rows: Sequence[CertificateRow]
) -> tuple[str, float | None, float | None, float]:
    """Instrument, score, threshold and their ratio where an image is furthest beyond, structures included.

    Image sanity comes before all; an image without any score or threshold has ratio 0.
    """
    if whole.sanity:
        return "sanity", None, None, math.inf
    found: list[tuple[float, str, float, float]] = []
    for name in ("geometry", "content"):
        _consider(found, name, whole.scores.get(name, math.nan), controls.thresholds[name])
    for row in rows:
        if row.preserved is False and row.by in ("geometry", "content", "labels"):
            _consider(found, str(row.by), float(row.score or 0), float(row.threshold or 0))
        if row.by == "orientation":
            found.append((math.inf, "orientation", float(row.score or 0), float(row.threshold or 0)))
    if not found:
        return "geometry", None, None, 0.0
    ratio, name, score, limit = max(found)
    return name, score, limit, ratio


def _consider(found: list[tuple[float, str, float, float]], name: str, score: float, limit: float) -> None:
    if not math.isnan(score) and math.isfinite(limit) and limit > 0:
        found.append((score / limit, name, score, limit))
