"""Soft organs: body wall, lungs, heart, mediastinum, abdomen. LPS millimetres, before body size."""

from __future__ import annotations

import numpy as np

from medi2i.drr.bones import arm_direction, humeral_head, spine_axis
from medi2i.drr.ellipsoids import Ellipsoids
from medi2i.drr.physique import Physique
from medi2i.drr.tissues import AIR, BLOOD, FAT, LUNG, MUSCLE, Solid, Tissue, make_tube, rotation_about


def ellipsoid(
    center_mm: list[float], semi_axes_mm: list[float], rotation: np.ndarray | None = None
) -> Ellipsoids:
    """One ellipsoid."""
    return Ellipsoids.from_axes(np.array(center_mm), np.array(semi_axes_mm), rotation)


def build_body(physique: Physique) -> list[Tissue]:
    """Trunk, neck, shoulders and arms: subcutaneous fat, with muscle inside."""
    parts = [
        ellipsoid([0, 0, -60], [160, 112, 228]),
        ellipsoid([0, 2, -225], [158, 116, 250]),
        ellipsoid([0, 14, 215], [58, 60, 120]),
    ]
    for side in (-1.0, 1.0):
        arm = humeral_head(side) + 150.0 * arm_direction(side, physique)
        tilt = rotation_about(1, -side * physique.arm_degrees)
        parts += [
            ellipsoid([side * 66, 30, 116], [104, 58, 42], rotation_about(1, side * 17)),
            ellipsoid([side * 152, 22, 90], [50, 58, 52]),
            ellipsoid([side * 68, -64, 54], [60, 40, 58]),
            ellipsoid(list(arm), [42, 44, 190], tilt),
        ]
    body = Ellipsoids.join(*parts)
    breasts = [
        ellipsoid([side * 80, -96, -48], [50, physique.breast_mm, 58], rotation_about(0, -22))
        for side in (-1.0, 1.0)
        if physique.breast_mm > 0
    ]
    return [
        Solid("body", FAT, Ellipsoids.join(body, *breasts)),
        Solid("body", MUSCLE - FAT, body.resize(1 - physique.fat)),
    ]


def heart_shape(physique: Physique) -> Ellipsoids:
    """Ventricles along the tilted long axis, right atrium, and outflow tract."""
    size, shift = physique.heart_size, physique.heart_shift_mm
    tilt = rotation_about(1, physique.heart_tilt_degrees)
    return Ellipsoids.join(
        ellipsoid([24 + shift, -26, -58], [69 * size, 45 * size, 45 * size], tilt),
        ellipsoid([-13 + shift, -12, -46], [29 * size, 38 * size, 54 * size], rotation_about(1, -6)),
        ellipsoid([19 + shift, -18, -6], [24 * size, 30 * size, 44 * size], rotation_about(1, -14)),
    )


def mediastinum_shape(physique: Physique) -> Ellipsoids:
    """What parts the lungs besides the heart: great vessels, spine, and the tissue between them."""
    aorta = physique.aorta_size
    spine = spine_axis(np.linspace(-190.0, 130.0, 9), physique)
    return Ellipsoids.join(
        ellipsoid([0, -14, 0], [26, 64, 200]),
        ellipsoid([-20, -6, 74], [13, 22, 86]),
        ellipsoid([17, -2, 104], [15, 24, 60]),
        ellipsoid([20, 6, 50], [19 * aorta, 36 * aorta, 19 * aorta]),
        ellipsoid([20, 34, -40], [13 * aorta, 13 * aorta, 130]),
        ellipsoid([25, -12, 18], [20, 24, 22]),
        Ellipsoids.from_axes(spine + np.array([0.0, 6.0, 0.0]), np.array([21.0, 34.0, 46.0])),
    )


def dome_shapes(physique: Physique) -> tuple[Ellipsoids, Ellipsoids]:
    """What bulges into the chest under the right and the left half of the diaphragm."""
    return (
        ellipsoid([-70, -4, -196 + physique.right_dome_mm], [92, 98, 116]),
        ellipsoid([70, -4, -208 + physique.left_dome_mm], [90, 96, 114]),
    )


def lung_shape(side: float, physique: Physique) -> Ellipsoids:
    """One lung before anything is carved out of it: a long ellipsoid, and a fuller apex."""
    wide, tall = physique.lung_width, physique.lung_height
    reach = 62.0 if side < 0 else 59.0
    return Ellipsoids.join(
        ellipsoid([side * 67 * wide, 0, -58], [reach * wide, 86, 186 * tall], rotation_about(1, -side * 7)),
        ellipsoid(
            [side * 62 * wide, 4, 34 * tall], [56 * wide, 74, 92 * tall], rotation_about(1, -side * 11)
        ),
    )


def lung_carvers(physique: Physique) -> Ellipsoids:
    """Everything that displaces lung."""
    return Ellipsoids.join(heart_shape(physique), mediastinum_shape(physique), *dome_shapes(physique))


def build_chest_organs(physique: Physique) -> list[Tissue]:
    """Lungs, heart and airways."""
    carvers = lung_carvers(physique)
    lung = LUNG * physique.lung_density - MUSCLE
    left_bronchus = np.array([[0.0, 18.0, 40.0], [18.0, 17.0, 26.0], [36.0, 15.0, 16.0]])
    right_bronchus = np.array([[0.0, 18.0, 40.0], [-12.0, 17.0, 24.0], [-24.0, 15.0, 6.0]])
    return [
        Solid("left_lung", lung, lung_shape(1.0, physique), carvers),
        Solid("right_lung", lung, lung_shape(-1.0, physique), carvers),
        Solid("heart", BLOOD - MUSCLE, heart_shape(physique)),
        Solid("airway", AIR - MUSCLE, ellipsoid([-1, 18, 124], [9, 10.5, 92])),
        make_tube("airway", left_bronchus, np.array([6.0, 6.0]), -0.8 * MUSCLE),
        make_tube("airway", right_bronchus, np.array([6.5, 6.5]), -0.8 * MUSCLE),
    ]


def build_abdomen(physique: Physique) -> list[Tissue]:
    """Liver, and gas in the stomach and the colon's left bend."""
    right, left = dome_shapes(physique)
    bubble = left.centers_mm[0] + [-12.0, -14.0, 84.0]
    size = physique.gas_size
    gas = Ellipsoids.join(
        ellipsoid(list(bubble), [26 * size, 24 * size, 13 * size], rotation_about(1, -8)),
        ellipsoid(list(bubble + np.array([38.0, 12.0, -34.0])), [17 * size, 16 * size, 15 * size]),
    )
    return [Solid("liver", 0.0006, right.resize(0.98)), Solid("gas", AIR - MUSCLE, gas)]
