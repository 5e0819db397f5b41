"""What the masks of one image show: areas, the gap between the lungs, and what readers of films leave out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from medi2i.drr.convention import ConventionConfig, film_masks, required_structures
from medi2i.errors import UsageError

_MIDDLE = (0.35, 0.65)  # of the lungs' height: where the gap between them is measured
_FILM = "_film"


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """The masks of one image.

    Attributes:
        areas: share of the matrix that each structure covers, in their order.
        lung_gap: width between the lungs through their outer width, mean over the middle of their height; 0
            where they overlap. None without a left and a right lung.
        lung_shape: height through width of the rectangle around both lungs; None likewise.
        left_out: share of the projected lungs that masks by the film convention leave out, on this view;
            None where neither film lungs nor what ends them is labelled.
    """

    areas: tuple[float, ...]
    lung_gap: float | None = None
    lung_shape: float | None = None
    left_out: float | None = None


def measure_masks(masks: Bool[np.ndarray, "K H W"], structures: tuple[str, ...]) -> MaskFacts:
    """Measure the masks of one image.

    Args:
        masks: (K, H, W), one plane a structure.
        structures: their names.
    """
    areas = tuple(float(area) for area in masks.mean(axis=(1, 2)))
    sides = [_lung(masks, structures, side) for side in ("left", "right")]
    if not all(side.any() for side in sides):
        return MaskFacts(areas, left_out=_left_out(masks, structures))
    gap, shape = _measure_lungs(sides[0], sides[1])
    return MaskFacts(areas, gap, shape, _left_out(masks, structures))


def _lung(
    masks: Bool[np.ndarray, "K H W"], structures: tuple[str, ...], side: str
) -> Bool[np.ndarray, "H W"]:
    """The union of what is named as the lung of a side, film lungs apart."""
    chosen = [
        "lung" in name.lower() and side in name.lower() and not name.endswith(_FILM) for name in structures
    ]
    return np.asarray(masks[chosen].any(axis=0))


def _measure_lungs(left: Bool[np.ndarray, "H W"], right: Bool[np.ndarray, "H W"]) -> tuple[float, float]:
    both = left | right
    rows, columns = (np.flatnonzero(both.any(axis=axis)) for axis in (1, 0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    start, stop = (rows[0] + round(share * height) for share in _MIDDLE)
    middle = [row for row in range(start, max(stop, start + 1)) if left[row].any() and right[row].any()]
    # in a film of a standing patient seen from the front, the right lung is on the viewer's left; either way
    first, second = (left, right) if _center(left) < _center(right) else (right, left)
    gaps = [
        max(0, int(np.argmax(second[row])) - (first.shape[1] - int(np.argmax(first[row, ::-1]))))
        / max(1, int(np.ptp(np.flatnonzero(both[row]))) + 1)
        for row in middle
    ]
    return (float(np.mean(gaps)) if gaps else 0.0), float(height / width)


def _center(mask: Bool[np.ndarray, "H W"]) -> float:
    return float(np.flatnonzero(mask.any(axis=0)).mean())


def _left_out(masks: Bool[np.ndarray, "K H W"], structures: tuple[str, ...]) -> float | None:
    """1 - film lungs / projected lungs, from masks of both kinds or from what ends a lung on a film."""
    lungs = [name for name in structures if "lung" in name.lower()]
    pairs = [(name, name + _FILM) for name in lungs if name + _FILM in structures]
    if pairs:
        whole, film = (masks[[structures.index(pair[k]) for pair in pairs]] for k in (0, 1))
        return 1 - float(film.sum() / whole.sum()) if whole.any() else None
    config = ConventionConfig(convention="both", mediastinum=())
    try:
        required_structures(config, structures)
    except UsageError:  # not all of it is labelled
        return None
    planes, names = film_masks(masks, structures, config)
    added = [name.removesuffix(_FILM) for name in names[len(structures) :]]
    whole = masks[[structures.index(name) for name in added]]
    return 1 - float(planes[len(structures) :].sum() / whole.sum()) if whole.any() else None
