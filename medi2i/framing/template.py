"""What a film is compared with: a DRR of the user's own CT, whose place at the patient is known."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float64

from medi2i.errors import UsageError
from medi2i.framing.frame import Frame

_FEWEST_PIXELS = 32


@dataclass(frozen=True, slots=True)
class Template:
    """One DRR at the base geometry.

    Attributes:
        image: (H, W) line integral, bone bright.
        spacing_mm: (row, column) distance of pixel centres in the plane of the isocentre.
        isocenter_px: (row, column) where the isocentre lands; integers are pixel centres.
        valid: (H, W) False where rays leave a truncated CT.
        outlines: structures (H, W) whose contours a picture may draw; estimation never looks at them.
    """

    image: Float[np.ndarray, "H W"]
    spacing_mm: tuple[float, float]
    isocenter_px: tuple[float, float]
    valid: Bool[np.ndarray, "H W"]
    outlines: tuple[Bool[np.ndarray, "H W"], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Refuse what no film could be compared with.

        Raises:
            UsageError: too small, too little of it valid, constant, or a spacing that is not positive.
        """
        inside = self.image[self.valid] if self.image.shape == self.valid.shape else self.image[:0]
        found = None
        if min(self.image.shape) < _FEWEST_PIXELS or inside.size < _FEWEST_PIXELS**2:
            found = f"{inside.size} valid pixels of {self.image.shape[0]} x {self.image.shape[1]}"
        elif not np.isfinite(inside).all() or np.ptp(inside) == 0:
            found = "values that are constant or not finite"
        elif min(self.spacing_mm) <= 0:
            found = f"spacing_mm {self.spacing_mm}"
        if found:
            raise UsageError(
                "template DRR",
                found=found,
                expected=f"an image of {_FEWEST_PIXELS} x {_FEWEST_PIXELS} valid pixels, with a spacing",
                remedy="render the template with more rows and columns, where its rays cross the CT",
            )

    @property
    def frame(self) -> Frame:
        """The rectangle of the patient that the template itself shows."""
        (rows, columns), (row_mm, column_mm) = self.image.shape, self.spacing_mm
        return Frame(
            height_mm=rows * row_mm,
            width_mm=columns * column_mm,
            center_mm=(
                ((rows - 1) / 2 - self.isocenter_px[0]) * row_mm,
                ((columns - 1) / 2 - self.isocenter_px[1]) * column_mm,
            ),
        )

    def to_pixels(
        self, down_mm: Float64[np.ndarray, "*n"], right_mm: Float64[np.ndarray, "*n"]
    ) -> tuple[Float64[np.ndarray, "*n"], Float64[np.ndarray, "*n"]]:
        """(row, column) of points given by their distance from the isocentre."""
        (row_mm, column_mm), (row_px, column_px) = self.spacing_mm, self.isocenter_px
        return down_mm / row_mm + row_px, right_mm / column_mm + column_px

    @property
    def side_mm(self) -> float:
        """Side of the square that has the area of the valid part: the scale of every search."""
        return float(np.sqrt(self.valid.sum() * self.spacing_mm[0] * self.spacing_mm[1]))
