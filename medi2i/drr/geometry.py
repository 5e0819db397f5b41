"""Where source, patient and detector are: a cone-beam view as a pinhole camera in patient coordinates.

Patient coordinates are RAS millimetres. Images come out as a viewer shows a film: head up; the patient's
right on the image's left for PA and AP; in a left lateral the patient faces the image's left, in a right
lateral its right.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float64
from pydantic import BeforeValidator, Field, PositiveFloat, model_validator

from medi2i.config import Config
from medi2i.framing.frame import Frame

_NAMES = {
    "pa": "PA",
    "ap": "AP",
    "lateral": "left lateral",
    "left lateral": "left lateral",
    "ll": "left lateral",
    "right lateral": "right lateral",
    "rl": "right lateral",
}


def _spell_out(view: Any) -> Any:
    return _NAMES.get(view.strip().lower(), view) if isinstance(view, str) else view


ViewName = Annotated[Literal["PA", "AP", "left lateral", "right lateral"], BeforeValidator(_spell_out)]

# columns: directions, in the patient, of increasing image columns, of increasing image rows, and of the beam
_AXES = {
    "AP": [[-1, 0, 0], [0, 0, -1], [0, -1, 0]],
    "PA": [[-1, 0, 0], [0, 0, 1], [0, -1, 0]],
    "left lateral": [[0, 0, -1], [-1, 0, 0], [0, -1, 0]],
    "right lateral": [[0, 0, 1], [1, 0, 0], [0, -1, 0]],
}


class ConeBeamGeometry(Config):
    """A point source and a flat detector perpendicular to the central ray, which meets its middle.

    Attributes:
        rows, columns: detector matrix.
        detector_spacing_mm: (row, column) distance of pixel centres on the detector.
        source_to_detector_mm: length of the central ray.
        source_to_isocenter_mm: source to the point of the patient that the central ray passes through.
    """

    rows: int = Field(default=512, ge=1, le=16384)
    columns: int = Field(default=512, ge=1, le=16384)
    detector_spacing_mm: tuple[PositiveFloat, PositiveFloat] = (0.85, 0.85)
    source_to_detector_mm: float = Field(default=1800.0, gt=0)
    source_to_isocenter_mm: float = Field(default=1600.0, gt=0)

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
    def frame(self) -> Frame:
        """What of the patient the detector shows, in the plane of the isocentre."""
        row_mm, column_mm = self.detector_spacing_mm
        return Frame(
            height_mm=self.rows * row_mm / self.magnification,
            width_mm=self.columns * column_mm / self.magnification,
        )


@dataclass(frozen=True, slots=True)
class Pose:
    """How the patient is turned and moved, from standing straight with the isocentre on the central ray.

    Attributes:
        yaw_deg: about the axis from feet to head, to the patient's left.
        pitch_deg: about the axis from left to right; the head goes back.
        roll_deg: about the axis from back to front; the head goes to the patient's right.
        translation_mm: along the patient's right, front, and head.
    """

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    translation_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def rotation(self) -> Float64[np.ndarray, "3 3"]:
        """Rotation matrix in patient coordinates: roll first, then pitch, then yaw."""
        return _turn(2, self.yaw_deg) @ _turn(0, self.pitch_deg) @ _turn(1, self.roll_deg)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "translation_mm": list(self.translation_mm)}


class PoseConfig(Config):
    """Half-widths of uniform distributions around the straight pose; all 0 for one pose only."""

    yaw_deg: float = Field(default=5.0, ge=0, le=180)
    pitch_deg: float = Field(default=3.0, ge=0, le=90)
    roll_deg: float = Field(default=3.0, ge=0, le=180)
    translation_mm: tuple[float, float, float] = (8.0, 8.0, 8.0)

    def sample(self, rng: np.random.Generator) -> Pose:
        """Draw one pose; always the same number of random values."""
        unit = rng.uniform(-1, 1, size=6)
        shift = unit[3:] * self.translation_mm
        return Pose(
            yaw_deg=float(unit[0] * self.yaw_deg),
            pitch_deg=float(unit[1] * self.pitch_deg),
            roll_deg=float(unit[2] * self.roll_deg),
            translation_mm=(float(shift[0]), float(shift[1]), float(shift[2])),
        )


@dataclass(frozen=True, slots=True)
class Camera:
    """One view of one patient.

    Camera coordinates are millimetres from the source: x along image columns, y along image rows, z along the
    central ray. Pixel coordinates are integers at pixel centres.

    Attributes:
        rows, columns: detector matrix.
        detector_spacing_mm: (row, column) distance of pixel centres on the detector.
        source_to_detector_mm, source_to_isocenter_mm: along the central ray.
        offset_mm: (row, column) distance of the detector's middle from the central ray, on the detector.
        patient_from_camera: camera to patient coordinates (RAS mm).
    """

    rows: int
    columns: int
    detector_spacing_mm: tuple[float, float]
    source_to_detector_mm: float
    source_to_isocenter_mm: float
    offset_mm: tuple[float, float]
    patient_from_camera: Float64[np.ndarray, "4 4"]

    @property
    def magnification(self) -> float:
        """Size on the detector of what has size one at the isocentre."""
        return self.source_to_detector_mm / self.source_to_isocenter_mm

    @property
    def isocenter_spacing_mm(self) -> tuple[float, float]:
        """(row, column) distance of pixel centres in the plane of the isocentre."""
        row, column = self.detector_spacing_mm
        return row / self.magnification, column / self.magnification

    @property
    def intrinsics(self) -> Float64[np.ndarray, "3 3"]:
        """K: camera coordinates to (column, row, 1) times depth."""
        row_mm, column_mm = self.detector_spacing_mm
        return np.array(
            [
                [
                    self.source_to_detector_mm / column_mm,
                    0,
                    (self.columns - 1) / 2 - self.offset_mm[1] / column_mm,
                ],
                [0, self.source_to_detector_mm / row_mm, (self.rows - 1) / 2 - self.offset_mm[0] / row_mm],
                [0, 0, 1],
            ]
        )

    @property
    def camera_from_patient(self) -> Float64[np.ndarray, "4 4"]:
        """Rt: patient (RAS mm) to camera coordinates."""
        return np.linalg.inv(self.patient_from_camera)

    @property
    def source_mm(self) -> Float64[np.ndarray, " 3"]:
        """Position of the source in patient coordinates."""
        return self.patient_from_camera[:3, 3]

    def targets_mm(self, rows: slice) -> Float64[np.ndarray, "N 3"]:
        """Pixel centres of some rows, row by row, in camera coordinates: where the rays end."""
        row, column = np.mgrid[rows, 0 : self.columns]
        pixels = np.stack([column, row, np.ones_like(row)], axis=-1).reshape(-1, 3)
        return pixels @ np.linalg.inv(self.intrinsics).T * self.source_to_detector_mm

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; K and Rt (3, 4) as in `intrinsics` and `camera_from_patient`."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "detector_spacing_mm": list(self.detector_spacing_mm),
            "isocenter_spacing_mm": list(self.isocenter_spacing_mm),
            "source_to_detector_mm": self.source_to_detector_mm,
            "source_to_isocenter_mm": self.source_to_isocenter_mm,
            "K": self.intrinsics.tolist(),
            "Rt": self.camera_from_patient[:3].tolist(),
        }

    def project(self, points_mm: Float64[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 2"]:
        """(row, column) where points of the patient land."""
        rigid = self.camera_from_patient
        camera = np.asarray(points_mm, dtype=np.float64) @ rigid[:3, :3].T + rigid[:3, 3]
        pixels = camera @ self.intrinsics.T
        return pixels[..., 1::-1] / pixels[..., 2:]


def make_camera(
    geometry: ConeBeamGeometry,
    view: ViewName,
    *,
    isocenter_mm: np.ndarray,
    pose: Pose | None = None,
    frame: Frame | None = None,
) -> Camera:
    """The camera of one view.

    Args:
        geometry: source and detector.
        view: direction of the beam.
        isocenter_mm: point of the patient that the central ray passes through, RAS mm.
        pose: how the patient stands; straight if None.
        frame: rectangle of the isocentre's plane to be shown instead of what the geometry's detector shows.
            Its aspect becomes the matrix's, at the geometry's number of pixels on the longer side.
    """
    pose = pose or Pose()
    shown = frame or geometry.frame
    rows, columns, spacing = geometry.rows, geometry.columns, geometry.detector_spacing_mm
    if frame is not None:
        side = max(rows, columns) / max(frame.height_mm, frame.width_mm)
        rows, columns = (max(1, round(side * length)) for length in (frame.height_mm, frame.width_mm))
        spacing = (
            frame.height_mm * geometry.magnification / rows,
            frame.width_mm * geometry.magnification / columns,
        )
    axes = np.array(_AXES[_spell_out(view)], dtype=np.float64)
    # the frame's clockwise turn: its columns run towards what was down
    turn = _turn(2, shown.rotation_deg)
    room_from_camera = np.eye(4)
    room_from_camera[:3, :3] = axes @ turn
    room_from_camera[:3, 3] = -geometry.source_to_isocenter_mm * axes[:, 2]
    # where the frame's middle lies, along the turned rows and columns
    down, right = np.array(shown.center_mm) * geometry.magnification
    right, down, _ = turn.T @ np.array([right, down, 0.0])
    patient_from_room = np.eye(4)
    patient_from_room[:3, :3] = pose.rotation.T
    patient_from_room[:3, 3] = np.asarray(isocenter_mm) - pose.rotation.T @ np.array(pose.translation_mm)
    return Camera(
        rows=rows,
        columns=columns,
        detector_spacing_mm=(float(spacing[0]), float(spacing[1])),
        source_to_detector_mm=geometry.source_to_detector_mm,
        source_to_isocenter_mm=geometry.source_to_isocenter_mm,
        offset_mm=(float(down), float(right)),
        patient_from_camera=patient_from_room @ room_from_camera,
    )


def _turn(axis: int, degrees: float) -> Float64[np.ndarray, "3 3"]:
    """Right-handed rotation about one coordinate axis."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix
