"""From scores of films to the table: means with intervals, gap closed, tests, and what the verdict needs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from medi2i.downstream.films import Films
from medi2i.downstream.rows import ALL, ORACLE, SOURCE_ONLY, Row
from medi2i.downstream.scoring import MEASURES, Scores
from medi2i.evaluation.verdict import ScoredRow, headline
from medi2i.metrics.fcn_score import FCNCounts
from medi2i.metrics.statistics import (
    adjust_holm,
    crossed_interval,
    crossed_sums_interval,
    gap_closed,
    signed_rank_test,
)

_MEANS = ("dice", "dice_cared", "nsd", "hd95", "assd")
_SHARES = ("dice", "dice_cared", "nsd", "cl_dice")  # between 0 and 1; the others are lengths and counts
_THIN = ("cl_dice", "betti_error")


@dataclass(frozen=True, eq=False)
class Result:
    """Scores of a row.

    Attributes:
        row: which.
        values: seeds x films x structures x `MEASURES`; NaN is undefined, or a film that was not scored.
        counts: pixels of all films and seeds, for the FCN-score.
    """

    row: Row
    values: Float64[np.ndarray, "S F K M"]
    counts: FCNCounts

    def of(self, measure: str) -> Float64[np.ndarray, "S F K"]:
        """One measure."""
        return self.values[..., MEASURES.index(measure)]


def join_parts(row: Row, films: int, seeds: Sequence[Sequence[Scores]]) -> Result:
    """Scores of a row from its parts, those of each seed together."""
    shape = seeds[0][0].values.shape[1:]
    values = np.full((len(seeds), films, *shape), np.nan)
    for number, parts in enumerate(seeds):
        for part in parts:
            values[number, list(part.films)] = part.values
    counts = [part.counts for parts in seeds for part in parts]
    return Result(row, values, sum(counts[1:], counts[0]))


@dataclass(frozen=True)
class Table:
    """The rows of one report and the films they were tested on."""

    films: Films
    results: Sequence[Result]

    def describe(self) -> list[dict[str, Any]]:
        """The rows as results.json has them."""
        described = [self._describe(result) for result in self.results]
        for family in ("versus_source", "versus_base"):
            tested = [row[family] for row in described if row[family] is not None]
            for versus, p_value in zip(tested, adjust_holm([row["p_value"] for row in tested]), strict=True):
                versus["p_holm"] = float(p_value)
        return described

    def scored_rows(self, *, labels: str, folds: str) -> list[ScoredRow]:
        """Rows without any target label, as the verdict takes them; other tools' predictions are not among
        them, for nobody knows what those learned from.
        """
        return [
            ScoredRow(
                name=result.row.name,
                adapter=result.row.adapter,
                labels=labels,
                folds=folds,
                scores=self.patient_dice(result),
                base=result.row.base,
                techniques=frozenset(result.row.techniques),
            )
            for result in self.results
            if result.row.labelled == 0 and result.row.protocol != "given"
        ]

    def own_minus_other(self) -> Float64[np.ndarray, "P S"] | None:
        """How much better answers fit each film's labels than another patient's, in Dice.

        Of the oracle, or, where there is none, of the last row without the adapter that was compared. None
        for films of one patient.
        """
        compared = [result for result in self.results if not np.isnan(result.of("dice_other")).all()]
        if not compared:
            return None
        chosen = next((result for result in compared if result.row.name == ORACLE), compared[-1])
        return self._by_patient(mean_defined(chosen.of("dice") - chosen.of("dice_other")))

    def patient_dice(self, result: Result) -> dict[str, Float64[np.ndarray, "P S"]]:
        """Mean Dice of each patient's films, by structure."""
        names = self.films.labels.structures
        return {name: self._by_patient(result.of("dice")[..., k]) for k, name in enumerate(names)}

    def headline(self, result: Result) -> Float64[np.ndarray, "P S"]:
        """Mean over structures of each patient's Dice: what rows are compared by."""
        dice = self.patient_dice(result)
        return headline(ScoredRow(result.row.name, False, "", "", dice))

    def interval(self, name: str, values: Float[np.ndarray, "S F"]) -> dict[str, Any]:
        """Mean of a score over films with its interval over patients and seeds."""
        defined = ~np.isnan(values)
        sums, counts = (
            self._sum_by_patient(numbers)
            for numbers in (np.where(defined, values, 0.0), defined.astype(np.float64))
        )
        found = crossed_sums_interval(sums, counts, n_undefined=int((~defined).sum()))
        if not self.films.patients_known:
            found = dataclasses.replace(found, n_patients=None, patients_unknown=True)
        return dataclasses.asdict(found.within(0, 1 if name in _SHARES else math.inf))

    def summarize(self, values: Float[np.ndarray, "P S"]) -> dict[str, Any]:
        """Mean of values by patient and seed with its interval."""
        return dataclasses.asdict(crossed_interval(values))

    def _describe(self, result: Result) -> dict[str, Any]:
        row = result.row
        score = result.counts.score()
        dice = mean_defined(result.of("dice"))
        return {
            "name": row.name,
            "protocol": row.protocol,
            "adapter": row.adapter,
            "base": row.base,
            "techniques": list(row.techniques),
            "labelled_patients": "all" if row.labelled == ALL else row.labelled,
            "trained_on": row.trained_on,
            "structures": {
                name: self._structure(result, plane)
                for plane, name in enumerate(self.films.labels.structures)
            },
            "mean": {name: self.interval(name, mean_defined(result.of(name))) for name in _MEANS},
            "fcn_score": {
                "pixel_accuracy": score.pixel_accuracy,
                "class_accuracy": score.class_accuracy,
                "class_iou": score.class_iou,
            },
            "per_seed_dice": mean_defined(dice).tolist(),
            "versus_source": self._versus(result, SOURCE_ONLY),
            "versus_base": None if row.base is None else self._versus(result, row.base),
            "gap_closed": self._gap_closed(result),
        }

    def _structure(self, result: Result, plane: int) -> dict[str, Any]:
        def count(name: str) -> int:
            return int(np.nansum(result.of(name)[..., plane]))

        means = {name: self.interval(name, result.of(name)[..., plane]) for name in _MEANS}
        thin = {
            name: None
            if np.isnan(values := result.of(name)[..., plane]).all()
            else self.interval(name, values)
            for name in _THIN
        }
        return {
            **means,
            "missed": count("missed"),
            "invented": count("invented"),
            "n": means["dice"]["n_images"],
            **thin,
        }

    def _versus(self, result: Result, name: str) -> dict[str, Any] | None:
        """A row against another one on the same films; None against itself, or one that is not there."""
        other = self._find(name)
        if other is None or result is other:
            return None
        difference = self.headline(result) - self.headline(other)
        test = signed_rank_test(difference)
        return {
            "difference": dataclasses.asdict(crossed_interval(difference)),
            "p_value": test.p_value,
            "p_holm": math.nan,  # filled in where all tests are known
            "effect": test.effect,
            "n_patients": test.n_patients,
        }

    def _gap_closed(self, result: Result) -> dict[str, Any] | None:
        source, oracle = self._find(SOURCE_ONLY), self._find(ORACLE)
        if source is None or result is source or result is oracle:
            return None
        if oracle is None:
            undefined = dict.fromkeys(("estimate", "low", "high"))
            return undefined | {"refused": "there is no oracle", "n_patients": 0, "n_seeds": 0}
        closed = gap_closed(self.headline(result), self.headline(source), self.headline(oracle))
        return {
            "estimate": closed.estimate,
            "low": closed.low,
            "high": closed.high,
            "refused": closed.reason,
            "n_patients": closed.n_patients,
            "n_seeds": closed.n_seeds,
        }

    def _find(self, name: str) -> Result | None:
        return next((result for result in self.results if result.row.name == name), None)

    def _sum_by_patient(self, values: Float64[np.ndarray, "S F"]) -> Float64[np.ndarray, "P S"]:
        sums = np.zeros((self.films.n_patients, len(values)))
        np.add.at(sums, [film.patient for film in self.films.films], values.T)
        return sums

    def _by_patient(self, values: Float64[np.ndarray, "S F"]) -> Float64[np.ndarray, "P S"]:
        defined = ~np.isnan(values)
        sums = self._sum_by_patient(np.where(defined, values, 0.0))
        counts = self._sum_by_patient(defined.astype(np.float64))
        means: Float64[np.ndarray, "P S"] = np.divide(
            sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0
        )
        return means


