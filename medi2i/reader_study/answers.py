"""Readers' files: written by a page in somebody's browser, so nothing in them is taken for granted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medi2i.errors import NothingUsableError, UsageError
from medi2i.reader_study.key import Key

_LARGEST_BYTES = 2_000_000
_MOST_ANSWERS = 1_000
Token = Annotated[str, Field(pattern=r"^[0-9a-f]{1,32}$")]
Milliseconds = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    """A part of the file; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Answer(_Part):
    """One pair: its pictures in the order in which the reader saw them, and the one taken for the film."""

    pair: Token
    shown: tuple[Token, Token]
    chosen: Token
    shown_ms: tuple[Milliseconds | None, Milliseconds | None]
    response_ms: Milliseconds


class AnswerSheet(_Part):
    """What one reader saved."""

    format: Literal[1]
    study: Token
    reader: Annotated[str, Field(pattern=r"^[A-Za-z0-9._\-]{1,40}$")]
    experience: Literal["daily", "sometimes", "never", "not said"]
    seconds: float | None
    started: Annotated[str, Field(max_length=40)]
    finished: Annotated[str, Field(max_length=40)]
    answers: Annotated[tuple[Answer, ...], Field(max_length=_MOST_ANSWERS)]


def read_answers(folder: Path, keys: dict[str, Key]) -> tuple[Key, list[AnswerSheet], list[tuple[str, str]]]:
    """All answer sheets of a folder, the earliest first.

    Returns:
        the key of their study, the sheets, and `(file name, reason)` of files that can't be used.

    Raises:
        UsageError: no folder, or answers of two studies in it.
        NothingUsableError: no usable file.
    """
    if not folder.is_dir():
        raise UsageError(
            folder, found="no folder", expected="a folder of answers-*.json", remedy="check --score"
        )
    sheets, unusable = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            sheets.append(_read_sheet(path, keys))
        except ValueError as error:
            unusable.append((path.name, str(error)))
    studies = sorted({sheet.study for sheet in sheets})
    if not studies:
        raise NothingUsableError(
            folder,
            found="; ".join(f"{name}: {reason}" for name, reason in unusable[:3]) or "no .json file",
            expected="files that readers saved with a page of this run",
            remedy="collect them in one folder",
        )
    if len(studies) > 1:
        raise UsageError(
            folder,
            found=f"answers to {len(studies)} pages ({', '.join(studies)})",
            expected="answers to one page",
            remedy="put each page's answers into a folder of its own, by the mark in their names",
        )
    return keys[studies[0]], sorted(sheets, key=lambda sheet: (sheet.finished, sheet.reader)), unusable


def _read_sheet(path: Path, keys: dict[str, Key]) -> AnswerSheet:
    """One file, checked against the key.

    Raises:
        ValueError: in a few words, why it can't be used.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError("too large for an answer file")
        sheet = AnswerSheet.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"unreadable ({error.strerror})") from None
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise ValueError(f"no answer file ({place}: {problem['msg']})") from None
    key = keys.get(sheet.study)
    if key is None:
        raise ValueError(f"of page {sheet.study}, which was not made of this run")
    if sheet.seconds != key.seconds:
        raise ValueError("other times than the page has")
    _check_tokens(sheet.answers, key)
    return sheet


def _check_tokens(answers: Sequence[Answer], key: Key) -> None:
    pairs = {pair.token: pair for pair in key.pairs}
    if len({answer.pair for answer in answers}) != len(answers):
        raise ValueError("a pair is answered twice")
    for answer in answers:
        pair = pairs.get(answer.pair)
        if pair is None or set(answer.shown) != {pair.real, pair.other} or answer.chosen not in answer.shown:
            raise ValueError(f"pair {answer.pair} is not as the page has it")
