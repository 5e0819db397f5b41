"""How often readers took a translated image for the real film, reader by reader and over readers."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from medi2i.evaluation import read_results
from medi2i.io.atomic import write_text_atomically
from medi2i.metrics.statistics import wilson_interval
from medi2i.reader_study.answers import Answer, AnswerSheet, read_answers
from medi2i.reader_study.key import Key, read_keys
from medi2i.reader_study.proportions import effective_trials

SCORE_FORMAT = 1
SCORE_NAME = "reader_study.json"


@dataclass(frozen=True)
class ReaderScore:
    """One reader who counts.

    Attributes:
        reader: the code that the reader gave.
        experience: how often the reader reads films, as the reader said.
        fooled: trials in which the translated image was taken for the film, of `trials`.
        share: fooled / trials; 0.5 is guessing.
        low, high: 95 % Wilson interval of the share.
        chose_first: share of trials in which the picture shown first was chosen; far from 0.5 is a habit.
        median_response_s: from the moment when an answer could be given.
    """

    reader: str
    experience: str
    fooled: int
    trials: int
    share: float
    low: float
    high: float
    chose_first: float
    median_response_s: float


@dataclass(frozen=True)
class Share:
    """The mean share over readers; its interval is None for fewer than two of them.

    Attributes:
        effective_trials: what the answers are worth, with the reader as unit.
    """

    estimate: float | None
    low: float | None
    high: float | None
    effective_trials: float | None


@dataclass(frozen=True)
class Excluded:
    """A reader whose answers do not count, and why."""

    reader: str
    reason: str


@dataclass(frozen=True)
class ImageScore:
    """A translated image: how many of the readers took it for the film."""

    id: str
    fooled: int
    readers: int


@dataclass(frozen=True)
class ReaderStudyScore:
    """Everything that a study's answers say.

    Attributes:
        seconds: how long a picture was shown; None for free time.
        trials, checks: numbers of pairs a reader answered.
        splits, patients: what the trials show, by domain (see `Key`).
        unusable: files that are no answers to this page, and why.
    """

    format: int
    study: str
    seconds: float | None
    trials: int
    checks: int
    splits: dict[str, dict[str, int]]
    patients: dict[str, int | None]
    share: Share
    readers: tuple[ReaderScore, ...]
    excluded: tuple[Excluded, ...]
    unusable: tuple[tuple[str, str], ...]
    images: tuple[ImageScore, ...]


def score_study(run: Path, folder: Path) -> ReaderStudyScore:
    """Score a folder of answers, and write the score into the run.

    Leaves `reader_study.json`, and the same under `reader_study` in `results.json`, which the report reads.

    Raises:
        CheckpointError: the run has no key or no results.
        UsageError: no folder, or answers to two pages in it.
        NothingUsableError: no usable file of answers.
    """
    key, sheets, unusable = read_answers(folder, read_keys(run))
    score = score_answers(key, sheets, unusable)
    results = read_results(run / "results.json")
    content = dataclasses.asdict(score)
    write_text_atomically(run / SCORE_NAME, json.dumps(content, indent=1, allow_nan=False))
    results["reader_study"] = content
    write_text_atomically(run / "results.json", json.dumps(results, indent=1, allow_nan=False))
    return score


def score_answers(
    key: Key, sheets: Sequence[AnswerSheet], unusable: Sequence[tuple[str, str]] = ()
) -> ReaderStudyScore:
    """Shares fooled; readers who missed a check, stopped early or came a second time are left out.

    The interval over readers is a Wilson interval of their mean share at the number of independent trials
    that they are worth (`effective_trials`). It speaks of readers like these, for the images of this page.

    Args:
        key: of the page.
        sheets: answers to it, the earliest first.
        unusable: files to be listed.
    """
    counted: list[AnswerSheet] = []
    excluded: list[Excluded] = []
    for number, sheet in enumerate(sheets):
        reason = _reason_against(sheet, key, {other.reader for other in sheets[:number]})
        if reason is None:
            counted.append(sheet)
        else:
            excluded.append(Excluded(sheet.reader, reason))
    readers = tuple(_score_reader(sheet, key) for sheet in counted)
    trials = key.of_kind("trial")
    return ReaderStudyScore(
        format=SCORE_FORMAT,
        study=key.study,
        seconds=key.seconds,
        trials=len(trials),
        checks=len(key.of_kind("check")),
        splits=key.splits,
        patients=key.patients,
        share=_share_over(readers),
        readers=readers,
        excluded=tuple(excluded),
        unusable=tuple(unusable),
        images=_score_images(counted, key),
    )


def _reason_against(sheet: AnswerSheet, key: Key, earlier: Set[str]) -> str | None:
    if sheet.reader in earlier:
        return "a second time by this reader: only the first can count"
    scored = key.of_kind("trial").keys() | key.of_kind("check").keys()
    missing = scored - {answer.pair for answer in sheet.answers}
    if missing:
        return f"{len(missing)} of {len(scored)} pairs not answered"
    checks = key.of_kind("check")
    wrong = sum(_is_fooled(answer, key) for answer in sheet.answers if answer.pair in checks)
    if wrong:
        return f"{wrong} of {len(checks)} attention checks wrong"
    return None


def _score_reader(sheet: AnswerSheet, key: Key) -> ReaderScore:
    trials = key.of_kind("trial")
    answers = [answer for answer in sheet.answers if answer.pair in trials]
    fooled, number = sum(_is_fooled(answer, key) for answer in answers), len(answers)
    low, high = wilson_interval(fooled, number)
    return ReaderScore(
        reader=sheet.reader,
        experience=sheet.experience,
        fooled=fooled,
        trials=number,
        share=fooled / number,
        low=low,
        high=high,
        chose_first=sum(answer.chosen == answer.shown[0] for answer in answers) / number,
        median_response_s=statistics.median(answer.response_ms for answer in answers) / 1000,
    )


def _share_over(readers: Sequence[ReaderScore]) -> Share:
    if not readers:
        return Share(None, None, None, None)
    shares = [reader.share for reader in readers]
    estimate = statistics.fmean(shares)
    worth = effective_trials(shares, sum(reader.trials for reader in readers))
    low, high = wilson_interval(estimate * worth, worth) if worth is not None else (None, None)
    return Share(estimate, low, high, worth)


def _score_images(sheets: Sequence[AnswerSheet], key: Key) -> tuple[ImageScore, ...]:
    """The images that give themselves away most come first."""
    fooled = dict.fromkeys(key.of_kind("trial"), 0)
    for sheet in sheets:
        for answer in sheet.answers:
            if answer.pair in fooled:
                fooled[answer.pair] += _is_fooled(answer, key)
    ids = {token: pair.other_id for token, pair in key.of_kind("trial").items()}
    ranked = sorted(fooled, key=lambda token: (fooled[token], ids[token]))
    return tuple(ImageScore(ids[token], fooled[token], len(sheets)) for token in ranked)


def _is_fooled(answer: Answer, key: Key) -> bool:
    real = next(pair.real for pair in key.pairs if pair.token == answer.pair)
    return answer.chosen != real
