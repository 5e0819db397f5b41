"""Which structures of the source are which labels of the films, and by which definition."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from medi2i.data.manifest import ManifestRow, load_masks
from medi2i.data.table_files import read_json
from medi2i.errors import UsageError
from medi2i.evaluation import Domains
from medi2i.evaluation.domains import patients
from medi2i.metrics.overlap import dice
from medi2i.metrics.statistics import mean_interval

_FILM = "_film"  # what `medi2i drr --convention both` adds to a lung's name


@dataclass(frozen=True)
class Labels:
    """The structures of the table.

    Attributes:
        parts: label of the films to the structures of the source that together are it, in the films' order.
        source_convention, target_convention: of `dataset.json`, None where it doesn't say.
        left_out: labels of the films that are not scored.
    """

    parts: Mapping[str, tuple[str, ...]]
    source_convention: str | None = None
    target_convention: str | None = None
    left_out: tuple[str, ...] = ()

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the rows' structures."""
        return tuple(self.parts)

    def unite(self, masks: Bool[np.ndarray, "N H W"], names: Sequence[str]) -> Bool[np.ndarray, "K H W"]:
        """Masks of the source's structures as masks of the films' labels."""
        planes = [masks[[names.index(part) for part in parts]].any(axis=0) for parts in self.parts.values()]
        return np.stack(planes)

    def choose(self, masks: Bool[np.ndarray, "N H W"], names: Sequence[str]) -> Bool[np.ndarray, "K H W"]:
        """The films' masks of the labels that are scored."""
        return masks[[names.index(name) for name in self.parts]]


def match_labels(
    source: Sequence[str],
    films: Sequence[str],
    asked: Mapping[str, tuple[str, ...]],
    *,
    conventions: tuple[str | None, str | None] = (None, None),
) -> Labels:
    """Which structures are which labels: as asked for, else those of the same name.

    Where the source has a lung by both conventions, the films' own is taken, as far as they state it.

    Args:
        source: structures of the source.
        films: labels of the films.
        asked: label to structures; none of them leaves it out.
        conventions: of source and films, as `dataset.json` states them.

    Raises:
        UsageError: a name that was asked for is not there, a label has no structure of its name, or none is
            left.
    """
    for label, parts in asked.items():
        _require_name(f"--map {label}=...", label, films, "labels of the films")
        for part in parts:
            _require_name(f"--map {label}={part}", part, source, "structures of the source")
    chosen: dict[str, tuple[str, ...]] = {}
    for label in films:
        found = asked[label] if label in asked else _of_same_name(label, source, conventions[1])
        if found is None:
            near = closest(label, source) or "+".join(_of_a_common_word(label, source))
            raise UsageError(
                f"label '{label}'",
                found="no structure of the source has this name",
                expected=f"one of {', '.join(source)}",
                remedy=f'say what it is, --map "{label}={near or source[0]}" (+ joins several), or leave it '
                f'out, --map "{label}="',
            )
        if found:
            chosen[label] = found
    if not chosen:
        raise UsageError(
            "--target-labels",
            found="no label that is to be scored",
            expected="at least one",
            remedy="leave fewer out with --map",
        )
    return Labels(chosen, *conventions, left_out=tuple(name for name in films if name not in chosen))


def read_convention(folder: Path) -> str | None:
    """What `dataset.json` calls the definition of its lungs, e.g. `film`; None where it doesn't say.

    Raises:
        DatasetFolderError: the file can't be read.
    """
    stated = read_json(folder / "dataset.json").get("convention")
    return str(stated) if stated else None


def closest(name: str, names: Sequence[str]) -> str | None:
    """The most similar of some names, whatever its case and the order of its words; None if none is."""
    plain = {_plain(other): other for other in reversed(names)}
    near = difflib.get_close_matches(_plain(name), plain, n=1)
    return plain[near[0]] if near else None


def measure_ceiling(domains: Domains, labels: Labels) -> tuple[list[dict[str, Any]], str]:
    """Dice of one convention against the other on the source's own views: what a definition gap leaves.

    Returns:
        `structure` and `dice` of each label with a part that the source has by both conventions; and in
        words what that is, or how to get it.
    """
    rows = [row for row in domains.source if row.mask is not None]
    known = rows[0].structures if rows else ()
    both = {
        label: parts
        for label, parts in labels.parts.items()
        if any(_whole(part) in known and _whole(part) + _FILM in known for part in parts)
    }
    if not both:
        return [], (
            "unknown: the source has its masks by one convention only; render it with --convention both"
        )
    scores = np.array([_compare(row, domains.source_root, both) for row in rows])
    groups = patients(rows)
    found = [
        {"structure": label, "dice": asdict(mean_interval(scores[:, plane], groups))}
        for plane, label in enumerate(both)
    ]
    return found, "Dice of the film convention against the whole shadow, on the source's own views"


def _compare(row: ManifestRow, root: Path, both: Mapping[str, tuple[str, ...]]) -> np.ndarray:
    names = row.structures
    masks = load_masks(root / str(row.mask), names, (row.rows, row.columns))

    def unite(film: bool) -> np.ndarray:
        return np.stack(
            [
                masks[[names.index(_variant(part, names, film=film)) for part in parts]].any(axis=0)
                for parts in both.values()
            ]
        )

    return dice(unite(True), unite(False))


def _variant(part: str, names: Sequence[str], *, film: bool) -> str:
    whole = _whole(part)
    wanted = whole + _FILM if film else whole
    return wanted if wanted in names else part


def _whole(part: str) -> str:
    return part.removesuffix(_FILM)


def _of_same_name(label: str, source: Sequence[str], convention: str | None) -> tuple[str, ...] | None:
    if convention == "film" and label + _FILM in source:
        return (label + _FILM,)
    return (label,) if label in source else None


def _of_a_common_word(label: str, names: Sequence[str]) -> list[str]:
    """Those that share a word with a label, as both lungs do with `lungs`; no film mask beside its shadow."""
    words = {word.removesuffix("s") for word in _plain(label).split()}
    found = [name for name in names if words & {word.removesuffix("s") for word in _plain(name).split()}]
    return [name for name in found if not (name.endswith(_FILM) and _whole(name) in found)]


def _require_name(subject: str, name: str, names: Sequence[str], what: str) -> None:
    if name not in names:
        near = closest(name, names)
        raise UsageError(
            subject,
            found=f"no '{name}'",
            expected=f"{what}: {', '.join(names)}",
            remedy=f"did you mean '{near}'?" if near else "mend the name",
        )


def _plain(name: str) -> str:
    return " ".join(sorted(re.split(r"[\W_]+", name.lower())))
