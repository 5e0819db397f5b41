"""What segmenters find on the films, film by film, and how right that is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64

from medi2i.downstream.dont_care import find_dont_care
from medi2i.downstream.films import Film, Films
from medi2i.downstream.settings import DownstreamConfig
from medi2i.image import Radiograph
from medi2i.io.atomic import write_text_atomically
from medi2i.metrics.boundary import measure_boundary
from medi2i.metrics.fcn_score import FCNCounts, count_classes
from medi2i.metrics.overlap import dice
from medi2i.metrics.topology import betti_matching_error, cl_dice

MEASURES = (
    "dice",
    "dice_cared",
    "nsd",
    "hd95",
    "assd",
    "missed",
    "invented",
    "cl_dice",
    "betti_error",
    "dice_other",
)
_FORMAT = 1
Answer = Callable[[Film, Radiograph], Bool[np.ndarray, "K H W"]]


@dataclass(frozen=True)
class Part:
    """One segmenter, or one tool, on some of the films.

    Attributes:
        path: where its scores are kept.
        key: what tells it from others: its training, or the masks it gives.
        films: numbers of the films.
        load: makes what answers; called only where scores are to be taken.
        other: whether its answers are compared with labels of other patients, too.
    """

    path: Path
    key: str
    films: tuple[int, ...]
    load: Callable[[], Answer]
    other: bool = False


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a part.

    Attributes:
        films: numbers of the films.
        values: films x structures x `MEASURES`; NaN is undefined.
        counts: pixels for the FCN-score.
    """

    films: tuple[int, ...]
    values: Float64[np.ndarray, "F K M"]
    counts: FCNCounts


