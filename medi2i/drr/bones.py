"""Bones of the chest: spine, ribs, clavicles, and the shoulder girdle. Millimetres, LPS, before body size."""

from __future__ import annotations

import numpy as np

from medi2i.drr.ellipsoids import Ellipsoids
from medi2i.drr.physique import Physique
from medi2i.drr.tissues import Chain, join_chains, make_beads, make_bone, make_tube, rotation_about

_FIRST_THORACIC_MM = 132.0
# rib by rib: how far round the cage the bone goes before cartilage, and its total descent to the front
_RIB_END_DEGREES = (148, 146, 146, 145, 145, 143, 140, 133, 124, 112, 78, 55)
_RIB_DROP_MM = (62, 82, 96, 104, 108, 110, 112, 114, 114, 112, 108, 100)
_CAGE_CENTER_MM = np.array([0.0, -4.0, -60.0])
_CAGE_SEMI_AXES_MM = np.array([137.0, 96.0, 216.0])


def vertebral_heights() -> np.ndarray:
    """(20, 2) centre and pitch of C5 to L5 along z; thoracic vertebrae are rows 3 to 14."""
    pitches = np.concatenate([np.full(3, 17.0), np.linspace(19.0, 27.5, 12), np.full(5, 34.0)])
    centers = _FIRST_THORACIC_MM - (np.cumsum(pitches) - pitches / 2 - pitches[:3].sum() - pitches[3] / 2)
    return np.stack([centers, pitches], axis=1)


def spine_axis(height_mm: float | np.ndarray, physique: Physique) -> np.ndarray:
    """(..., 3) points on the curve through the vertebral bodies at given heights."""
    z = np.asarray(height_mm, dtype=np.float64)
    x = physique.scoliosis_mm * np.sin(2 * np.pi * z / 360.0 + physique.scoliosis_phase)
    y = 50.0 - 0.0011 * physique.kyphosis * (z + 10.0) ** 2
    return np.stack([x, np.maximum(y, 5.0), z], axis=-1)


def build_spine(physique: Physique) -> Chain:
    """Twenty vertebrae with disc spaces: body, end plates, pedicles, laminae and processes."""
    parts = []
    for index, (height, pitch) in enumerate(vertebral_heights()):
        center = spine_axis(height, physique)
        half_width = float(np.interp(index, [0, 3, 14, 19], [11.0, 13.5, 18.5, 23.0]))
        parts.append(_build_vertebra(center, half_width, pitch, index >= 3, physique.bone_density))
    return join_chains("spine", *parts)


