"""One word from the numbers: whether to translate before training, by a written rule.

The first of these that applies:

- `INVALID`: the controls failed, or labels fit their own films no better than those of other patients do, in
  the mean or in more than a tenth of the patients.
- `cannot tell`: controls underpowered; no target labels; no row without the adapter on the same labels and
  folds; fewer than two patients or three seeds.
- `do not translate`: the images' anatomy is not kept, whatever a network makes of them.
- `do not translate`: the best row without the adapter beats it: the interval of adapter - best is below 0.
- `cannot tell`: that interval holds 0; or it is above 0, and the adapter's row is below .5 itself, or no row
  was beaten that has framing, randomisation, and a mean teacher where target films may be trained on.
- `use with care`: it is above 0 and a caution stands: fewer than 50 patients, transductive, a structure that
  loses, or a warning of the caller.
- `use`: it is above 0 and none stands.

Scores are means over structures of each patient and seed; the interval is the house's over patients and seeds
(`metrics.statistics`). The adapter's row is the one on top of that best row, named before the numbers are
seen; where there is none, all its rows are candidates, and the level is divided among them. To choose the
best row by its mean raises the bar for the adapter and never lowers it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from medi2i.errors import UsageError
from medi2i.metrics.statistics import MeanInterval, crossed_interval, wilson_interval

VerdictName = Literal["use", "use with care", "do not translate", "cannot tell", "INVALID"]
LEVEL = 0.95
FEWEST_SEEDS = 3
# Labels of other patients must all but never pass for a film's own.
_LABELS_LEVEL = 0.9999
_OWN_LABELS = 0.9  # least share of patients whose labels fit their own films better
_LEAST_USEFUL = 0.5  # a network below it has learned nothing that a gain could be of
_MUST_BE_BEATEN = frozenset({"framing", "randomisation"})


@dataclass(frozen=True, slots=True)
class Controls:
    """How the instruments did on changes that are known.

    Attributes:
        state: `failed` makes the report INVALID, `underpowered` says too few images to know.
        reasons: what failed or how many were missing, in words.
    """

    state: Literal["passed", "failed", "underpowered"]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRow:
    """One row of the table of downstream results.

    Attributes:
        name: as the table says it.
        adapter: whether the run's adapter translated what it was trained or tested on.
        base: for the adapter's rows: name of the row it stands on top of.
        techniques: of `framing`, `randomisation`, `mean_teacher`, and others: what it uses.
        labels: convention of the source labels it was trained on.
        folds: what tells its outer folds of target patients from others (a hash).
        scores: by structure, one score a patient and seed, higher is better; rows of one report have the same
            patients in one order and the same seeds. NaN is undefined.
    """

    name: str
    adapter: bool
    labels: str
    folds: str
    scores: Mapping[str, Float64[np.ndarray, "P S"]]
    base: str | None = None
    techniques: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the rule is applied to.

    Attributes:
        controls: how the instruments did.
        rows: those trained without any target label; none where there are no target labels to test on. An
            oracle and few-shot rows don't belong here.
        own_minus_other: score of predictions against each film's own labels, less that against the labels
            of another patient, by patient and seed; of the oracle where there is one, for a row that learned
            nothing fits no labels. None without target labels.
        target_films_trainable: whether unlabelled target films may be trained on, so that a mean teacher is
            among the rows to beat.
        transductive: test films were seen in training, unlabelled.
        warnings: in words, whatever else calls for care: flagged images, structures moved, failed cases.
        destroyed: in words, what of the anatomy is not kept, so that masks don't fit the images any more.
    """

    controls: Controls
    rows: Sequence[ScoredRow]
    own_minus_other: Float64[np.ndarray, "P S"] | None
    target_films_trainable: bool
    transductive: bool = False
    warnings: tuple[str, ...] = ()
    destroyed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word, and why.

    Attributes:
        name: one of five.
        reason: in words, with numbers; cautions are its last sentences.
        better_row: the row without the adapter that beats it, where one does.
        adapter_row, best_row: the two rows compared, None where it did not come to that.
        difference: adapter_row - best_row, over patients and seeds.
        cautions: each as one sentence.
    """

    name: VerdictName
    reason: str
    better_row: str | None = None
    adapter_row: str | None = None
    best_row: str | None = None
    difference: MeanInterval | None = None
    cautions: tuple[str, ...] = ()


def reach_verdict(evidence: Evidence) -> Verdict:
    """The verdict by the rule above.

    Raises:
        UsageError: rows differ in patients, seeds or structures.
    """
    _require_same_shape(evidence)
    return (
        _from_controls(evidence) or _from_anatomy(evidence) or _from_labels(evidence) or _from_rows(evidence)
    )


def headline(row: ScoredRow) -> Float64[np.ndarray, "P S"]:
    """Mean over structures of each patient and seed; NaN where none is defined."""
    scores = np.stack(list(row.scores.values())).astype(np.float64)
    defined = ~np.isnan(scores)
    counts = defined.sum(0)
    found: Float64[np.ndarray, "P S"] = np.divide(
        np.where(defined, scores, 0).sum(0), counts, out=np.full(counts.shape, np.nan), where=counts > 0
    )
    return found


def _from_controls(evidence: Evidence) -> Verdict | None:
    controls = evidence.controls
    why = "; ".join(controls.reasons) or "no reason given"
    if controls.state == "failed":
        return Verdict("INVALID", f"The instruments failed their controls: {why}.")
    if controls.state == "underpowered":
        return Verdict("cannot tell", f"Controls underpowered: {why}.")
    return None


def _from_anatomy(evidence: Evidence) -> Verdict | None:
    if evidence.destroyed:
        return Verdict("do not translate", f"The anatomy is not kept: {' '.join(evidence.destroyed)}")
    return None


def _from_labels(evidence: Evidence) -> Verdict | None:
    if not evidence.rows or evidence.own_minus_other is None:
        return Verdict(
            "cannot tell",
            "There are no target labels, so nothing here says how a network trained on the images does.",
        )
    fit = crossed_interval(evidence.own_minus_other, level=_LABELS_LEVEL)
    if fit.low is None:
        return Verdict("cannot tell", "Fewer than two patients have labels: no interval over patients.")
    if fit.low <= 0:
        return Verdict(
            "INVALID",
            "Labels fit their own films no better than those of other patients do "
            f"({_signed(fit.estimate)}): they may be shuffled, or nothing was learned from them.",
        )
    means = np.nanmean(evidence.own_minus_other[~np.isnan(evidence.own_minus_other).all(1)], axis=1)
    own = int((means > 0).sum())
    if wilson_interval(own, len(means))[1] < _OWN_LABELS:
        return Verdict(
            "INVALID",
            f"In {len(means) - own} of {len(means)} patients labels fit their own films no better than those "
            "of other patients do: some may be shuffled, or little was learned from them.",
        )
    return None


def _from_rows(evidence: Evidence) -> Verdict:
    translated = [row for row in evidence.rows if row.adapter]
    if not translated:
        return Verdict("cannot tell", "No row with the adapter was measured.")
    comparable = [
        row
        for row in evidence.rows
        if not row.adapter and all((row.labels, row.folds) == (own.labels, own.folds) for own in translated)
    ]
    if not comparable:
        return Verdict("cannot tell", "No row without the adapter was measured on the same labels and folds.")
    best = max(comparable, key=_mean)
    adapter, difference = _compare(translated, best)
    cautions = _cautions(evidence, adapter, best, difference)
    name, why = _judge(difference, _seeds(adapter, best), _missing(evidence, comparable), cautions)
    if name in ("use", "use with care") and _mean(adapter) < _LEAST_USEFUL:
        name, why = "cannot tell", f"; but {_mean(adapter):.2f} itself: hardly anything was learned"
    numbers = (
        f"'{adapter.name}' against '{best.name}', the best row without the adapter: {_words(difference)}"
    )
    return Verdict(
        name,
        " ".join((f"{numbers}{why}.", *cautions)),
        better_row=best.name if name == "do not translate" else None,
        adapter_row=adapter.name,
        best_row=best.name,
        difference=difference,
        cautions=cautions,
    )


def _judge(
    difference: MeanInterval, seeds: int, missing: str | None, cautions: tuple[str, ...]
) -> tuple[VerdictName, str]:
    """The word for a measured difference, and what is to be said after its numbers."""
    if difference.low is None or difference.high is None:
        return "cannot tell", "; fewer than two patients have both"
    if seeds < FEWEST_SEEDS:
        return "cannot tell", f"; {FEWEST_SEEDS} seeds are needed, {seeds} measured"
    if difference.high < 0:
        return "do not translate", ""
    if difference.low <= 0:
        return "cannot tell", "; the interval holds 0"
    if missing is not None:
        return "cannot tell", f"; no row without the adapter has {missing}, which had to be beaten"
    return ("use with care" if cautions else "use"), ""


def _compare(translated: Sequence[ScoredRow], best: ScoredRow) -> tuple[ScoredRow, MeanInterval]:
    """The adapter's row that counts, and how far it is above the best row without the adapter."""
    candidates = [row for row in translated if row.base == best.name] or list(translated)
    adapter = max(candidates, key=_mean)
    level = 1 - (1 - LEVEL) / len(candidates)
    return adapter, crossed_interval(headline(adapter) - headline(best), level=level)


