"""COCO's compressed run-length code of a binary mask, exactly (pycocotools, `maskApi.c`: rleToString)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

_BITS = 5
_MORE, _SIGN, _LOW, _ASCII = 0x20, 0x10, 0x1F, 48


def run_lengths(mask: Bool[np.ndarray, "H W"]) -> list[int]:
    """Lengths of runs down the columns, one column after the other; the first is of zeros and may be 0."""
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], ends, [flat.size]])
    lengths: list[int] = np.diff(edges).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def compress(lengths: list[int]) -> str:
    """Each length, from the fourth on less the last but one, in groups of five bits as characters."""
    letters = []
    for place, length in enumerate(lengths):
        value = length - lengths[place - 2] if place > 2 else length
        more = True
        while more:
            group = value & _LOW
            value >>= _BITS
            # the sign of the last group is its highest bit
            more = value != -1 if group & _SIGN else value != 0
            letters.append(chr((group | _MORE if more else group) + _ASCII))
    return "".join(letters)


def bounding_box(mask: Bool[np.ndarray, "H W"]) -> list[int]:
    """[left, top, width, height] in pixels; the mask is not empty."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return [int(v) for v in (columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1)]
