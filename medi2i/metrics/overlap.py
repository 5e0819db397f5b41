"""How much of what is there was found: overlap of two sets of masks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int


def dice(
    predicted: Bool[np.ndarray, "K H W"],
    masks: Bool[np.ndarray, "K H W"],
    valid: Bool[np.ndarray, "H W"] | None = None,
) -> Float64[np.ndarray, " K"]:
    """2 |P and M| / (|P| + |M|) of each structure, in [0, 1] (Dice 1945).

    A structure that is missed, or found where there is none, has 0; NaN where both masks are empty.

    Args:
        predicted: one plane a structure.
        masks: what is true, planes in the same order.
        valid: pixels that count; None: all.
    """
    found, true = (predicted, masks) if valid is None else (predicted & valid, masks & valid)
    total = _count(found) + _count(true)
    shared = _count(found & true)
    overlap: Float64[np.ndarray, " K"] = np.divide(
        2.0 * shared, total, out=np.full(len(masks), np.nan), where=total > 0
    )
    return overlap


def _count(planes: Bool[np.ndarray, "K H W"]) -> Int[np.ndarray, " K"]:
    """Pixels of each plane; over whole planes this is many times as fast as a sum along axes."""
    return np.array([np.count_nonzero(plane) for plane in planes], dtype=np.int64)