def _build_vertebra(
    center: np.ndarray, half_width: float, pitch: float, thoracic: bool, density: float
) -> Chain:
    height, half_depth = pitch * 0.78, half_width * 0.8
    density *= 0.8 if thoracic else 0.5
    back = half_depth + 4.0
    pair = np.array([[-1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    halves = center + np.array([[0, 0, 0.22], [0, 0, -0.22]]) * height
    plates = center + np.array([[0, 0, 0.47], [0, 0, -0.47]]) * height
    pedicles = center + pair * [half_width * 0.64, back, height * 0.14]
    laminae = center + pair * [7.0, back + 14.0, -height * 0.15]
    transverse = center + pair * [half_width + (8.0 if thoracic else 3.0), back + 14.0, height * 0.12]
    spinous = center + np.array([0.0, back + 26.0, -height * (0.55 if thoracic else 0.15)])

    # centres, semi-axes (mm), density, marrow's share of the radius, share where pieces overlap
    pieces: list[tuple[np.ndarray, list[float], float, float, float]] = [
        (halves, [half_width, half_depth, height * 0.4], 1.0, 0.8, 0.6),
        (plates, [half_width * 0.95, half_depth * 0.9, 1.3], 0.55, 0.0, 1.0),
        (pedicles, [4.2, 6.5, height * 0.27], 1.0, 0.62, 1.0),
        (laminae, [7.5, 3.6, height * 0.34], 0.7, 0.6, 1.0),
        (transverse, [11.0 if thoracic else 6.0, 4.5, 4.5], 0.7, 0.7, 1.0),
        (spinous, [2.8, 13.0, 8.0], 0.6, 0.6, 1.0),
    ]
    beads = [
        make_beads(
            "spine",
            Ellipsoids.from_axes(centers, semi_axes),
            density=density * strength,
            marrow_fraction=marrow,
            share=share,
        )
        for centers, semi_axes, strength, marrow, share in pieces
    ]
    return join_chains("spine", *beads)


def build_ribs(physique: Physique) -> Chain:
    """Eleven or twelve pairs of ribs: each a flat tube on the cage, from its vertebra to its cartilage."""
    heights = vertebral_heights()[3:15, 0]
    bones = [
        _build_rib(number, side, heights[number], physique)
        for number in range(physique.rib_pairs)
        for side in (-1.0, 1.0)
    ]
    return join_chains("ribs", *bones)


def _build_rib(number: int, side: float, height_mm: float, physique: Physique) -> Chain:
    head = spine_axis(height_mm, physique)
    angle = np.deg2rad(np.linspace(8.0, _RIB_END_DEGREES[number], 40))
    descent = np.power((angle - angle[0]) / np.pi, 1.35)
    z = height_mm + 4.0 - physique.rib_drop * _RIB_DROP_MM[number] * descent
    level = np.sqrt(np.maximum(1 - ((z - _CAGE_CENTER_MM[2]) / _CAGE_SEMI_AXES_MM[2]) ** 2, 0.18))
    sideways = _CAGE_SEMI_AXES_MM[0] * physique.lung_width * level * np.sin(angle)
    y = _CAGE_CENTER_MM[1] + _CAGE_SEMI_AXES_MM[1] * level * np.cos(angle)
    # from the vertebra back to the rib's angle, before it follows the cage
    on_cage = np.clip((sideways - 16.0) / 40.0, 0.0, 1.0)
    on_cage = on_cage * on_cage * (3 - 2 * on_cage)
    y = (1 - on_cage) * (head[1] + 14.0) + on_cage * y
    x = side * (sideways + 6.0 * (1 - on_cage)) + head[0] * (1 - on_cage)
    size = 0.82 if number in (0, 10, 11) else 1.0
    taper = np.interp(np.linspace(0, 1, 40), [0.0, 0.12, 0.8, 1.0], [0.72, 1.0, 1.0, 1.12])
    radii = np.outer(taper, [physique.rib_height_mm / 2, 4.4]) * size
    curve = np.stack([x, y, z], axis=1)
    return make_bone("ribs", curve, radii, density=2.1 * physique.bone_density, marrow_fraction=0.68)


def build_clavicle(side: float, physique: Physique) -> Chain:
    """One S-shaped clavicle, from the sternum to the shoulder; `side` is 1 for the patient's left."""
    along = np.linspace(0.0, 1.0, 30)
    reach = 132.0 * along
    rise = np.tan(np.deg2rad(physique.clavicle_degrees))
    x = side * (17.0 + reach)
    y = -60.0 - 14.0 * np.sin(2 * np.pi * along * 0.9) + 78.0 * along**1.3
    z = 90.0 + rise * reach * (1.35 - 0.35 * along) + 4.5 * np.sin(2 * np.pi * along)
    height = np.interp(along, [0, 0.12, 0.5, 1.0], [10.5, 8.0, 5.8, 5.6])
    depth = np.interp(along, [0, 0.12, 0.5, 1.0], [9.5, 7.0, 5.8, 9.0])
    name = "left_clavicle" if side > 0 else "right_clavicle"
    curve = np.stack([x, y, z], axis=1)
    radii = np.stack([height, depth], axis=1)
    return make_bone(
        name, curve, radii, density=2.0 * physique.bone_density, marrow_fraction=0.66, step_mm=5.0
    )


def build_sternum(physique: Physique) -> Chain:
    """Manubrium and body of the sternum, flat and of low contrast."""
    curve = np.array([[0.0, -72.0, 88.0], [0.0, -80.0, 40.0], [0.0, -88.0, -10.0], [0.0, -90.0, -65.0]])
    radii = np.array([[24.0, 5.0], [15.0, 4.5], [17.0, 4.5], [9.0, 4.0]])
    return make_bone("sternum", curve, radii, density=0.6 * physique.bone_density, up=(1.0, 0.0, 0.0))


def build_shoulder(side: float, physique: Physique) -> list[Chain]:
    """Scapula and humerus of one side."""
    density, flip = physique.bone_density, np.array([side, 1.0, 1.0])

    def bone(curve: list[list[float]], radii: list[list[float]], strength: float) -> Chain:
        return make_bone("shoulder", np.array(curve) * flip, np.array(radii), density=density * strength)

    blade = make_tube(
        "shoulder",
        np.array([[112.0, 76.0, 112.0], [121.0, 78.0, 70.0], [124.0, 82.0, 20.0], [120.0, 86.0, -34.0]])
        * flip,
        np.array([[12.0, 2.0], [23.0, 2.0], [14.0, 2.2], [4.0, 2.4]]),
        0.009 * density,
        up=(1.0, 0.0, 0.0),
    )
    border = bone([[147, 52, 84], [138, 74, 30], [123, 84, -24]], [[4.5, 4], [3.5, 4], [3.5, 3]], 0.8)
    spine = bone([[92, 92, 78], [125, 90, 98], [160, 62, 124]], [[3.5, 5], [4.5, 6], [5.5, 9]], 0.7)
    coracoid = bone([[138, 45, 108], [128, 14, 112]], [[6, 6], [5, 5]], 0.7)
    glenoid = make_beads(
        "shoulder",
        Ellipsoids.from_axes(np.array([146.0, 44.0, 94.0]) * flip, [8.0, 13.0, 19.0]),
        density=density,
    )
    return [blade, border, spine, coracoid, glenoid, build_humerus(side, physique)]


def humeral_head(side: float) -> np.ndarray:
    """Centre of the shoulder joint's ball."""
    return np.array([170.0 * side, 30.0, 98.0])


def arm_direction(side: float, physique: Physique) -> np.ndarray:
    """Unit vector from shoulder to elbow."""
    return rotation_about(1, -side * physique.arm_degrees) @ np.array([0.0, 0.0, -1.0])


def build_humerus(side: float, physique: Physique) -> Chain:
    """Head and shaft of one humerus."""
    head, direction = humeral_head(side), arm_direction(side, physique)
    curve = head + np.linspace(0.0, 200.0, 20)[:, None] * direction
    shaft = make_bone(
        "shoulder",
        curve,
        np.array([12.0, 12.0]),
        density=physique.bone_density,
        marrow_fraction=0.6,
        up=(0.0, 1.0, 0.0),
    )
    ball = make_beads(
        "shoulder",
        Ellipsoids.from_axes(head, [24.0, 24.0, 24.0]),
        density=physique.bone_density,
        marrow_fraction=0.94,
    )
    return join_chains("shoulder", ball, shaft)
