"""MatchGAN's triplets in label space: which targets images get, and which images are compared.

Images lie in groups of one class each, one group after the other. Their translations are regrouped by target.
In either, groups are compared as the authors' code does for 4 groups of 4 (Sun, Bhattarai, Kim, ACCV 2020);
the rule is carried on to 2 and 3 groups, and to more images a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

QUAD = 4  # images of a group that are compared together


class Pairs(NamedTuple):
    """Places in a batch: pairs of one class, and pairs of two."""

    positive: list[tuple[int, int]]
    negative: list[tuple[int, int]]


def list_groups(groups: int, images: int) -> list[list[int]]:
    """Places of each group's images, the groups following one another."""
    return [list(range(start * images, (start + 1) * images)) for start in range(groups)]


def count_groups(images: int, classes: int) -> int:
    """How many groups of four or more so many images can be dealt into: at most 4, at most the classes."""
    return min(4, classes, images // QUAD)


def deal_targets(images: int, targets: int) -> list[int]:
    """The target of each image: 0, 1, ... in turn.

    With groups of at least `targets` images each source group gets every target; with 4 groups of 4 its
    images get targets 0, 1, 2, 3.
    """
    return [place % targets for place in range(images)]


def regroup(groups: Sequence[Sequence[int]], targets: int) -> list[list[int]]:
    """Places of each target's images, source groups alternating.

    With 4 groups of 4 this is the transpose: the images of a target come from groups 0, 1, 2, 3.

    Args:
        groups: places by source group; together 0, 1, 2, ...
        targets: how many `deal_targets` dealt.
    """
    dealt = deal_targets(sum(len(group) for group in groups), targets)
    regrouped: list[list[int]] = []
    for target in range(targets):
        # sorted by how many of its source group come before it, then by source group
        found = [
            (rank, number, place)
            for number, group in enumerate(groups)
            for rank, place in enumerate(place for place in group if dealt[place] == target)
        ]
        regrouped.append([place for _, _, place in sorted(found)])
    return regrouped


def make_pairs(groups: Sequence[Sequence[int]]) -> Pairs:
    """Two pairs of one class and two of two classes for each four images of a group.

    With images 1 to 4 of each group and anchors 1 and 3: positive are (1, 2) and (3, 2); negative are 3 with
    4 of the next group, and 1 with 4 of the next but one. 8 and 8 for 4 groups of 4. "Next" goes round the
    other groups: of two groups both negatives are with the other one. Groups of 8 have two fours; what is
    left of a four is not compared.

    Args:
        groups: places of the images of each group; at least two groups.
    """
    others = len(groups) - 1
    if others < 1:
        raise ValueError("one group has nothing to be compared with")
    positive, negative = [], []
    for start in range(0, min(len(group) for group in groups) - QUAD + 1, QUAD):
        for number, group in enumerate(groups):
            first, second, third, _ = group[start : start + QUAD]
            next_one, next_but_one = (
                groups[(number + 1 + turn % others) % len(groups)][start + QUAD - 1] for turn in (0, 1)
            )
            positive += [(first, second), (third, second)]
            negative += [(third, next_one), (first, next_but_one)]
    return Pairs(positive, negative)
