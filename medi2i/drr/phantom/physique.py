"""What differs from patient to patient: the numbers an anatomy is built from, drawn once a patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Physique:
    """One patient's body. The defaults are an average adult. Millimetres are those of the average body.

    Attributes:
        width, depth, height: size relative to the average (left-right, back-front, along the body).
        chest_power: exponent of the chest's superellipse: 2 is an ellipse, more is squarer.
        chest_width, chest_depth: of the rib cage relative to the body.
        wall_mm: muscle outside the ribs; fat_mm: subcutaneous fat over it; breast_mm: depth of the breasts, 0
            for none; belly_mm: how far the abdomen stands out in front.
        apex_mm, right_dome_mm, left_dome_mm: height of lung apices and diaphragm domes above the average.
        recess: depth of the costophrenic recesses relative to the average.
        heart_size: relative to the body; heart_shift_mm: to the patient's left; heart_tilt_deg: of the long
            axis below the horizontal.
        aorta_size: of arch and descending aorta; mediastinum: width between the lungs.
        rib_drop: slope of the ribs relative to the average; rib_height_mm: of one rib.
        scoliosis_mm: amplitude of the sideways curve; scoliosis_phase: in radians.
        kyphosis: curve seen from the side, relative to the average.
        clavicle_deg: how far the clavicles rise sideways.
        shoulder_mm: how far the shoulders stand above the average; arm_deg: how far the arms are held off.
        bone_density: contrast of bone to soft tissue relative to the average.
        lung_hu: of aerated lung between vessels.
        gas_size: stomach bubble relative to the average.
        vessel_size: calibre of lung vessels relative to the average.
    """

    width: float = 1.0
    depth: float = 1.0
    height: float = 1.0
    chest_power: float = 2.35
    chest_width: float = 1.0
    chest_depth: float = 1.0
    wall_mm: float = 17.0
    fat_mm: float = 11.0
    breast_mm: float = 0.0
    belly_mm: float = 0.0
    apex_mm: float = 0.0
    right_dome_mm: float = 0.0
    left_dome_mm: float = 0.0
    recess: float = 1.0
    heart_size: float = 1.0
    heart_shift_mm: float = 0.0
    heart_tilt_deg: float = 33.0
    aorta_size: float = 1.0
    mediastinum: float = 1.0
    rib_drop: float = 1.0
    rib_height_mm: float = 13.0
    scoliosis_mm: float = 0.0
    scoliosis_phase: float = 0.0
    kyphosis: float = 1.0
    clavicle_deg: float = 12.0
    shoulder_mm: float = 0.0
    arm_deg: float = 24.0
    bone_density: float = 1.0
    lung_hu: float = -855.0
    gas_size: float = 1.0
    vessel_size: float = 1.0


def sample_physique(rng: np.random.Generator) -> Physique:
    """Draw one adult; always the same number of random values."""

    def around(spread: float) -> float:
        # clipped, so that no body is impossible
        return float(np.clip(rng.normal(), -2.0, 2.0)) * spread

    size, woman, stout = 1.0 + around(0.025), rng.random() < 0.45, float(rng.beta(1.6, 2.6))
    breast_mm = float(rng.uniform(12.0, 26.0))
    return Physique(
        width=size * (1.0 + around(0.025)),
        depth=size * (1.0 + around(0.04)),
        height=size * (1.0 + around(0.02)),
        chest_power=2.35 + around(0.16),
        chest_width=1.0 + around(0.03),
        chest_depth=1.0 + around(0.05),
        wall_mm=17.0 + around(2.0),
        fat_mm=4.0 + 24.0 * stout,
        breast_mm=breast_mm if woman else 0.0,
        belly_mm=max(0.0, 26.0 * stout - 6.0 + around(3.0)),
        apex_mm=around(3.0),
        right_dome_mm=around(8.0) + 6.0 * stout,
        left_dome_mm=around(8.0) + 6.0 * stout,
        recess=1.0 + around(0.15),
        heart_size=1.0 + around(0.07),
        heart_shift_mm=around(4.0),
        heart_tilt_deg=33.0 + around(7.0),
        aorta_size=1.0 + around(0.12),
        mediastinum=1.0 + around(0.1),
        rib_drop=1.0 + around(0.16),
        rib_height_mm=13.0 + around(1.2),
        scoliosis_mm=abs(around(5.0)),
        scoliosis_phase=float(rng.uniform(0.0, 2 * np.pi)),
        kyphosis=1.0 + around(0.25),
        clavicle_deg=12.0 + around(4.0),
        shoulder_mm=around(5.0),
        arm_deg=24.0 + around(7.0),
        bone_density=1.0 + around(0.14),
        lung_hu=-855.0 + around(16.0),
        gas_size=float(rng.uniform(0.5, 1.3)),
        vessel_size=1.0 + around(0.12),
    )
