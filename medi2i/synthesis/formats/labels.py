"""One label map of structures that overlap: who wins is said, and how much is hidden is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, UInt8, UInt16

from medi2i.errors import UsageError

_MOST_LABELS = 65_535


def priority_order(structures: Sequence[str], priority: Sequence[str]) -> tuple[int, ...]:
    """Numbers of the structures, the first wins: those that are named, then the others in their order.

    Raises:
        UsageError: a name is no structure.
    """
    unknown = [name for name in priority if name not in structures]
    if unknown:
        raise UsageError(
            f"--priority {','.join(priority)}",
            found=f"'{unknown[0]}', which is no structure of the sources",
            expected=f"names among {', '.join(structures)}",
            remedy="correct it",
        )
    named = [structures.index(name) for name in priority]
    return (*named, *(number for number in range(len(structures)) if number not in named))


def label_map(
    masks: Bool[np.ndarray, "K H W"], order: Sequence[int]
) -> UInt8[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]:
    """0 for background, k + 1 for the k-th structure; where several are, the first in `order`."""
    assert len(masks) <= _MOST_LABELS  # noqa: S101 (masks are limited where they are read)
    labels = np.zeros(masks.shape[1:], np.uint8 if len(masks) < 256 else np.uint16)
    for number in reversed(order):
        labels[masks[number]] = number + 1
    return labels


def hidden_pixels(
    masks: Bool[np.ndarray, "K H W"], labels: np.ndarray, structures: Sequence[str]
) -> Mapping[str, int]:
    """Pixels of each structure that the label map gives to another one; those without any are left out."""
    lost = {
        name: int((mask & (labels != number + 1)).sum())
        for number, (name, mask) in enumerate(zip(structures, masks, strict=True))
    }
    return {name: count for name, count in lost.items() if count}
