"""What the instruments say of each structure of an image, from the maps they made of the whole."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage

from medi2i.evaluation.controls import Pair, PairFindings, label_misfit

# Instruments that can tell one structure from another, in the order in which they are asked.
STRUCTURE_INSTRUMENTS = ("geometry", "content")
# Kinds that the phantom has, and how names of label sets begin words for them; the first that fits counts.
_KINDS = {
    "mediastinum": "mediastin|cardiomediastin",
    "heart": "heart|cardiac|atrium|atrial",
    "rib": "rib",
    "clavicle": "clavic",
    "spine": "spine|vertebra",
    "lung": "lung",
    "liver": "liver",
    "spleen": "spleen",
    "stomach": "stomach",
}
_FEWEST_FOLLOWED_PX = 30
_FEWEST_JUDGED_PX = 20


@dataclass(frozen=True, slots=True)
class StructureScores:
    """What is said of one structure in one image; NaN where an instrument can't tell.

    Attributes:
        p50_px, p95_px, max_px: displacement over pixels that can be followed in the structure and a margin.
        content: largest |z| of what the source does not explain, there.
        labels: how badly the mask's outline fits the translation's edges.
    """

    p50_px: float
    p95_px: float
    max_px: float
    content: float
    labels: float

    def of(self, instrument: str) -> float:
        """Score of one of `STRUCTURE_INSTRUMENTS`."""
        return {"geometry": self.p95_px, "content": self.content}[instrument]


def kind_of(name: str) -> str | None:
    """Kind of a structure by its name, such as `rib` for `rib_left_4`; None for one that no control has."""
    for kind, words in _KINDS.items():
        if re.search(rf"(?<![a-z])(?:{words})", name.lower()):
            return kind
    return None


def score_structures(pair: Pair, findings: PairFindings, *, margin_px: float) -> dict[str, StructureScores]:
    """Scores of each structure that the image shows.

    Movement is only known where there is texture to follow (`Deformation.structured`): a structure with fewer
    than 30 such pixels has none. Content is judged in lung that is seen with nothing thick before it.
    """
    return {
        name: _score(
            _widened(mask, margin_px) & pair.valid,
            findings,
            label_misfit(pair.translated, {name: mask}, pair.valid),
        )
        for name, mask in pair.masks.items()
        if mask.any()
    }


def _widened(mask: Bool[np.ndarray, "H W"], margin_px: float) -> Bool[np.ndarray, "H W"]:
    return np.asarray(ndimage.distance_transform_edt(~mask) <= margin_px)


def _score(region: np.ndarray, findings: PairFindings, labels: float) -> StructureScores:
    followed = region & findings.deformation.structured
    moved = (math.nan, math.nan, math.nan)
    if followed.sum() >= _FEWEST_FOLLOWED_PX:
        length = length_px(findings)[followed]
        p50, p95, largest = np.percentile(length, [50, 95, 100])
        moved = (float(p50), float(p95), float(largest))
    judged = region & findings.content.counted
    enough = judged.sum() >= _FEWEST_JUDGED_PX
    content = float(np.abs(findings.content.z[judged]).max()) if enough else math.nan
    return StructureScores(*moved, content, labels)


def length_px(findings: PairFindings) -> Float64[np.ndarray, "H W"]:
    """How far each pixel moved; NaN where that is undefined."""
    return np.asarray(np.hypot(*findings.deformation.field_px))


def common_misfit(structures: Mapping[str, StructureScores], kinds: frozenset[str]) -> float:
    """`label_misfit` of the structures of some kinds alone: the mean over those that have one."""
    found = [scores.labels for name, scores in structures.items() if kind_of(name) in kinds]
    defined = [value for value in found if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan
