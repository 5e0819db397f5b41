"""Pixels about which definitions of a structure differ, so that no score hangs on the definition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

WORDS = (
    "lungs: without pixels of the film's heart and mediastinum labels, and without what lies below the "
    "lung's own lower border in its columns; other structures: every pixel counts"
)
_LUNG = "lung"
_MIDDLE = ("heart", "cardi", "mediastin")  # cardi: cardiomediastinum, cardiac silhouette


def find_dont_care(masks: Bool[np.ndarray, "K H W"], structures: Sequence[str]) -> Bool[np.ndarray, "K H W"]:
    """Pixels of a film, for each structure, that an overlap with a don't-care region leaves out.

    A lung projected from CT goes on behind the heart and below the dome of the diaphragm; readers end it at
    one or both (27 % of a CT's lung lies outside such masks: arXiv 2402.11510). So for a structure whose name
    holds "lung" two things are left out: all pixels that the film labels as heart or mediastinum, whether its
    own lung label holds them or not; and, in each column where the lung label has pixels, all below its
    lowest one. Columns beside the lung count as they are. For other structures nothing is left out.

    Args:
        masks: the film's labels, rows downwards.
        structures: names of the planes.
    """
    left_out = np.zeros_like(masks)
    middle = [plane for plane, name in enumerate(structures) if _holds(name, _MIDDLE)]
    behind = masks[middle].any(axis=0)
    for plane, name in enumerate(structures):
        if _holds(name, (_LUNG,)):
            left_out[plane] = behind | _below(masks[plane])
    return left_out


def _below(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Pixels under the lowest of each column that has any."""
    rows = mask.shape[0]
    lowest = rows - 1 - np.argmax(mask[::-1], axis=0)
    below: Bool[np.ndarray, "H W"] = (np.arange(rows)[:, None] > lowest) & mask.any(axis=0)
    return below


def _holds(name: str, words: Sequence[str]) -> bool:
    return any(word in name.lower() for word in words)
