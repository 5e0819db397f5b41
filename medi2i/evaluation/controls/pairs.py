"""A source image beside its translation, as the instruments and the controls see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from medi2i.errors import UsageError

# Thin structures that a lung is seen through.
_SEEN_THROUGH = ("lung", "rib", "clavicle", "scapula", "nodule")
_RIM_PX = 2


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One view before and after translation, on one pixel grid.

    Attributes:
        source, translated: in [-1, 1], bone bright.
        valid: where both are images.
        masks: planes of the source by structure; planes overlap.
        patient: label of the patient, the unit of splitting and of statistics.
    """

    source: Float[np.ndarray, "H W"]
    translated: Float[np.ndarray, "H W"]
    valid: Bool[np.ndarray, "H W"]
    masks: Mapping[str, Bool[np.ndarray, "H W"]]
    patient: str

    def __post_init__(self) -> None:
        shapes = {plane.shape for plane in (self.source, self.translated, self.valid, *self.masks.values())}
        if len(shapes) > 1:
            raise UsageError(
                "a pair of images",
                found=f"planes of {', '.join(map(str, sorted(shapes)))}",
                expected="one pixel grid",
                remedy="bring the translation and the masks to the matrix of the source",
            )


def union_of(pair: Pair, word: str) -> Bool[np.ndarray, "H W"]:
    """Union of the structures whose names hold a word, such as `lung` or `rib`; empty without any."""
    chosen = [plane for name, plane in pair.masks.items() if word in name.lower()]
    found: Bool[np.ndarray, "H W"] = np.zeros(pair.source.shape, dtype=bool)
    for plane in chosen:
        found = found | plane
    return found


def clear_lung(pair: Pair) -> Bool[np.ndarray, "H W"]:
    """Lung with nothing thick before or behind it, two pixels within its outline; empty without lungs.

    A lung's shadow goes on behind the heart and the domes, where films show next to nothing of it.
    """
    lungs = union_of(pair, "lung")
    for name, plane in pair.masks.items():
        if not any(word in name.lower() for word in _SEEN_THROUGH):
            lungs = lungs & ~plane
    inside: Bool[np.ndarray, "H W"] = ndimage.binary_erosion(lungs & pair.valid, iterations=_RIM_PX)
    return inside
