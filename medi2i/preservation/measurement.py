"""Every translated image of a run under the instruments, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medi2i.data.manifest import ManifestRow
from medi2i.evaluation.controls import Pair, PairFindings, PairScores, clear_lung, shows_lung
from medi2i.evaluation.domains import Domains, Translation
from medi2i.preservation.certificate import certify, furthest, write_certificate
from medi2i.preservation.controls import RunControls
from medi2i.preservation.images import masks_of, measuring_pair, patient_labels
from medi2i.preservation.pictures import draw_worst
from medi2i.preservation.settings import PreservationConfig
from medi2i.preservation.structures import StructureScores, common_misfit
from medi2i.preservation.summary import (
    MeasuredImage,
    count_uncertified,
    image_row,
    instrument_rows,
    structure_rows,
)
from medi2i.preservation.trial import score_image
from medi2i.training.interruption import StopRequest
from medi2i.training.progress import Progress

CERTIFICATE = "certificate.jsonl"
PICTURES = Path("evaluation", "pictures")
_REMEDY = "run the same command again"
# By how far beyond a threshold: an image with what its pictures are drawn from.
_Shown = tuple[float, MeasuredImage, Pair, PairFindings]


def measure_preservation(
    domains: Domains,
    translation: Translation,
    controls: RunControls,
    *,
    out: Path,
    config: PreservationConfig | None = None,
    stop: StopRequest | None = None,
) -> dict[str, Any]:
    """Whether each source image and each of its structures survived: `preservation` of `results.json`.

    Writes `certificate.jsonl` and, below `evaluation/pictures`, those images that are furthest beyond a
    threshold. Content is judged in images with masks of lungs only, since its threshold is of lung.

    Args:
        domains: of the run.
        translation: source images as the run translated them.
        controls: from `judge_instruments`, with the same settings.
        out: the run folder.
        config: settings.
        stop: whether somebody asked to stop; looked at after each image.

    Raises:
        InterruptedRunError: a stop was asked for.
    """
    config, stop = config or PreservationConfig(), stop or StopRequest()
    labels, known = patient_labels(domains)
    measured: list[MeasuredImage] = []
    shown: list[_Shown] = []
    progress = Progress("examining translations", len(domains.source))
    try:
        for row in domains.source:
            pair = _pair_of(domains, row, translation, config, labels[row.id])
            image, findings = examine_image(row, pair, controls, config)
            measured.append(image)
            ratio = furthest(measured[-1].whole, controls, measured[-1].certificate)[3]
            # maps of the worst only are kept
            shown = sorted([*shown, (ratio, measured[-1], pair, findings)], key=lambda one: -one[0])
            shown = shown[: config.worst]
            progress.advance()
            stop.raise_if_requested(str(out), _REMEDY)
    finally:
        progress.close()
    write_certificate(out / CERTIFICATE, (row for one in measured for row in one.certificate))
    return {
        "unit": domains.edge_unit,
        "side_px": config.side_px,
        "n_images": len(measured),
        "n_patients": len(set(known)) if known is not None else None,
        "patients_unknown": known is None,
        "instruments": instrument_rows(measured, controls),
        "structures": structure_rows(measured, domains.edge_unit, known=known is not None),
        "images": [image_row(one, controls) for one in measured],
        "certificate": CERTIFICATE,
        "not_certified": count_uncertified(measured),
        "worst": [_draw(rank, one, controls, out) for rank, one in enumerate(shown, start=1)],
    }


def examine_image(
    row: ManifestRow, pair: Pair, controls: RunControls, config: PreservationConfig
) -> tuple[MeasuredImage, PairFindings]:
    """One image under the instruments, its certificate, and the maps that its scores were read from.

    Args:
        row: of the source image.
        pair: of it and its translation, from `measuring_pair` at the controls' `side_px`.
        controls: thresholds.
        config: settings that the thresholds hold for.
    """
    scored, findings = score_image(pair, config)
    return _judge(row, pair, findings, scored.structures, controls), findings


def _pair_of(
    domains: Domains, row: ManifestRow, translation: Translation, config: PreservationConfig, patient: str
) -> Pair:
    image = domains.read(row)
    masks = masks_of(domains, row)
    return measuring_pair(image, translation(image), masks, side_px=config.side_px, patient=patient)


def _judge(
    row: ManifestRow,
    pair: Pair,
    findings: PairFindings,
    structures: Mapping[str, StructureScores],
    controls: RunControls,
) -> MeasuredImage:
    scores = dict(findings.scores.scores)
    if not shows_lung(clear_lung(pair)):  # the threshold is of lung
        scores["content"] = math.nan
        structures = {name: _without_content(found) for name, found in structures.items()}
    scores["labels"] = common_misfit(structures, controls.kinds)
    whole = PairScores(findings.scores.patient, scores, findings.scores.sanity)
    mm_per_px = math.nan
    if row.spacing_mm is not None:
        # the same factor for rows and columns, as the aspect is kept
        mm_per_px = float(np.mean(row.spacing_mm)) * max(row.rows, row.columns) / max(pair.source.shape)
    rows = certify(row.id, whole, structures, controls)
    return MeasuredImage(row, pair.patient, whole, structures, rows, mm_per_px)


def _without_content(scores: StructureScores) -> StructureScores:
    return StructureScores(scores.p50_px, scores.p95_px, scores.max_px, math.nan, scores.labels)


def _draw(rank: int, shown: _Shown, controls: RunControls, out: Path) -> dict[str, Any]:
    """Pictures of one of the images furthest beyond a threshold."""
    _, one, pair, findings = shown
    by, score, limit, _ = furthest(one.whole, controls, one.certificate)
    limits = {name: controls.thresholds[name] for name in ("geometry", "content")}
    known = {name: value if math.isfinite(value) else None for name, value in limits.items()}
    folder, name = out / PICTURES, f"worst-{rank:02d}"
    pictures = draw_worst(
        folder, name, pair, findings, geometry_px=known["geometry"], content=known["content"]
    )
    kinds = ("picture", "heat_map", "content_map")
    paths = {kind: path.relative_to(out).as_posix() for kind, path in zip(kinds, pictures, strict=True)}
    return {"id": one.row.id, **paths, "by": by, "score": score, "threshold": limit}
