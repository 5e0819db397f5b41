"""Which pictures are shown beside which: pairs of a real film and another picture, drawn once for a page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from medi2i.data.manifest import ManifestRow
from medi2i.errors import NothingUsableError
from medi2i.reader_study.settings import ReaderStudyConfig

PairKind = Literal["practice", "trial", "check"]
PictureKind = Literal["film", "translated", "spoiled"]
_FEWEST_TRIALS = 4
_LARGEST_PRACTICE = 5  # at most a fifth of the pairs, where images are few
_FILMS_A_CHECK = 8  # where films are few, no more than one of eight goes into a check
_TRUST = {"test": 0, "validation": 1}  # images never trained on come first
_TOKEN_BYTES = 6


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the page.

    Attributes:
        token: its name in the page; says nothing of what it shows.
        id: the image's name in the run's manifest.
        kind: what was made of it.
    """

    token: str
    id: str
    kind: PictureKind


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures to choose between; `real` is the film, and `real_first` where the page lists it."""

    token: str
    kind: PairKind
    real: Picture
    other: Picture
    real_first: bool

    @property
    def shown(self) -> tuple[Picture, Picture]:
        """The pictures in the order in which the page lists them."""
        return (self.real, self.other) if self.real_first else (self.other, self.real)


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of pairs."""

    trials: int
    practice: int
    checks: int


def count_pairs(translations: int, films: int, config: ReaderStudyConfig) -> Counts:
    """How many pairs the images are enough for: no image is shown in two of them.

    Raises:
        NothingUsableError: not even four trials.
    """
    checks = min(config.checks, max(1, films // _FILMS_A_CHECK))
    pairs = min(translations, films - checks)
    practice = min(config.practice, max(0, pairs // _LARGEST_PRACTICE))
    trials = min(config.trials, pairs - practice) // 2 * 2
    if trials < _FEWEST_TRIALS:
        raise NothingUsableError(
            "reader study",
            found=f"{translations} translated images and {films} films",
            expected=f"enough for {_FEWEST_TRIALS} pairs and a check: {_FEWEST_TRIALS} and "
            f"{_FEWEST_TRIALS + 1}",
            remedy="use a run with more images",
        )
    return Counts(trials, practice, checks)


def draw_pairs(
    translations: Sequence[ManifestRow],
    films: Sequence[ManifestRow],
    config: ReaderStudyConfig,
    rng: np.random.Generator,
) -> list[Pair]:
    """Pairs of a page, kind by kind, two of them (a block) with the film once first and once second.

    Images never trained on are taken first, and as many patients as there are. Trials get the first of them,
    then checks and practice.

    Raises:
        NothingUsableError: too few images.
    """
    counts = count_pairs(len(translations), len(films), config)
    real, translated = iter(_order(films, rng)), iter(_order(translations, rng))
    numbers: tuple[tuple[PairKind, int], ...] = (
        ("trial", counts.trials),
        ("check", counts.checks),
        ("practice", counts.practice),
    )
    pairs: list[Pair] = []
    for kind, number in numbers:
        for film, first in zip(islice(real, number), _balance(number, rng), strict=True):
            if kind == "check":
                other = _picture(film, "spoiled", rng)
            else:
                other = _picture(next(translated), "translated", rng)
            pairs.append(Pair(_token(rng), kind, _picture(film, "film", rng), other, first))
    return pairs


def _order(rows: Sequence[ManifestRow], rng: np.random.Generator) -> list[ManifestRow]:
    """Rows at random, images never trained on first; within a split every patient once, then again."""
    turns: dict[tuple[str, str], int] = defaultdict(int)
    ranked = []
    for index in rng.permutation(len(rows)):
        row = rows[index]
        key = (row.split, row.patient or row.id)
        ranked.append((_TRUST.get(row.split, len(_TRUST)), turns[key], row))
        turns[key] += 1
    return [row for *_, row in sorted(ranked, key=lambda entry: entry[:2])]


def _balance(number: int, rng: np.random.Generator) -> list[bool]:
    """Film first or not: in every two once each; an odd last one is drawn."""
    firsts = rng.integers(2, size=(number + 1) // 2).astype(bool)
    return [bool(first) for one in firsts for first in (one, not one)][:number]


def _picture(row: ManifestRow, kind: PictureKind, rng: np.random.Generator) -> Picture:
    return Picture(_token(rng), row.id, kind)


def _token(rng: np.random.Generator) -> str:
    return rng.bytes(_TOKEN_BYTES).hex()