@dataclass(frozen=True)
class Scorer:
    """How answers are scored.

    Attributes:
        films: the films and their labels.
        config: tolerances and thin structures.
        tick: called for each film and part; may stop the job.
    """

    films: Films
    config: DownstreamConfig
    tick: Callable[[], None]

    def take(self, parts: Sequence[Part]) -> list[Scores]:
        """Scores of parts: those that are kept for the same films and settings, and the others film by film.

        Each film is opened once for all parts, so that a part's scores are written when all are complete.
        """
        marks = [self._mark(part) for part in parts]
        kept = [_read(part, mark) for part, mark in zip(parts, marks, strict=True)]
        todo = [number for number, scores in enumerate(kept) if scores is None]
        answers = {number: parts[number].load() for number in todo}
        taken: dict[int, list[tuple[np.ndarray, FCNCounts]]] = {number: [] for number in todo}
        for index, film in enumerate(self.films.films):
            wanted = [number for number in todo if index in parts[number].films]
            if not wanted:
                continue
            sight = self._look_at(index, film, other=any(parts[number].other for number in wanted))
            for number in wanted:
                found = answers[number](film, sight.radiograph)
                taken[number].append(self._score(found, sight, other=parts[number].other))
                self.tick()
        for number in todo:
            kept[number] = _join(parts[number].films, taken[number])
            _write(parts[number].path, marks[number], kept[number])
        return [scores for scores in kept if scores is not None]

    def _look_at(self, index: int, film: Film, *, other: bool) -> _Sight:
        radiograph, masks = self.films.read(film)
        names, valid = self.films.labels.structures, radiograph.valid
        others = self._labels_of_another(index) if other else None
        return _Sight(film, radiograph, masks & valid, find_dont_care(masks, names), others)

    def _labels_of_another(self, index: int) -> Bool[np.ndarray, "K H W"] | None:
        """Labels of the next film of another patient, at this film's matrix; None where there is none."""
        films = self.films.films
        for step in range(1, len(films)):
            other = films[(index + step) % len(films)]
            if other.patient != films[index].patient:
                return resize_masks(self.films.masks(other), films[index].shape)
        return None

    def _score(
        self, found: Bool[np.ndarray, "K H W"], sight: _Sight, *, other: bool
    ) -> tuple[Float64[np.ndarray, "K M"], FCNCounts]:
        config, masks, valid = self.config, sight.masks, sight.radiograph.valid
        found = found & valid
        outlines = measure_boundary(
            found,
            masks,
            spacing_mm=self.films.spacing(sight.film),
            tolerance_mm=config.tolerance_mm,
            tolerance_px=config.tolerance_px,
        )
        cared = ~sight.dont_care
        columns = {
            "dice": dice(found, masks),
            "dice_cared": dice(found & cared, masks & cared),
            "nsd": outlines.nsd,
            "hd95": outlines.hd95,
            "assd": outlines.assd,
            "missed": outlines.missed.astype(float),
            "invented": outlines.invented.astype(float),
            **self._thin(found, masks),
        }
        if other and sight.others is not None:
            columns["dice_other"] = dice(found, sight.others & valid)
        nothing = np.full(len(masks), np.nan)
        values = np.stack([columns.get(name, nothing) for name in MEASURES], axis=1)
        return values, count_classes(found, masks, None if valid.all() else valid)

    def _thin(self, found: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
        names = self.films.labels.structures
        planes = [names.index(name) for name in self.config.thin_of(names)]
        columns = {name: np.full(len(names), np.nan) for name in ("cl_dice", "betti_error")}
        if planes:
            columns["cl_dice"][planes] = cl_dice(found[planes], masks[planes])
            columns["betti_error"][planes] = betti_matching_error(found[planes], masks[planes]).sum(axis=1)
        return columns

    def _mark(self, part: Part) -> str:
        films, config = self.films, self.config
        facts = [
            _FORMAT,
            part.key,
            part.other,
            [(number, films.films[number].sha256) for number in part.films],
            # whose labels are another patient's hangs on all of them
            [film.sha256 for film in films.films] if part.other else [],
            {name: list(parts) for name, parts in films.labels.parts.items()},
            [films.unit, config.tolerance_mm, config.tolerance_px],
            list(config.thin_of(films.labels.structures)),
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class _Sight:
    """A film as it is being scored."""

    film: Film
    radiograph: Radiograph
    masks: np.ndarray
    dont_care: np.ndarray
    others: np.ndarray | None


def resize_masks(masks: Bool[np.ndarray, "K H W"], shape: tuple[int, int]) -> Bool[np.ndarray, "K h w"]:
    """Masks at another matrix, each pixel from the one that its middle lies in."""
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
        for new, old in zip(shape, masks.shape[1:], strict=True)
    )
    return masks[:, rows[:, None], columns]


def _join(films: tuple[int, ...], taken: Sequence[tuple[np.ndarray, FCNCounts]]) -> Scores:
    counts = [count for _, count in taken]
    return Scores(films, np.stack([values for values, _ in taken]), sum(counts[1:], counts[0]))


def _write(path: Path, mark: str, scores: Scores | None) -> None:
    if scores is None:
        return
    counts = scores.counts
    stored = {
        "fingerprint": mark,
        "films": list(scores.films),
        "measures": list(MEASURES),
        "values": list(_plain(scores.values)),
        "counts": {
            "shared": counts.shared.tolist(),
            "true": counts.true.tolist(),
            "union": counts.union.tolist(),
            "agreement": counts.agreement,
            "pixels": counts.pixels,
        },
    }
    write_text_atomically(path, json.dumps(stored, allow_nan=False))


def _plain(values: np.ndarray) -> Iterator[list[list[float | None]]]:
    for film in values.tolist():
        yield [[None if value != value else value for value in row] for row in film]


def _read(part: Part, mark: str) -> Scores | None:
    """Scores that are kept; None for those of other films or settings, and for a damaged file."""
    try:
        stored = json.loads(part.path.read_text(encoding="utf-8"))
        if stored["fingerprint"] != mark:
            return None
        counts = stored["counts"]
        shared, true, union = (
            np.array(counts[name], dtype=np.float64) for name in ("shared", "true", "union")
        )
        return Scores(
            part.films,
            np.array(stored["values"], dtype=np.float64),
            FCNCounts(shared, true, union, counts["agreement"], counts["pixels"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
