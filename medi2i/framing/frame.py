"""One frame: the rectangle of the patient that an image shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    """A rectangle in the plane through the isocentre, parallel to the detector.

    Directions are the viewer's: down and right in the image (right in a PA or AP image is the patient's
    left).

    Attributes:
        height_mm, width_mm: sides of the rectangle, at the patient.
        center_mm: (down, right) displacement of its middle from the isocentre.
        rotation_deg: how far the rectangle is turned clockwise on the upright patient, who then appears
            turned counter-clockwise in the image.
    """

    height_mm: float
    width_mm: float
    center_mm: tuple[float, float] = (0.0, 0.0)
    rotation_deg: float = 0.0