def label_budget(
    described: Sequence[Mapping[str, Any]], *, starts: Sequence[str], of_oracle: int | None
) -> list[dict[str, Any]]:
    """Dice against labelled target patients: the rows without labels, few-shot rows, and the oracle.

    Args:
        starts: names of the rows that few-shot rows begin with.
        of_oracle: labelled patients of the oracle's smallest training; None without an oracle.
    """
    points: list[tuple[int, Mapping[str, Any]]] = []
    for row in described:
        count = row["labelled_patients"]
        if row["name"] in starts or (isinstance(count, int) and count > 0):
            points.append((count, row))
        elif row["name"] == ORACLE and of_oracle is not None:
            points.append((of_oracle, row))
    return [
        {
            "labelled_patients": count,
            "row": row["name"],
            "adapter": row["adapter"],
            "dice": row["mean"]["dice"],
        }
        for count, row in points
    ]


def mean_defined(values: Float64[np.ndarray, "*B K"]) -> Float64[np.ndarray, "*B"]:
    """Mean over the structures for which a film has a value; NaN without any."""
    defined = ~np.isnan(values)
    counts = defined.sum(axis=-1)
    return np.divide(
        np.where(defined, values, 0.0).sum(axis=-1),
        counts,
        out=np.full(counts.shape, np.nan),
        where=counts > 0,
    )
