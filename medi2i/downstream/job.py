"""The downstream table of a run: train every row without the test films, then open them and score."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from medi2i.data.dataset_folder import DatasetFolder
from medi2i.downstream.facts import compose_facts, film_remarks, hash_folds
from medi2i.downstream.films import find_films, read_films
from medi2i.downstream.given import Predictions, find_predictions
from medi2i.downstream.ground import Ground, find_labels
from medi2i.downstream.labels import Labels
from medi2i.downstream.leaks import check_films
from medi2i.downstream.rows import Row, label_starts, plan_rows, slug_of
from medi2i.downstream.settings import DownstreamConfig
from medi2i.downstream.table import Table
from medi2i.downstream.testing import Testing
from medi2i.downstream.translation import FilmTranslation, film_translation
from medi2i.errors import UsageError
from medi2i.evaluation import Domains
from medi2i.evaluation.verdict import ScoredRow
from medi2i.training.engine import DeviceName
from medi2i.training.interruption import StopRequest, stop_on_signals
from medi2i.training.progress import Progress
from medi2i.translation import Translator


@dataclass(frozen=True, eq=False)
class DownstreamResult:
    """The table, and what the verdict needs of it.

    Attributes:
        facts: the section `downstream` of results.json.
        rows: rows without any target label.
        own_minus_other: by patient and seed, how much better answers fit each film's labels than another
            patient's; None for one patient.
        target_films_trainable: whether a row learned from unlabelled target films.
        transductive: whether the run has seen test films or their patients.
        notes: what is to be said of the table, a sentence each.
    """

    facts: dict[str, Any]
    rows: tuple[ScoredRow, ...]
    own_minus_other: Float64[np.ndarray, "P S"] | None
    target_films_trainable: bool
    transductive: bool
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Case:
    """A run, and the labelled films that it is tested on.

    Attributes:
        domains: the run's images.
        translated: the run's `translated/`.
        source, target: the run's two folders; masks of the target's are not opened.
        films: labelled films of the target domain.
        out: working folder, e.g. `<run>/evaluation`.
        translate_films: the run's method, or a function of its way back; None where it goes one way.
        extra: predictions of other tools on the films: name of the row to a folder of masks.
        device: where to compute.
    """

    domains: Domains
    translated: Path
    source: Path
    target: Path
    films: Path
    out: Path
    translate_films: Translator | FilmTranslation | None = None
    extra: Mapping[str, Path] = field(default_factory=dict)
    device: DeviceName = "auto"

    @property
    def way_back(self) -> FilmTranslation | None:
        """Films as images of the source domain; None where the method goes one way."""
        if isinstance(self.translate_films, Translator):
            return film_translation(self.translate_films)
        return self.translate_films


def measure_downstream(
    config: DownstreamConfig, case: Case, *, stop: StopRequest | None = None
) -> DownstreamResult:
    """Segmenters trained on the source, on its translations and on target films, tested on labelled films.

    First comes a pass over the test films that tells whether the run has seen one, yes or no; they are not
    opened again before all trainings without target labels are over. Whatever is finished in `case.out`,
    trainings and scores of the same settings, images and films, is left as it is; a begun training goes on.

    Args:
        config: rows, folds and seeds.
        case: the run and the films.
        stop: asked after every step and film; None listens to Ctrl-C and SIGTERM.

    Raises:
        SplitLeakError: the run has seen a test film or its patient, and `transductive` is off.
        UsageError: films without masks, names that are not there, translated films of a one-way method.
        MaskMismatchError: masks that don't fit their film, labels that no structure is.
        NothingUsableError: no film, or too few source images with masks.
        InterruptedRunError: a stop was requested; calling again continues.
    """
    with _begin(config, case, (1, 1), stop) as begun:
        train_unlabelled(begun.ground, _unlabelled_trainings(begun))
        testing = _open_films(begun)
        return _test(testing, begun.rows, begun.given, transductive=begun.seen)


def take_share(
    config: DownstreamConfig, case: Case, shard: tuple[int, int], *, stop: StopRequest | None = None
) -> str:
    """One share of the trainings and scores, for as many processes or machines as share `case.out`.

    All trainings without target labels come first. While one is not finished, a call trains its share of
    them, and no film is opened; once all are, a call trains its share of the others, and scores. What is left
    then, `measure_downstream` does.

    Args:
        config: rows, folds and seeds.
        case: the run and the films.
        shard: (i, n): this call takes every n-th training, from the i-th.
        stop: asked after every step and film; None listens to Ctrl-C and SIGTERM.

    Returns:
        in words, what was done and what comes next.

    Raises:
        As `measure_downstream`.
    """
    number, count = shard
    with _begin(config, case, shard, stop) as begun:
        wanted = _unlabelled_trainings(begun)
        if not all(begun.ground.is_trained(row, seed) for row, seed in wanted):
            train_unlabelled(begun.ground, wanted[number - 1 :: count])
            return (
                f"share {number} of {count}: trained without target labels; when all shares are, run them "
                "again for the trainings with target labels and the scores"
            )
        testing = _open_films(begun)
        starts = label_starts(begun.rows)
        labelled, _ = _feasible(testing, [row for row in begun.rows if row.labelled])
        testing.take_share(
            [row for row in begun.rows if not row.labelled],
            labelled,
            compared=starts[0] if starts else None,
        )
        return f"share {number} of {count}: trained and scored; when all are, run it without --shard"


def check_inputs(config: DownstreamConfig, case: Case) -> tuple[DatasetFolder, Labels, list[Predictions]]:
    """Refuse what is wrong with paths and names alone, in a moment; no film is opened.

    Returns:
        the films, which of their labels are scored, and the masks of other tools.

    Raises:
        UsageError, MaskMismatchError: as `measure_downstream`.
    """
    bidirectional = case.way_back is not None
    if not bidirectional and config.protocols == ("translate-at-test",):
        raise UsageError(
            "--protocol translate-at-test",
            found="a method that translates one way only",
            expected="a way from films to the source domain",
            remedy="use --protocol train-on-translated, or a run of a method that goes both ways",
        )
    folder = find_films(case.films)
    labels = find_labels(config, case.domains, case.source, folder)
    given = [find_predictions(name, place, labels) for name, place in case.extra.items()]
    _require_names(plan_rows(config, way_back=bidirectional), given)
    for predictions in given:
        for item in folder.items:
            predictions.find(item)
    return folder, labels, given


def count_trainings(config: DownstreamConfig, case: Case) -> int:
    """How many segmenters there are to train, at most: fewer where patients are too few for all folds."""
    rows = [row for row in plan_rows(config, way_back=case.way_back is not None) if row.trained]
    return len(config.seeds) * sum(config.folds if row.labelled else 1 for row in rows)


def train_unlabelled(ground: Ground, wanted: Sequence[tuple[Row, int]]) -> None:
    """Segmenters without a target label, of some rows and seeds."""
    progress = Progress("segmenters", len(wanted))
    for row, seed in wanted:
        ground.train(row, seed)
        progress.advance(f"{row.name}, seed {seed}")
    progress.close()


@dataclass(frozen=True)
class _Begun:
    """A job whose inputs were looked at."""

    ground: Ground
    rows: tuple[Row, ...]
    folder: DatasetFolder
    given: list[Predictions]
    way_back: FilmTranslation | None
    seen: bool


@contextmanager
def _begin(
    config: DownstreamConfig, case: Case, shard: tuple[int, int], stop: StopRequest | None
) -> Iterator[_Begun]:
    """Look at all inputs, and clear up in the end."""
    way_back = case.way_back
    folder, labels, given = check_inputs(config, case)
    with nullcontext(stop) if stop is not None else stop_on_signals() as asked:
        ground = Ground(
            config,
            case.domains,
            case.translated,
            case.source,
            case.target,
            case.out,
            labels,
            case.device,
            asked,
            shard,
        )
        rows = plan_rows(config, way_back=way_back is not None)
        ground.segmenter  # noqa: B018  its settings are checked before anything is read
        total = len(case.domains.source) + len(case.domains.target) + len(folder.items)
        with _ticking("checking the films", total, ground) as tick:
            seen = check_films(
                folder, case.domains, (case.source, case.target), transductive=config.transductive, tick=tick
            )
        yield _Begun(ground, rows, folder, given, way_back, seen)
        # links to the films and their labels must not stay in a folder that is handed on
        shutil.rmtree(ground.data, ignore_errors=True)


def _unlabelled_trainings(begun: _Begun) -> list[tuple[Row, int]]:
    rows = [row for row in begun.rows if row.trained and row.labelled == 0]
    return [(row, seed) for seed in begun.ground.config.seeds for row in rows]


def _open_films(begun: _Begun) -> Testing:
    ground = begun.ground
    with _ticking("reading the films", len(begun.folder.items), ground) as tick:
        found = read_films(begun.folder, ground.labels, tick)
    return Testing(ground, found, begun.way_back)


def _test(
    testing: Testing, rows: Sequence[Row], given: Sequence[Predictions], *, transductive: bool
) -> DownstreamResult:
    starts = label_starts(rows)
    labelled, notes = _feasible(testing, [row for row in rows if row.labelled])
    results = testing.test_unlabelled(
        [row for row in rows if not row.labelled], compared=starts[0] if starts else None
    )
    results += testing.test_labelled(labelled)
    results += testing.test_given(given)
    table = Table(testing.films, results)
    config, labels = testing.ground.config, testing.ground.labels
    if "translate-at-test" in config.protocols and testing.way_back is None:
        notes.append("The method translates one way only, so no row has translated films.")
    notes = [*film_remarks(testing.films), *notes]
    if transductive:
        notes.append("Transductive: the run has seen test films or their patients, without their labels.")
    scored = table.scored_rows(
        labels=f"{labels.source_convention}: {json.dumps(labels.parts)}", folds=hash_folds(testing)
    )
    return DownstreamResult(
        facts=compose_facts(table, testing, starts, transductive=transductive, notes=notes),
        rows=tuple(scored),
        own_minus_other=table.own_minus_other(),
        target_films_trainable=True,  # the run's own are: rows with a mean teacher are there to be beaten
        transductive=transductive,
        notes=tuple(notes),
    )


def _feasible(testing: Testing, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Rows with target labels for which the other folds have patients enough, and what is left out."""
    fewest, notes, kept = testing.fewest(), [], []
    for row in rows:
        needed = max(1, row.labelled)
        if fewest >= needed:
            kept.append(row)
        else:
            notes.append(
                f"No row '{row.name}': the other folds have {fewest} patient(s), and it needs {needed}."
            )
    return kept, notes


def _require_names(rows: Sequence[Row], given: Sequence[Predictions]) -> None:
    taken = {row.slug for row in rows}
    for predictions in given:
        slug = slug_of(predictions.name)
        if not slug or slug in taken:
            raise UsageError(
                f"--add {predictions.name}={predictions.folder}",
                found="the name of a row that is there",
                expected="a name of its own",
                remedy="choose another",
            )
        taken.add(slug)


@contextmanager
def _ticking(what: str, total: int, ground: Ground) -> Iterator[Callable[[], None]]:
    """Counts images of a pass, after each of which the job may stop."""
    progress = Progress(what, total)

    def tick() -> None:
        progress.advance()
        ground.stop.raise_if_requested(str(ground.out), "run the same command again to continue")

    try:
        yield tick
    finally:
        progress.close()
