"""Whether the instruments can be believed: thresholds from some patients, and known changes of others.

Controls are judged as sets. The rule, in this order:

- `failed`: the lower Wilson bound of the share of style changes flagged is above 5 %; image sanity misses an
  inversion, a constant or an empty image; a warp of 1 px has an area under the ROC curve below .95; another
  change of anatomy is found in fewer than 95 %. A set of fewer than 20 images fails only where its
  interval leaves no doubt.
- `underpowered`: a set has fewer than 20 images (one miss among fewer is more than 5 %), or fewer than ten
  patients were there for the thresholds; then only image sanity, which has none, can make it `failed`.
- `passed`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from medi2i.errors import UsageError
from medi2i.evaluation.controls.instruments import INSTRUMENTS, PairScores
from medi2i.evaluation.verdict import Controls
from medi2i.metrics.statistics import roc_area, wilson_interval

FALSE_FLAGS = 0.02
MOST_FALSE_FLAGS = 0.05
LEAST_FOUND = 0.95
LEAST_AREA = 0.95
FEWEST_IMAGES = 20
FEWEST_CALIBRATION_PATIENTS = 10
BY_AREA = "warp_1_px"
# What image sanity alone must find: every one.
SANITY_CONTROLS = ("inversion", "constant", "empty")
# Above 0 and skewed, so that their logarithm is nearer to normal.
_ON_LOG_SCALE = frozenset({"geometry", "content"})
_SMALLEST = 1e-3
_ROUNDING = 1e-9
# By control: one entry an image.
Scored = Mapping[str, Sequence[PairScores]]


@dataclass(frozen=True, slots=True)
class ControlResult:
    """How one control did on the patients that thresholds are not from.

    Attributes:
        name: of the control.
        expected: whether structure instruments should flag it.
        n: images; undefined ones of positives count as missed.
        flagged: share that a structure instrument flagged, with Wilson's interval; NaN without images.
        low, high: of that share.
        by: share flagged by instrument, image sanity included.
        area: under the ROC curve of geometry against all style changes, for warps; None for other controls.
    """

    name: str
    expected: bool
    n: int
    flagged: float
    low: float
    high: float
    by: Mapping[str, float]
    area: float | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the controls say of the instruments.

    Attributes:
        controls: one word and its reasons, as the verdict takes them.
        thresholds: by instrument; a score above is flagged.
        results: one a control, positives first.
        false_flags: share of style changes flagged, and the ends of its Wilson interval over patients.
    """

    controls: Controls
    thresholds: Mapping[str, float]
    results: tuple[ControlResult, ...]
    false_flags: tuple[float, float, float]


def set_thresholds(negatives: Scored, *, rate: float = FALSE_FLAGS) -> dict[str, float]:
    """Thresholds that the worst style change of a new patient passes with a probability of `rate`.

    Of each patient the worst score of all style changes is taken, and the upper prediction limit for one
    more patient (Student's). Quantiles would need hundreds of patients. The rate is each instrument's, and of
    a patient's worst image: all instruments together flag about as many of all images. Geometry and content
    are limited on a log scale. An instrument without two patients gets infinity: it flags nothing.
    """
    scored = [image for images in negatives.values() for image in images]
    worst = {
        name: worst_of_patients((image.patient, image.scores.get(name, math.nan)) for image in scored)
        for name in INSTRUMENTS
    }
    return {name: prediction_limit(name, scores, rate) for name, scores in worst.items()}


def worst_of_patients(scores: Iterable[tuple[str, float]]) -> list[float]:
    """The highest score of each patient that has a defined one.

    Args:
        scores: (patient, score); NaN is undefined.
    """
    worst: dict[str, float] = {}
    for patient, score in scores:
        if not math.isnan(score):
            worst[patient] = max(score, worst.get(patient, -math.inf))
    return list(worst.values())


def prediction_limit(instrument: str, scores: Sequence[float], rate: float = FALSE_FLAGS) -> float:
    """What the score of one more patient passes with a probability of `rate`, from one score a patient.

    Infinity for fewer than two patients: nothing is flagged.
    """
    if len(scores) < 2:
        return math.inf
    values = np.asarray(scores)
    if instrument in _ON_LOG_SCALE:
        values = np.log(np.maximum(values, _SMALLEST))
    reach = float(stats.t.ppf(1 - rate, len(values) - 1)) * math.sqrt(1 + 1 / len(values))
    # rounding must not put a limit below scores that are all the same
    limit = float(values.mean() + reach * values.std(ddof=1)) + _ROUNDING
    return math.exp(limit) if instrument in _ON_LOG_SCALE else limit


def flags_of(image: PairScores, thresholds: Mapping[str, float]) -> tuple[str, ...]:
    """Instruments of structure whose score is above its threshold; an undefined score flags nothing."""
    return tuple(name for name in INSTRUMENTS if image.scores.get(name, math.nan) > thresholds[name])


