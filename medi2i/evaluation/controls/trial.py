"""All controls of a set of pairs: split by patient, changed, scored, judged."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from medi2i.errors import UsageError
from medi2i.evaluation.controls.instruments import InstrumentsConfig, PairScores, score_pair
from medi2i.evaluation.controls.judgement import SANITY_CONTROLS, Judgement, judge
from medi2i.evaluation.controls.pairs import Pair
from medi2i.evaluation.controls.perturbations import (
    ControlsConfig,
    Perturbation,
    negative_controls,
    positive_controls,
    shuffle_labels,
)

_Images = dict[str, list[PairScores]]
SHUFFLED = "shuffled_labels"


def run_controls(
    pairs: Sequence[Pair],
    *,
    seed: int,
    config: ControlsConfig | None = None,
    instruments: InstrumentsConfig | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Judgement:
    """Judge the instruments on honest pairs: every second patient for thresholds, the others for the test.

    Args:
        pairs: whose translations are honest, e.g. the true film of a phantom's DRR.
        seed: of the warps, places and noise; each image and control has its own stream.
        config: strengths.
        instruments: settings of the instruments.
        tick: called after each pair that was scored.

    Raises:
        UsageError: fewer than two patients.
    """
    config, instruments = config or ControlsConfig(), instruments or InstrumentsConfig()
    calibration, tested = split_patients(pairs)

    def scored(controls: Mapping[str, Perturbation], chosen: Iterable[Pair]) -> _Images:
        found: _Images = {name: [] for name in controls}
        for number, pair in enumerate(chosen):
            for name, control in controls.items():
                changed = control(pair, np.random.default_rng([seed, number, zlib.crc32(name.encode())]))
                if changed is not None:
                    found[name].append(score_pair(changed, instruments))
                    tick()
        return found

    negatives, positives = negative_controls(config), positive_controls(config)
    tested_negatives, tested_positives = scored(negatives, tested), scored(positives, tested)
    tested_positives[SHUFFLED] = []
    for pair, other in _with_others(tested):
        tested_positives[SHUFFLED].append(score_pair(shuffle_labels(pair, other), instruments))
        tick()
    sanity = {"inversion": tested_negatives["inversion"]} | {
        name: [score_pair(wiped(pair, name), instruments) for pair in tested]
        for name in SANITY_CONTROLS
        if name != "inversion"
    }
    return judge(scored(negatives, calibration), tested_negatives, tested_positives, sanity)


def split_patients(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Pairs for thresholds and pairs for the test: every second patient, by first occurrence.

    Raises:
        UsageError: fewer than two patients.
    """
    patients = list(dict.fromkeys(pair.patient for pair in pairs))
    if len(patients) < 2:
        raise UsageError(
            "controls",
            found=f"{len(patients)} patients",
            expected="two at least: thresholds are from other patients than are tested",
            remedy="make more phantom patients",
        )
    first = set(patients[::2])
    return [p for p in pairs if p.patient in first], [p for p in pairs if p.patient not in first]


def wiped(pair: Pair, how: str) -> Pair:
    """The pair with a translation that shows nothing: `constant` at its median, or `empty`, all dark."""
    level = -1.0 if how == "empty" else float(np.median(pair.translated[pair.valid]))
    return replace(pair, translated=np.full_like(pair.translated, level))


def _with_others(pairs: Sequence[Pair]) -> list[tuple[Pair, Pair]]:
    """Each pair with the next one of another patient that has the same pixel grid."""
    found = []
    for number, pair in enumerate(pairs):
        following = [*pairs[number + 1 :], *pairs[:number]]
        fitting = (
            other
            for other in following
            if other.patient != pair.patient and other.source.shape == pair.source.shape and pair.masks
        )
        other = next(fitting, None)
        if other is not None:
            found.append((pair, other))
    return found
