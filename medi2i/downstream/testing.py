"""From segmenters to scores of the films; those of target labels are trained here, fold by fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from medi2i.data.settings import FramingConfig
from medi2i.downstream.films import Film, Films, draw_folds, draw_patients
from medi2i.downstream.given import Predictions
from medi2i.downstream.ground import Ground
from medi2i.downstream.material import Material, gather_films
from medi2i.downstream.rows import ALL, Row, adapt_segmenter, given_row
from medi2i.downstream.scoring import Answer, Part, Scorer, Scores
from medi2i.downstream.table import Result, join_parts
from medi2i.downstream.trainings import Training, model_folder, read_mark, take_last, tune
from medi2i.downstream.translation import FilmTranslation
from medi2i.image import Radiograph
from medi2i.segmentation import load_segmenter, segment_image
from medi2i.training.progress import Progress

_SCORES = "scores"


@dataclass(frozen=True)
class Testing:
    """The films and who is tested on them.

    Attributes:
        ground: what segmenters learned from.
        films: the test films.
        way_back: films as images of the source domain; None where the method goes one way.
    """

    ground: Ground
    films: Films
    way_back: FilmTranslation | None
    _back: dict[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def folds(self) -> tuple[int, ...]:
        """The outer fold of each patient."""
        config = self.ground.config
        return draw_folds(self.films.n_patients, config.folds, seed=config.fold_seed)

    @cached_property
    def _material(self) -> Material:
        ground = self.ground
        return gather_films(self.films, ground.segmenter.data, ground.data / "films")

    def others(self, fold: int) -> tuple[int, ...]:
        """Patients of the other folds."""
        return tuple(patient for patient, own in enumerate(self.folds) if own != fold)

    def fewest(self) -> int:
        """Patients of the other folds, where they are fewest; 0 for one patient."""
        return min(len(self.others(fold)) for fold in set(self.folds))

    def test_unlabelled(self, rows: Sequence[Row], *, compared: Row | None) -> list[Result]:
        """Scores of rows without target labels: those of a seed together, so that films are opened once.

        Args:
            compared: the row that is also compared with labels of other patients.
        """
        config, n = self.ground.config, len(self.films.films)
        progress = Progress("scoring", len(rows) * len(config.seeds) * n)
        by_seed: list[list[Scores]] = []
        for seed in config.seeds:
            self._back.clear()
            parts = [self._part(row, seed, other=row is compared) for row in rows]
            by_seed.append(self._scorer(progress).take(parts))
        progress.close()
        return [join_parts(row, n, [[scores[place]] for scores in by_seed]) for place, row in enumerate(rows)]

    def take_share(self, unlabelled: Sequence[Row], labelled: Sequence[Row], *, compared: Row | None) -> None:
        """Scores of this share of the seeds' rows without target labels, and of folds of the others."""
        number, count = self.ground.shard
        seeds, folds = self.ground.config.seeds, sorted(set(self.folds))
        parts = [self._part(row, seed, other=row is compared) for seed in seeds for row in unlabelled]
        mine = [(row, seed, fold) for seed in seeds for row in labelled for fold in folds][
            number - 1 :: count
        ]
        tested = sum(self.folds[film.patient] == fold for film in self.films.films for *_, fold in mine)
        own = parts[number - 1 :: count]
        progress = Progress(f"share {number} of {count}", len(own) * len(self.films.films) + tested)
        self._scorer(progress).take(own)
        for row, seed, fold in mine:
            self._scorer(progress).take([self._labelled_part(row, seed, fold)])
        progress.close()

    def test_given(self, predictions: Sequence[Predictions]) -> list[Result]:
        """Scores of other tools' masks, which have no seed.

        Raises:
            MaskMismatchError: a film's masks are not there, or don't fit it.
        """
        n = len(self.films.films)
        progress = Progress("scoring what was given", len(predictions) * n)
        rows = [given_row(given.name) for given in predictions]
        parts = [
            Part(
                path=self._scores(row, "given"),
                key=given.digest(self.films.films),
                films=tuple(range(n)),
                load=lambda given=given: given.answer,  # type: ignore[misc]
            )
            for row, given in zip(rows, predictions, strict=True)
        ]
        scores = self._scorer(progress).take(parts)
        progress.close()
        return [join_parts(row, n, [[found]]) for row, found in zip(rows, scores, strict=True)]

    def test_labelled(self, rows: Sequence[Row]) -> list[Result]:
        """Train and test rows with target labels, on each fold of patients by those of the others."""
        config, n = self.ground.config, len(self.films.films)
        folds = sorted(set(self.folds))
        progress = Progress("few-shot and oracle", len(rows) * len(config.seeds) * n)
        found: dict[str, list[list[Scores]]] = {row.name: [] for row in rows}
        for seed in config.seeds:
            for row in rows:
                parts = [self._labelled_part(row, seed, fold) for fold in folds]
                found[row.name].append([self._scorer(progress).take([part])[0] for part in parts])
        progress.close()
        return [join_parts(row, n, found[row.name]) for row in rows]

    def _labelled_part(self, row: Row, seed: int, fold: int) -> Part:
        model = self.train_labelled(row, seed, fold)
        own = {patient for patient, of in enumerate(self.folds) if of == fold}
        return Part(
            path=self._scores(row, f"seed{seed}-fold{fold}"),
            key=read_mark(model),
            films=tuple(k for k, film in enumerate(self.films.films) if film.patient in own),
            load=lambda: self._segmenter(model),
            other=row.labelled == ALL,
        )

    def train_labelled(self, row: Row, seed: int, fold: int) -> Path:
        """On the labels of other folds' patients; the oracle as much as any row, few-shot rows shortly."""
        ground, patients = self.ground, self.others(fold)
        config, begins = ground.segmenter, None
        if row.labelled == ALL:
            # films are framed as films are: the small framing of the segmenter's own
            config = take_last(adapt_segmenter(config, row, config.data.framing or FramingConfig()))
        else:
            patients = draw_patients(patients, row.labelled, seed=seed, fold=fold)
            config = tune(adapt_segmenter(config, row, ground.framing.framing), ground.config.tuning)
            begins = model_folder(ground.out, str(row.begins), seed)
        material = self._material
        return ground.trainings.train(
            Training(
                row.name,
                config.model_copy(update={"seed": seed}),
                material.choose(patients),
                material.digest,
                fold=fold,
                init_from=begins,
            )
        )

    def _part(self, row: Row, seed: int, *, other: bool) -> Part:
        model = model_folder(self.ground.out, row.model or row.name, seed)
        key = read_mark(model)
        if row.model:
            key = f"{key}|{self.ground.translated_by}"
        return Part(
            path=self._scores(row, f"seed{seed}"),
            key=key,
            films=tuple(range(len(self.films.films))),
            load=lambda: self._segmenter(model, translated=bool(row.model)),
            other=other,
        )

    def _segmenter(self, model: Path, *, translated: bool = False) -> Answer:
        segmenter = load_segmenter(model, device=self.ground.device)

        def answer(film: Film, radiograph: Radiograph) -> Bool[np.ndarray, "K H W"]:
            image = self._translate(film, radiograph) if translated else radiograph.pixels
            return segment_image(segmenter, image, radiograph.valid)

        return answer

    def _translate(self, film: Film, radiograph: Radiograph) -> Float32[np.ndarray, "H W"]:
        """A film in the source domain; the last one is kept, since several rows ask for it in turn."""
        if film.sha256 not in self._back:
            self._back.clear()
            if self.way_back is None:
                raise AssertionError("no row with translated films is planned without a way back")
            self._back[film.sha256] = self.way_back(radiograph)
        return self._back[film.sha256]

    def _scorer(self, progress: Progress) -> Scorer:
        return Scorer(self.films, self.ground.config, self._ticker(progress))

    def _ticker(self, progress: Progress) -> Callable[[], None]:
        def tick() -> None:
            progress.advance()
            self.ground.stop.raise_if_requested(
                str(self.ground.out), "run the same command again to continue"
            )

        return tick

    def _scores(self, row: Row, part: str) -> Path:
        return self.ground.out / _SCORES / row.slug / f"{part}.json"