def judge(calibration: Scored, negatives: Scored, positives: Scored, sanity: Scored) -> Judgement:
    """Set thresholds on some patients, and say by the rule above how the instruments did on others.

    Args:
        calibration: style changes of the patients that thresholds are from.
        negatives, positives: style changes, and changes of anatomy, of the other patients.
        sanity: what only image sanity must find (`SANITY_CONTROLS`), of these too.

    Raises:
        UsageError: a patient is on both sides.
    """
    patients = _patients(calibration)
    _require_apart(patients, _patients(negatives) | _patients(positives) | _patients(sanity))
    thresholds = set_thresholds(calibration)
    base = [image for images in negatives.values() for image in images]
    results = [_result(name, True, images, base, thresholds) for name, images in positives.items()]
    results += [_result(name, False, images, base, thresholds) for name, images in negatives.items()]
    false_flags = _false_flags(base, thresholds)
    failed, weak = _judge_positives(results, positives, base)
    if false_flags[1] > MOST_FALSE_FLAGS:
        failed.insert(0, f"{false_flags[0]:.0%} of style changes are flagged")
    if len(base) < FEWEST_IMAGES:
        weak.append(f"{len(base)} style changes, {FEWEST_IMAGES} needed")
    if len(patients) < FEWEST_CALIBRATION_PATIENTS:  # what such thresholds miss or flag says nothing
        weak = [
            f"{len(patients)} patients for thresholds, {FEWEST_CALIBRATION_PATIENTS} needed",
            *failed,
            *weak,
        ]
        failed = []
    failed += _judge_sanity(sanity)
    if failed:
        controls = Controls("failed", tuple(failed))
    else:
        controls = Controls("underpowered", tuple(weak)) if weak else Controls("passed")
    return Judgement(controls, thresholds, tuple(results), false_flags)


def _result(
    name: str,
    expected: bool,
    images: Sequence[PairScores],
    base: Sequence[PairScores],
    thresholds: Mapping[str, float],
) -> ControlResult:
    flags = [flags_of(image, thresholds) for image in images]
    found, n = sum(map(bool, flags)), len(images)
    by = {key: sum(key in flag for flag in flags) / max(n, 1) for key in INSTRUMENTS}
    by["sanity"] = sum(bool(image.sanity) for image in images) / max(n, 1)
    low, high = wilson_interval(found, n)
    area = _area(images, base)[0] if name.startswith("warp") and images and base else None
    return ControlResult(name, expected, n, found / n if n else math.nan, low, high, by, area)


def _area(images: Sequence[PairScores], base: Sequence[PairScores]) -> tuple[float, float]:
    """Area of geometry, the instrument of warps, against style changes, and the upper end of its interval."""
    whole = [*images, *base]
    kinds = [True] * len(images) + [False] * len(base)
    # undefined is the lowest: a warp that was not found
    scores = [np.nan_to_num(image.scores.get("geometry", math.nan), nan=-1.0) for image in whole]
    area = roc_area(scores, kinds, [image.patient for image in whole])
    return area.estimate, 1.0 if area.high is None else area.high


def _false_flags(base: Sequence[PairScores], thresholds: Mapping[str, float]) -> tuple[float, float, float]:
    """Share flagged, patients alike, and its interval with patients as trials."""
    by_patient: dict[str, list[bool]] = {}
    for image in base:
        by_patient.setdefault(image.patient, []).append(bool(flags_of(image, thresholds)))
    shares = [sum(flags) / len(flags) for flags in by_patient.values()]
    total = min(sum(shares), float(len(shares)))
    return total / len(shares) if shares else math.nan, *wilson_interval(total, len(shares))


def _judge_positives(
    results: Sequence[ControlResult],
    positives: Scored,
    base: Sequence[PairScores],
) -> tuple[list[str], list[str]]:
    """What failed, and what is too few to know."""
    failed, weak = [], []
    for result in (result for result in results if result.expected):
        if result.name == BY_AREA and result.n and base:
            value, best = _area(positives[result.name], base)
            least, words = LEAST_AREA, f"area under the ROC curve {value:.2f}"
        else:
            value, best, least = result.flagged, result.high, LEAST_FOUND
            words = f"{value:.0%} found" if result.n else "none could be made"
        enough = result.n >= FEWEST_IMAGES
        if (value if enough else best) < least:
            failed.append(f"{result.name}: {words}, {least:.0%} needed")
        elif not enough:
            weak.append(f"{result.name}: {result.n} images, {FEWEST_IMAGES} needed")
    return failed, weak


def _judge_sanity(sanity: Scored) -> list[str]:
    missed = {name: sum(not image.sanity for image in images) for name, images in sanity.items()}
    return [f"image sanity misses {count} of {name}" for name, count in missed.items() if count]


def _patients(scored: Scored) -> set[str]:
    return {image.patient for images in scored.values() for image in images}


def _require_apart(calibration: set[str], tested: set[str]) -> None:
    both = calibration & tested
    if both:
        raise UsageError(
            "controls",
            found=f"{len(both)} patients on both sides",
            expected="thresholds from other patients than are tested",
            remedy="split by patient",
        )
