"""Which structures of a CT's labels a data set shows: single ones, groups, and patterns of names."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from medi2i.config import Config
from medi2i.errors import UsageError
from medi2i.volume import LabelVolume

_SHOWN = 8


class StructuresConfig(Config):
    """Structures and groups of structures.

    Names may be patterns (`rib_*`, `vertebrae_T?`), which stand for all structures that match and have
    voxels. A group may hold groups that are defined above it. A name that is both a group's and a structure's
    means the structure inside a group, and the group elsewhere unless it has no members in these labels.

    Attributes:
        names: what is shown, in this order; None for every structure with voxels, then every group with
            voxels.
        groups: unions of structures by name.
        label_names: structure of each value, for label maps that bring no names themselves.
        absent: what becomes of a name that the labels don't know: an error (`refuse`); no mask, with a note
            (`drop`); or an empty mask, with a note (`empty`). `drop` also leaves out what is known and has no
            voxel, which otherwise gets an empty mask.
    """

    names: tuple[str, ...] | None = None
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    label_names: dict[int, str] | None = None
    absent: Literal["refuse", "drop", "empty"] = "refuse"

    @model_validator(mode="after")
    def _names_are_plain_and_unique(self) -> StructuresConfig:
        if self.names is not None and len(set(self.names)) != len(self.names):
            raise ValueError("names: each structure can be shown only once")
        for name, members in self.groups.items():
            if _is_pattern(name) or not name.strip():
                raise ValueError(f"groups: '{name}' is no plain name")
            if not members:
                raise ValueError(f"groups: '{name}' has no members")
        if self.label_names and min(self.label_names) < 1:
            raise ValueError("label_names: values count from 1; 0 is the background")
        return self


def select_structures(labels: LabelVolume, config: StructuresConfig) -> LabelVolume:
    """The structures and groups that `config` names, each a union of the labels' structures.

    Returns:
        labels of the same voxels, with notes about what is absent or partly absent.

    Raises:
        UsageError: a name that the labels don't know, with the nearest ones; or nothing is left.
    """
    counts = dict(zip(labels.structures, labels.voxel_counts().tolist(), strict=True))
    notes: list[str] = []
    groups = _resolve_groups(counts, config, notes)
    chosen: dict[str, tuple[str, ...]] = {}
    for name in _expand(counts, groups, config):
        members = groups.get(name) or ((name,) if name in counts else ())
        filled = any(counts[member] for member in members)
        if not members:
            _answer_unknown(name, counts, groups, config, notes)
        elif not filled:
            notes.append(f"'{name}' has no voxel in this CT{_outcome(config)}")
        if filled or config.absent == "empty" or (config.absent == "refuse" and members):
            chosen[name] = members
    if not chosen:
        raise UsageError(
            "structures",
            found=f"none of {_list(config.names or tuple(counts)) or 'nothing'} has a voxel in these labels",
            expected=f"at least one structure, of {_list(counts)}",
            remedy="check that the labels are this CT's, and choose structures that are labelled",
        )
    selected = labels.regroup(chosen)
    return LabelVolume(
        selected.codes,
        selected.membership,
        selected.structures,
        selected.affine,
        (*labels.notes, *dict.fromkeys(notes)),
    )


def absent_structures(labels: LabelVolume, config: StructuresConfig) -> tuple[str, ...]:
    """Names of `config` that stand for no structure of the labels, with voxels or without."""
    counts = dict.fromkeys(labels.structures, 1)
    lenient = config.model_copy(update={"absent": "empty"})
    groups = _resolve_groups(counts, lenient, [])
    return tuple(name for name in config.names or () if name not in counts and not groups.get(name))


def _expand(
    counts: Mapping[str, int], groups: Mapping[str, tuple[str, ...]], config: StructuresConfig
) -> list[str]:
    """The names that are shown, with patterns replaced by the structures with voxels that match."""
    if config.names is None:
        filled = [name for name, count in counts.items() if count and name not in groups]
        return filled + [name for name, members in groups.items() if any(counts[each] for each in members)]
    names: dict[str, None] = {}
    for name in config.names:
        is_pattern = _is_pattern(name) and name not in counts
        matches = [each for each in counts if counts[each] and fnmatch.fnmatchcase(each, name)]
        names.update(dict.fromkeys(matches if is_pattern and matches else [name]))
    return list(names)


def _resolve_groups(
    counts: Mapping[str, int], config: StructuresConfig, notes: list[str]
) -> dict[str, tuple[str, ...]]:
    """Structures of each group that is needed; unknown members are an error, or a note."""
    groups: dict[str, tuple[str, ...]] = {}
    for name, patterns in config.groups.items():
        members: dict[str, None] = {}
        unknown = []
        for pattern in patterns:
            matches = [each for each in counts if fnmatch.fnmatchcase(each, pattern)]
            if pattern in counts:
                members[pattern] = None
            elif pattern in groups:
                members.update(dict.fromkeys(groups[pattern]))
            elif _is_pattern(pattern):
                members.update(dict.fromkeys(matches))
            else:
                unknown.append(pattern)
        is_needed = config.names is None or name in config.names
        if is_needed and unknown and config.absent == "refuse":
            raise _unknown(unknown[0], f"group '{name}'", counts, groups)
        empty = [each for each in members if not counts[each]]
        if is_needed and len(empty) < len(members) and (empty or unknown):
            notes.append(f"group '{name}' is without {_list([*unknown, *empty])}, which this CT lacks")
        groups[name] = tuple(members)
    return groups


def _answer_unknown(
    name: str,
    counts: Mapping[str, int],
    groups: Mapping[str, tuple[str, ...]],
    config: StructuresConfig,
    notes: list[str],
) -> None:
    """A name without any member: an error, or a note."""
    if config.absent == "refuse":
        raise _unknown(name, "names", counts, groups)
    notes.append(f"'{name}' is not among these labels{_outcome(config)}")


def _unknown(
    name: str, place: str, counts: Mapping[str, int], groups: Mapping[str, tuple[str, ...]]
) -> UsageError:
    known = [*counts, *(group for group in groups if group not in counts)]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return UsageError(
        "structures",
        found=f"'{name}' in {place}, which is neither a structure of these labels nor a group",
        expected=f"one of {_list(near or known)}",
        remedy=(f"did you mean '{near[0]}'? " if near else "choose structures that are labelled; ")
        + "--structures totalsegmentator has groups such as left_lung and ribs",
    )


def _outcome(config: StructuresConfig) -> str:
    return "; left out" if config.absent == "drop" else "; its mask is empty"


def _is_pattern(name: str) -> bool:
    return any(character in name for character in "*?[")


def _list(names: object) -> str:
    listed = [str(name) for name in names] if isinstance(names, (list, tuple, dict)) else []
    more = f" ... ({len(listed)} in all)" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
