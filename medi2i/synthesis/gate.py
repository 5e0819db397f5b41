"""What gets into a set: the certificate's checks, with the thresholds that the run's own controls set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medi2i.errors import CheckpointError, UsageError
from medi2i.evaluation import NetworkImage, read_results
from medi2i.metrics.structure import sanity_flags
from medi2i.preservation import (
    PreservationConfig,
    RunControls,
    examine_image,
    kind_of,
    measuring_pair,
    restore_controls,
)

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether an image may get into the set.

    Attributes:
        passed: whether it may.
        reason: by which instrument not, a word or two to count by; None when it may.
        facts: for the manifest: scores, what was not known, and of a rejected image the first structure with
            score and threshold.
    """

    passed: bool
    reason: str | None
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """The checks of one run.

    Attributes:
        controls: thresholds, from the run's own controls.
        config: settings of the instruments that they hold for.
    """

    controls: RunControls
    config: PreservationConfig

    def judge(
        self,
        image: NetworkImage,
        translated: np.ndarray,
        masks: Mapping[str, np.ndarray],
        *,
        final: np.ndarray | None = None,
    ) -> GateResult:
        """One translation beside its source.

        It passes unless the certificate says of a structure that it is not preserved, whatever the
        instrument: image sanity (constant, empty, inverted, not finite), orientation, geometry, content
        (something came or went), labels. A structure of which nothing can be known stops nothing, and is
        counted.

        Args:
            image: the source image in [-1, 1], at its own matrix.
            translated: (H, W) in [-1, 1].
            masks: planes by structure.
            final: the translation in another look of which it is known that nothing moved; of it image
                sanity alone is asked, because thresholds are of milder changes.
        """
        pair = measuring_pair(image, translated, masks, side_px=self.config.side_px, patient="")
        measured, _ = examine_image(image.row, pair, self.controls, self.config)
        facts: dict[str, Any] = {
            "scores": {name: _rounded(score) for name, score in measured.whole.scores.items()},
            "not_known": sum(row.preserved is None for row in measured.certificate),
        }
        lost = [row for row in measured.certificate if row.preserved is False]
        flags = measured.whole.sanity
        if final is not None and not flags:
            flags = tuple(sanity_flags(image.image, final, image.valid))
            lost = lost if not flags else []
        if flags:
            return GateResult(False, f"image sanity: {flags[0]}", facts | {"flags": list(flags)})
        if lost:
            worst = max(lost, key=lambda row: _beyond(row.score, row.threshold))
            about = {
                "structure": worst.structure,
                "score": _rounded(worst.score),
                "threshold": _rounded(worst.threshold),
            }
            return GateResult(False, str(worst.by), facts | about)
        return GateResult(True, None, facts)


def open_gate(run: Path) -> Gate:
    """The gate of an evaluated run.

    Raises:
        UsageError: the run was not evaluated, or its controls say that the instruments can't be believed.
        CheckpointError: its results are damaged.
    """
    section = read_results(run / "results.json").get("controls")
    if section is None:
        raise UsageError(
            run,
            found="no controls: the run was not evaluated",
            expected="thresholds for the gate, from the run's own controls",
            remedy=f"run `medi2i evaluate {run}` first, or ask for --no-gate",
        )
    try:
        controls, config = restore_controls(section)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            run / "results.json",
            found=f"no readable controls ({type(error).__name__})",
            expected="the section that `medi2i evaluate` writes",
            remedy=f"run `medi2i evaluate {run}` again, or ask for --no-gate",
        ) from None
    word = controls.controls
    if word.state != "passed":
        raise UsageError(
            run,
            found=f"controls {word.state}: {'; '.join(word.reasons)}",
            expected="controls that passed: instruments that are not trusted can't let anything through",
            remedy=f"run `medi2i evaluate {run}` with the default number of patients, or ask for --no-gate",
        )
    return Gate(replace(controls, structures=_no_stricter(controls)), config)


def _no_stricter(controls: RunControls) -> dict[str, float]:
    """Limits of displacement by kind of structure, none below that of whole images.

    Kinds that few patients of the controls show, such as a stomach, can get limits by chance that are below
    what whole honest images move; of ten kinds in an image one would then be flagged in many honest ones.
    """
    whole = controls.thresholds["geometry"]
    return {kind: max(limit, whole) for kind, limit in controls.structures.items()}


def for_structures(gate: Gate, structures: tuple[str, ...]) -> Gate:
    """The gate for images with these masks: outlines count only where all kinds of their threshold are."""
    if gate.controls.kinds <= {kind_of(name) for name in structures}:
        return gate
    thresholds = dict(gate.controls.thresholds) | {"labels": math.inf}
    return Gate(replace(gate.controls, thresholds=thresholds), gate.config)


def outlines_not_judged(gate: Gate) -> bool:
    """Whether the gate has no threshold for how masks' outlines fit."""
    return math.isinf(gate.controls.thresholds["labels"])


def _beyond(score: float | None, threshold: float | None) -> float:
    if score is None or threshold is None or threshold <= 0:
        return math.inf
    return score / threshold


def _rounded(value: float | None) -> float | None:
    """Few digits, and the same ones everywhere; None for what is not defined."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")
