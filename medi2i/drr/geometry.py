"""Where the source, the patient and the detector are: one cone-beam view.

Patient coordinates are LPS millimetres with the isocentre as origin: x to the patient's left, y to the
back, z to the head. Images show the patient's right on their left and the head on top in both views.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float64
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from medi2i.config import Config


class ConeBeamGeometry(Config):
    """One radiograph's geometry: a point source, and a flat detector perpendicular to the central ray.

    The central ray passes through the isocentre and meets the middle of the detector.

    Attributes:
        rows, columns: detector matrix.
        detector_spacing_mm: (row, column) distance of pixel centres on the detector.
        source_to_detector_mm: length of the central ray.
        source_to_isocenter_mm: source to the origin of patient coordinates.
        view: PA has the source behind the patient, AP in front of the patient.
    """

    rows: PositiveInt = 192
    columns: PositiveInt = 192
    detector_spacing_mm: tuple[PositiveFloat, PositiveFloat] = (2.0, 2.0)
    source_to_detector_mm: float = Field(default=1800.0, gt=0)
    source_to_isocenter_mm: float = Field(default=1600.0, gt=0)
    view: Literal["PA", "AP"] = "PA"

    @model_validator(mode="after")
    def _patient_before_detector(self) -> ConeBeamGeometry:
        if self.source_to_isocenter_mm >= self.source_to_detector_mm:
            raise ValueError(
                f"source_to_isocenter_mm {self.source_to_isocenter_mm} must be below "
                f"source_to_detector_mm {self.source_to_detector_mm}"
            )
        return self

    @property
    def magnification(self) -> float:
        """Size on the detector of what has size one at the isocentre."""
        return self.source_to_detector_mm / self.source_to_isocenter_mm

    @property
    def axes(self) -> Float64[np.ndarray, "3 3"]:
        """Unit vectors in patient coordinates, as columns: along image columns, rows, and the beam."""
        towards_detector = -1.0 if self.view == "PA" else 1.0
        return np.array([[1.0, 0.0, 0.0], [0.0, 0.0, towards_detector], [0.0, -1.0, 0.0]])

    @property
    def source_mm(self) -> Float64[np.ndarray, " 3"]:
        """Position of the source in patient coordinates."""
        return -self.source_to_isocenter_mm * self.axes[:, 2]

    def column_mm(self, columns: np.ndarray) -> np.ndarray:
        """Distance of pixel centres from the central ray along a row, on the detector."""
        return (np.asarray(columns, dtype=np.float64) - (self.columns - 1) / 2) * self.detector_spacing_mm[1]

    def row_mm(self, rows: np.ndarray) -> np.ndarray:
        """Distance of pixel centres from the central ray down a column, on the detector."""
        return (np.asarray(rows, dtype=np.float64) - (self.rows - 1) / 2) * self.detector_spacing_mm[0]
