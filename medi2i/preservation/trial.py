"""All controls of one honest pair, scored, and kept on disk so that a stopped trial goes on where it was."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medi2i.evaluation.controls import (
    SANITY_CONTROLS,
    SHUFFLED,
    Pair,
    PairFindings,
    PairScores,
    examine_pair,
    negative_controls,
    positive_controls,
    shuffle_labels,
    wiped,
)
from medi2i.io.atomic import write_text_atomically
from medi2i.metrics.deformation import Deformation
from medi2i.preservation.settings import PreservationConfig
from medi2i.preservation.structures import StructureScores, score_structures

UNCHANGED = "unchanged"
_WIPED = tuple(name for name in SANITY_CONTROLS if name != "inversion")


@dataclass(frozen=True, slots=True, eq=False)
class ScoredImage:
    """One pair under one control.

    Attributes:
        whole: scores of the image.
        structures: of each structure.
    """

    whole: PairScores
    structures: Mapping[str, StructureScores]


# By control: what was said of one pair.
Block = Mapping[str, ScoredImage]


def score_image(
    pair: Pair, config: PreservationConfig, *, deformation: Deformation | None = None
) -> tuple[ScoredImage, PairFindings]:
    """Whole image and structures, and the maps they were read from."""
    findings = examine_pair(pair, config.instruments, deformation=deformation)
    return ScoredImage(
        findings.scores, score_structures(pair, findings, margin_px=config.margin_px)
    ), findings


def score_block(
    pair: Pair,
    other: Pair | None,
    config: PreservationConfig,
    *,
    seed: int,
    number: int,
    tested: bool,
    tick: Callable[[], None] = lambda: None,
) -> Block:
    """A pair under all controls, or under the changes of style alone when it is there for thresholds.

    Args:
        pair: an honest one.
        other: pair of another patient on the same grid, whose masks it gets; None without one.
        config: strengths and instruments.
        seed, number: of the draws, with the name of each control.
        tested: whether changes of anatomy are tested too.
        tick: called after each control.
    """
    controls = dict(negative_controls(config.controls))
    if tested:
        controls |= positive_controls(config.controls)
    block: dict[str, ScoredImage] = {}
    deformation = None
    for name, control in controls.items():
        changed = control(pair, np.random.default_rng([seed, number, zlib.crc32(name.encode())]))
        if changed is not None:
            block[name], findings = score_image(changed, config)
            deformation = findings.deformation if name == UNCHANGED else deformation
        tick()
    if tested and other is not None:
        # masks don't move the images: what was registered is known
        shuffled = shuffle_labels(pair, other)
        block[SHUFFLED] = score_image(shuffled, config, deformation=deformation)[0]
    if tested:
        block |= {name: score_image(wiped(pair, name), config)[0] for name in _WIPED}
    return block


def write_block(path: Path, block: Block) -> None:
    """JSON; undefined scores are null."""
    values = {
        name: {
            "patient": image.whole.patient,
            "scores": _or_none(image.whole.scores),
            "sanity": list(image.whole.sanity),
            "structures": {key: _or_none(asdict(scores)) for key, scores in image.structures.items()},
        }
        for name, image in block.items()
    }
    write_text_atomically(path, json.dumps(values, allow_nan=False))


def read_block(path: Path) -> Block:
    """Inverse of `write_block`."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: ScoredImage(
            PairScores(image["patient"], _or_nan(image["scores"]), tuple(image["sanity"])),
            {key: StructureScores(**_or_nan(scores)) for key, scores in image["structures"].items()},
        )
        for name, image in values.items()
    }


def _or_none(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(value) if math.isfinite(value) else None for name, value in scores.items()}


def _or_nan(scores: Mapping[str, Any]) -> dict[str, float]:
    return {name: math.nan if value is None else float(value) for name, value in scores.items()}
