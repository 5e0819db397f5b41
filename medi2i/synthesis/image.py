"""One image of a set as every format's writer gets it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt16

from medi2i.image import SpacingMm


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticImage:
    """A labelled synthetic radiograph.

    Attributes:
        number: of its draw, from 0.
        name: of its files, without suffix.
        codes: 16-bit, bone bright.
        masks: one plane a structure of the set; planes overlap.
        valid: False where there is no image.
        spacing_mm: (row, column), None when unknown.
        split: `train`, `validation` or `test`.
        patient: a number, no identity.
        view: how it was taken, if known.
        method, weights_sha256: of the run that translated it.
    """

    number: int
    name: str
    codes: UInt16[np.ndarray, "H W"]
    masks: Bool[np.ndarray, "K H W"]
    valid: Bool[np.ndarray, "H W"]
    spacing_mm: SpacingMm | None
    split: str
    patient: str
    view: str | None
    method: str
    weights_sha256: str


def image_name(number: int) -> str:
    """Name of an image by its number."""
    return f"synthetic-{number:07d}"
