"""What differs from patient to patient: the numbers an anatomy is built from, drawn once a patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Physique:
    """One patient's body. The defaults are an average adult.

    Attributes:
        width, depth, height: size relative to the average (left-right, front-back, along the body).
        lung_width, lung_height: lung size relative to the body (inspiration).
        right_dome_mm, left_dome_mm: height of the diaphragm above its average.
        heart_size: relative to the body; heart_shift_mm: to the patient's left; heart_tilt_degrees: of the
            long axis below the horizontal.
        aorta_size: of arch and descending aorta.
        rib_pairs: 11 or 12; rib_drop: slope of the ribs relative to the average; rib_height_mm: of one rib.
        scoliosis_mm: amplitude of the sideways curve; scoliosis_phase: in radians.
        kyphosis: curve seen from the side, relative to the average.
        clavicle_degrees: how far the clavicles rise sideways.
        arm_degrees: how far the arms are held off the body.
        bone_density: contrast of bone to muscle relative to the average.
        lung_density: of aerated lung relative to the average.
        fat: share of the body's radius that is subcutaneous fat.
        breast_mm: depth of the breasts; 0 for none.
        gas_size: stomach bubble relative to the average.
        vessel_size: calibre of lung vessels relative to the average.
        detail_seed: seed of what is drawn piece by piece (vessel branches).
    """

    width: float = 1.0
    depth: float = 1.0
    height: float = 1.0
    lung_width: float = 1.0
    lung_height: float = 1.0
    right_dome_mm: float = 0.0
    left_dome_mm: float = 0.0
    heart_size: float = 1.0
    heart_shift_mm: float = 0.0
    heart_tilt_degrees: float = 33.0
    aorta_size: float = 1.0
    rib_pairs: int = 12
    rib_drop: float = 1.0
    rib_height_mm: float = 13.0
    scoliosis_mm: float = 0.0
    scoliosis_phase: float = 0.0
    kyphosis: float = 1.0
    clavicle_degrees: float = 14.0
    arm_degrees: float = 22.0
    bone_density: float = 1.0
    lung_density: float = 1.0
    fat: float = 0.07
    breast_mm: float = 0.0
    gas_size: float = 1.0
    vessel_size: float = 1.0
    detail_seed: int = 0


@dataclass(frozen=True, slots=True)
class Pose:
    """How a patient stands in one view.

    Attributes:
        yaw_degrees, roll_degrees, pitch_degrees: about the vertical, the beam and the left-right axis.
        shift_mm: (left, back, up) displacement from the isocentre.
    """

    yaw_degrees: float = 0.0
    roll_degrees: float = 0.0
    pitch_degrees: float = 0.0
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)


def sample_physique(rng: np.random.Generator) -> Physique:
    """Draw one adult."""

    def around(spread: float) -> float:
        return _around(rng, spread)

    size = 1.0 + around(0.035)
    return Physique(
        width=size * (1.0 + around(0.035)),
        depth=size * (1.0 + around(0.07)),
        height=size * (1.0 + around(0.025)),
        lung_width=1.0 + around(0.03),
        lung_height=1.0 + around(0.035),
        right_dome_mm=around(9.0),
        left_dome_mm=around(9.0),
        heart_size=1.0 + around(0.08),
        heart_shift_mm=around(5.0),
        heart_tilt_degrees=33.0 + around(7.0),
        aorta_size=1.0 + around(0.12),
        rib_pairs=11 if rng.random() < 0.15 else 12,
        rib_drop=1.0 + around(0.18),
        rib_height_mm=13.0 + around(1.2),
        scoliosis_mm=abs(around(5.0)),
        scoliosis_phase=float(rng.uniform(0.0, 2 * np.pi)),
        kyphosis=1.0 + around(0.3),
        clavicle_degrees=12.0 + around(4.0),
        arm_degrees=24.0 + around(8.0),
        bone_density=1.0 + around(0.14),
        lung_density=1.0 + around(0.12),
        fat=float(rng.uniform(0.03, 0.13)),
        breast_mm=float(rng.uniform(14.0, 32.0)) if rng.random() < 0.45 else 0.0,
        gas_size=float(rng.uniform(0.5, 1.3)),
        vessel_size=1.0 + around(0.12),
        detail_seed=int(rng.integers(2**31)),
    )


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draw the pose of one view: a patient who stands nearly straight."""
    return Pose(
        yaw_degrees=_around(rng, 3.0),
        roll_degrees=_around(rng, 1.8),
        pitch_degrees=_around(rng, 3.0),
        shift_mm=(_around(rng, 5.0), _around(rng, 6.0), _around(rng, 7.0)),
    )


def _around(rng: np.random.Generator, spread: float) -> float:
    """Normal with standard deviation `spread`, clipped at twice that, so that no body is impossible."""
    return float(np.clip(rng.normal(), -2.0, 2.0)) * spread
