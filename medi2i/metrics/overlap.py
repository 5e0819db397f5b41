"""How much of what is there was found: overlap of two sets of masks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64


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
    inside = np.ones(masks.shape[1:], dtype=bool) if valid is None else valid
    found, true = predicted[:, inside], masks[:, inside]
    total = found.sum(axis=1) + true.sum(axis=1)
    shared = (found & true).sum(axis=1)
    overlap: Float64[np.ndarray, " K"] = np.divide(
        2.0 * shared, total, out=np.full(len(masks), np.nan), where=total > 0
    )
    return overlap