def _missing(evidence: Evidence, comparable: Sequence[ScoredRow]) -> str | None:
    """Techniques that no row to beat has together, or None."""
    wanted = _MUST_BE_BEATEN | ({"mean_teacher"} if evidence.target_films_trainable else frozenset())
    if any(wanted <= row.techniques for row in comparable):
        return None
    return " + ".join(name.replace("_", " ") for name in sorted(wanted))


def _cautions(
    evidence: Evidence, adapter: ScoredRow, best: ScoredRow, difference: MeanInterval
) -> tuple[str, ...]:
    cautions = []
    if difference.exploratory:
        cautions.append(f"Exploratory: {difference.n_patients} patients, fewer than 50.")
    if evidence.transductive:
        cautions.append("Transductive: test films were seen in training, without labels.")
    for name, scores in adapter.scores.items():
        change = crossed_interval(scores - best.scores[name], level=LEVEL)
        if change.high is not None and change.high < 0:
            cautions.append(f"{name} loses: {_words(change)}.")
    return (*cautions, *evidence.warnings)


def _require_same_shape(evidence: Evidence) -> None:
    names = {frozenset(row.scores) for row in evidence.rows}
    shapes = {scores.shape for row in evidence.rows for scores in row.scores.values()}
    if len(names) > 1 or len(shapes) > 1 or frozenset() in names:
        raise UsageError(
            "reach_verdict",
            found="rows with other structures, patients or seeds",
            expected="the same structures, patients and seeds in every row",
            remedy="score all rows on the same folds with the same seeds",
        )


def _seeds(adapter: ScoredRow, best: ScoredRow) -> int:
    """Seeds with a difference for any patient."""
    return int((~np.isnan(headline(adapter) - headline(best))).any(0).sum())


def _mean(row: ScoredRow) -> float:
    scores = headline(row)
    defined = scores[~np.isnan(scores)]
    return float(defined.mean()) if defined.size else -np.inf


def _words(difference: MeanInterval) -> str:
    if difference.low is None or difference.high is None:
        return _signed(difference.estimate)
    return f"{_signed(difference.estimate)} [{_signed(difference.low)}, {_signed(difference.high)}]"


def _signed(number: float) -> str:
    return f"{number:+.3f}"
