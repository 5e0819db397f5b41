"""Where a film lies on the patient: scale, stretch, rotation and shift, and what frame follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from medi2i.framing.frame import Frame


@dataclass(frozen=True, slots=True)
class Placement:
    """A map from the film's pixels to the plane of the isocentre.

    Down and right of the isocentre = center_mm + R(rotation) (row spacing * rows, column spacing * columns),
    with rows and columns counted from the middle of the film.

    Attributes:
        spacing_mm: (row, column) distance of pixel centres, at the patient; they differ where a film's
            anatomy is taller or wider than the template's.
        rotation_deg: clockwise turn of the film on the upright patient.
        center_mm: (down, right) of the film's middle.
    """

    spacing_mm: tuple[float, float]
    rotation_deg: float
    center_mm: tuple[float, float]

    @property
    def stretch(self) -> float:
        """Row spacing over column spacing: above 1, the film shows the anatomy flatter than the template."""
        return self.spacing_mm[0] / self.spacing_mm[1]

    def to_patient(
        self, rows: Float64[np.ndarray, "*n"], columns: Float64[np.ndarray, "*n"]
    ) -> tuple[Float64[np.ndarray, "*n"], Float64[np.ndarray, "*n"]]:
        """(down, right) in mm from the isocentre of points counted from the middle of the film."""
        cosine, sine = np.cos(np.deg2rad(self.rotation_deg)), np.sin(np.deg2rad(self.rotation_deg))
        down, right = rows * self.spacing_mm[0], columns * self.spacing_mm[1]
        return (
            self.center_mm[0] + cosine * down + sine * right,
            self.center_mm[1] - sine * down + cosine * right,
        )

    def to_film(
        self, down_mm: Float64[np.ndarray, "*n"], right_mm: Float64[np.ndarray, "*n"]
    ) -> tuple[Float64[np.ndarray, "*n"], Float64[np.ndarray, "*n"]]:
        """(row, column) from the middle of the film, of points given by their distance from the isocentre."""
        cosine, sine = np.cos(np.deg2rad(self.rotation_deg)), np.sin(np.deg2rad(self.rotation_deg))
        down, right = down_mm - self.center_mm[0], right_mm - self.center_mm[1]
        return (
            (cosine * down - sine * right) / self.spacing_mm[0],
            (sine * down + cosine * right) / self.spacing_mm[1],
        )

    def rescale(self, factor: tuple[float, float]) -> Placement:
        """The same place for the same film with `factor` (row, column) times the pixels."""
        row_mm, column_mm = self.spacing_mm
        return Placement((row_mm / factor[0], column_mm / factor[1]), self.rotation_deg, self.center_mm)

    def frame_of(self, shown: Bool[np.ndarray, "H W"]) -> Frame:
        """The frame of the smallest upright rectangle of the film that holds all that is `shown`."""
        rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
        middle = ((rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2)
        down, right = self.to_patient(
            np.array(middle[0] - (shown.shape[0] - 1) / 2), np.array(middle[1] - (shown.shape[1] - 1) / 2)
        )
        return Frame(
            height_mm=float((rows[-1] - rows[0] + 1) * self.spacing_mm[0]),
            width_mm=float((columns[-1] - columns[0] + 1) * self.spacing_mm[1]),
            center_mm=(float(down), float(right)),
            rotation_deg=self.rotation_deg,
        )
