"""The rows of the table: what each is trained on, by which techniques, and what it stands on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from medi2i.data.settings import FramingConfig
from medi2i.downstream.settings import DownstreamConfig, Protocol
from medi2i.segmentation import SegmenterConfig
from medi2i.segmentation.appearance import AppearanceConfig

Images = Literal["source", "histogram", "translated", "films"]
ORACLE = "oracle"
SOURCE_ONLY = "source only"
ALL = -1  # labelled patients: all of the other folds
_RANDOMISATION, _FRAMING, _TEACHER = "randomisation", "framing", "mean_teacher"
# rows without the adapter, each with what tells it from `source only`
_TECHNIQUES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (SOURCE_ONLY, ()),
    ("randomisation", (_RANDOMISATION,)),
    ("framing + randomisation", (_FRAMING, _RANDOMISATION)),
    ("framing + randomisation + mean teacher", (_FRAMING, _RANDOMISATION, _TEACHER)),
)
_IN_WORDS = {
    "source": "source images",
    "histogram": "source images, histogram-matched to the target",
    "translated": "source images, translated by the run",
}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: as the table says it.
        images: what it is trained on.
        techniques: of `framing`, `randomisation`, `mean_teacher`, `histogram`.
        adapter: whether the run's adapter translated what it is trained or tested on.
        base: the row without the adapter that it stands on.
        protocol: how the adapter is used; `given` for predictions of another tool.
        labelled: target patients whose labels it is trained on; `ALL`: all of the other folds.
        model: name of the row whose segmenter it is; its own unless films are translated.
        begins: name of the row whose weights a few-shot training starts from.
    """

    name: str
    images: Images = "source"
    techniques: tuple[str, ...] = ()
    adapter: bool = False
    base: str | None = None
    protocol: Protocol | Literal["given"] = "train-on-translated"
    labelled: int = 0
    model: str = ""
    begins: str | None = None

    @property
    def trained(self) -> bool:
        """Whether it has a training of its own."""
        return not self.model and self.protocol != "given"

    @property
    def slug(self) -> str:
        """Its name as a folder."""
        return slug_of(self.name)

    @property
    def trained_on(self) -> str:
        """In words, what it learned from."""
        if self.protocol == "given":
            return "unknown: masks of another tool"
        if self.labelled == ALL:
            return "target films and their labels, of the other folds"
        words = _IN_WORDS[self.images]
        if _TEACHER in self.techniques:
            words += ", and unlabelled target films"
        if self.labelled:
            words += f"; then the labels of {self.labelled} target patient(s) of the other folds"
        return words


def slug_of(name: str) -> str:
    """A row's name as a folder."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def plan_rows(config: DownstreamConfig, *, way_back: bool) -> tuple[Row, ...]:
    """All rows that are trained, in the order of the table.

    Args:
        way_back: whether the run's method translates films to the source domain.
    """
    wanted = [
        (name, techniques)
        for name, techniques in _TECHNIQUES
        if config.framing != "none" or _FRAMING not in techniques
    ]
    rows = [Row(name, techniques=techniques) for name, techniques in wanted]
    rows.insert(1, Row("histogram", "histogram", ("histogram",)))
    if "train-on-translated" in config.protocols:
        rows += [_with_adapter(name, techniques) for name, techniques in wanted]
    if "translate-at-test" in config.protocols and way_back:
        rows += [
            replace(
                _with_adapter(name, techniques),
                name=f"{_adapter_name(name)}, films translated",
                images="source",
                protocol="translate-at-test",
                model=name,
            )
            for name, techniques in wanted
        ]
    rows += _few_shot(config, rows)
    rows.append(Row(ORACLE, "films", (_FRAMING, _RANDOMISATION), labelled=ALL))
    return tuple(rows)


def given_row(name: str) -> Row:
    """The row of another tool's predictions."""
    return Row(name, protocol="given")


def adapt_segmenter(config: SegmenterConfig, row: Row, framing: FramingConfig) -> SegmenterConfig:
    """The settings of a row's segmenter: what its techniques name is on, all else is off.

    Args:
        framing: of crops, where framing is among the techniques.
    """
    looks = config.appearance or AppearanceConfig()
    crops = framing if _FRAMING in row.techniques else None
    return config.model_copy(
        update={
            "appearance": looks if _RANDOMISATION in row.techniques else None,
            "data": config.data.model_copy(update={"framing": crops}),
        }
    )


def label_starts(rows: Sequence[Row]) -> list[Row]:
    """The rows that few-shot trainings begin with, without and with the adapter: those with all techniques
    that ask for no target film.
    """
    starts = []
    for adapter in (False, True):
        own = [
            row
            for row in rows
            if row.trained
            and row.adapter is adapter
            and row.labelled == 0
            and _RANDOMISATION in row.techniques
            and not learns_from_films(row)
        ]
        starts += own[-1:]
    return starts


def learns_from_films(row: Row) -> bool:
    """Whether it is also trained on unlabelled target films."""
    return _TEACHER in row.techniques


def _adapter_name(name: str) -> str:
    return "adapter" if name == SOURCE_ONLY else f"adapter + {name}"


def _with_adapter(name: str, techniques: tuple[str, ...]) -> Row:
    return Row(_adapter_name(name), "translated", techniques, adapter=True, base=name)


def _few_shot(config: DownstreamConfig, rows: list[Row]) -> Iterator[Row]:
    for start in label_starts(rows):
        for count in config.labelled:
            name = f"few-shot {count}"
            yield replace(
                start,
                name=f"adapter, {name}" if start.adapter else name,
                base=name if start.adapter else None,
                labelled=count,
                begins=start.name,
            )
