"""The key of right answers: it stays in the run folder, and the page doesn't hold it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from medi2i.errors import CheckpointError
from medi2i.io.atomic import write_text_atomically
from medi2i.reader_study.settings import ReaderStudyConfig
from medi2i.reader_study.trials import Pair, PairKind

KEY_FORMAT = 1
_FOLDER = "reader_study"
_ID_DIGITS = 12


class _Part(BaseModel):
    """A part of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class KeyPair(_Part):
    """A pair as the page shows it: tokens of its pictures, and the ids of what they were made of."""

    token: str
    kind: PairKind
    real: str
    other: str
    real_id: str
    other_id: str


class Key(_Part):
    """What answers are compared with.

    Attributes:
        study: marks the page, its answers and its key.
        splits: for both domains, how many trials show an image of each split.
        patients: for both domains, how many patients the trials show; None when one is unknown.
    """

    format: Literal[1]
    study: str
    seconds: float | None
    splits: dict[str, dict[str, int]]
    patients: dict[str, int | None]
    pairs: tuple[KeyPair, ...]

    def of_kind(self, kind: PairKind) -> dict[str, KeyPair]:
        """Pairs of one kind, by token."""
        return {pair.token: pair for pair in self.pairs if pair.kind == kind}


def name_study(pairs: list[Pair], config: ReaderStudyConfig) -> str:
    """A name that the same images, pairs and settings always get; tells nothing of them."""
    content = f"{config.model_dump_json()}{pairs!r}"
    return hashlib.sha256(content.encode()).hexdigest()[:_ID_DIGITS]


def to_key_pairs(pairs: list[Pair]) -> tuple[KeyPair, ...]:
    """Pairs as the key holds them."""
    return tuple(
        KeyPair(
            token=pair.token,
            kind=pair.kind,
            real=pair.real.token,
            other=pair.other.token,
            real_id=pair.real.id,
            other_id=pair.other.id,
        )
        for pair in pairs
    )


def write_key(run: Path, key: Key) -> Path:
    """Write `reader_study/<study>.json` in the run folder.

    Raises:
        DiskFullError: there is no room.
        EnvironmentProblemError: the folder can't be written to.
    """
    path = run / _FOLDER / f"{key.study}.json"
    write_text_atomically(path, key.model_dump_json(indent=1))
    return path


def read_keys(run: Path) -> dict[str, Key]:
    """The keys of a run's pages, by study.

    Raises:
        CheckpointError: there is none, or one is damaged.
    """
    paths = sorted((run / _FOLDER).glob("*.json"))
    if not paths:
        raise CheckpointError(
            run / _FOLDER,
            found="no key",
            expected="the key that `medi2i reader-study RUN --out page.html` left in the run",
            remedy="score with the run that the page was made of",
        )
    keys = [_read_key(path) for path in paths]
    return {key.study: key for key in keys}


def _read_key(path: Path) -> Key:
    try:
        return Key.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CheckpointError(
            path,
            found=f"no readable key ({type(error).__name__})",
            expected="the key of a reader study, as medi2i wrote it",
            remedy="copy it from the run that the page was made of",
        ) from None
