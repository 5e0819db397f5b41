"""Lungs, diaphragm, mediastinum, heart and great vessels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32
from scipy.ndimage import gaussian_filter

from medi2i.drr.phantom.canvas import Canvas
from medi2i.drr.phantom.fields import Grid, ellipsoid, join_smoothly, tube
from medi2i.drr.phantom.physique import Physique
from medi2i.drr.phantom.trunk import cavity_field, spine_depth, vertebra_half_width

BLOOD_HU, AIRWAY_HU, CONNECTIVE_HU = 45.0, -1000.0, 15.0
THORAX_LOW_MM, THORAX_HIGH_MM = np.array([-150.0, -120.0, -215.0]), np.array([150.0, 115.0, 150.0])
_APEX_MM = 124.0

# height, and half width of what parts the lungs: before the vertebral bodies, and behind the sternum
_MEDIASTINUM = np.array(
    [
        [130, 25, 24],
        [100, 26, 19],
        [70, 23, 11],
        [40, 19, 6],
        [0, 17, 6],
        [-60, 17, 12],
        [-110, 19, 24],
        [-220, 22, 28],
    ],
    dtype=np.float64,
)


@dataclass(frozen=True, slots=True)
class Chest:
    """Fields of the chest's organs in one box, and which voxels are aerated lung.

    Attributes:
        grid: the box.
        cavity: inside of the ribs.
        lungs: left and right.
        heart: of the heart.
        between: of all that parts the lungs.
        domes: height of the diaphragm, (I, J, 1), at each place.
    """

    grid: Grid
    cavity: Float32[np.ndarray, "I J K"]
    lungs: dict[str, Float32[np.ndarray, "I J K"]]
    heart: Float32[np.ndarray, "I J K"]
    between: Float32[np.ndarray, "I J K"]
    domes: Float32[np.ndarray, "I J 1"]


def build_chest(grid: Grid, physique: Physique) -> Chest:
    """Shapes of the lungs and of what displaces them."""
    box = grid.cut(THORAX_LOW_MM, THORAX_HIGH_MM)
    cavity = cavity_field(box, physique)
    domes = dome_height(box, physique)
    heart = _heart_field(box, physique, domes)
    taken = np.minimum(heart, _great_vessel_field(box, physique))
    outer = np.maximum(cavity, np.float32(0.85) * (domes - box.z))
    outer = np.maximum(outer, -taken)
    half_width = _mediastinum_half_width(box, physique)
    center = _spine_sideways(box.z, physique) * np.clip((-box.y - 10) / 40, 0, 1).astype(np.float32)
    offset = box.x - center
    lungs = {}
    for name, side in (("left_lung", -1.0), ("right_lung", 1.0)):
        medial = half_width - np.float32(side) * offset
        lungs[name] = np.maximum(np.maximum(outer, medial), _apex_field(box, side, physique))
    between = np.minimum(np.abs(offset) - half_width, taken)
    return Chest(box, cavity, lungs, heart, between, domes)


def dome_height(grid: Grid, physique: Physique) -> Float32[np.ndarray, "I J 1"]:
    """Height of the diaphragm at each place: a dome a side, lowest along the wall behind and at the sides."""
    heights = []
    for side, top in ((1.0, -78.0 + physique.right_dome_mm), (-1.0, -92.0 + physique.left_dome_mm)):
        x, y = grid.x - np.float32(side * 62.0), grid.y - np.float32(22.0)
        outward = np.where(side * x > 0, 66.0 * physique.chest_width, 82.0)
        backward = np.where(y < 0, 102.0, 78.0) * physique.chest_depth
        square = ((x / outward) ** 2 + (y / backward) ** 2).astype(np.float32)
        fall = square * (np.float32(20.0) + np.float32(25.0) * square)
        heights.append(np.float32(top) - np.float32(physique.recess) * fall)
    return -join_smoothly(-heights[0], -heights[1], 16.0)


def _apex_field(grid: Grid, side: float, physique: Physique) -> Float32[np.ndarray, "I J K"]:
    """Below the rounded top of one lung."""
    x, y = (
        (grid.x - np.float32(side * 40.0)) / np.float32(40.0),
        (grid.y + np.float32(24.0)) / np.float32(40.0),
    )
    top = np.float32(_APEX_MM + physique.apex_mm) - np.float32(62.0) * (np.sqrt(1 + x * x + y * y) - 1)
    return np.float32(0.8) * (grid.z - top)


def _mediastinum_half_width(grid: Grid, physique: Physique) -> Float32[np.ndarray, "1 J K"]:
    z = grid.z.ravel()
    behind, ahead = (np.interp(z, _MEDIASTINUM[::-1, 0], _MEDIASTINUM[::-1, column]) for column in (1, 2))
    share = np.clip((grid.y - 10.0) / 55.0, 0.0, 1.0)
    width = (behind + share * (ahead - behind)) * physique.mediastinum
    # lungs lie close to the vertebral bodies
    beside = np.clip((grid.y - spine_depth(z, physique)) / -12.0, 0.0, 1.0)
    return (width * (1 - beside) + beside * (vertebra_half_width(z) + 2.0)).astype(np.float32)


def _spine_sideways(height_mm: np.ndarray, physique: Physique) -> np.ndarray:
    turn = 2 * np.pi * height_mm / 360.0 + physique.scoliosis_phase
    return (physique.scoliosis_mm * np.sin(turn)).astype(np.float32)


def _heart_field(
    grid: Grid, physique: Physique, domes: Float32[np.ndarray, "I J 1"]
) -> Float32[np.ndarray, "I J K"]:
    """Ventricles along the tilted long axis, right atrium, and outflow tract; flat on the diaphragm."""
    size, shift = physique.heart_size, -physique.heart_shift_mm
    box = grid.alone().cut(np.array([-125.0, -60.0, -150.0]), np.array([70.0, 95.0, 75.0]))
    tilt = physique.heart_tilt_deg
    ventricles = ellipsoid(box, [-24 + shift, 26, -58], [67 * size, 45 * size, 44 * size], tilt)
    atrium = ellipsoid(box, [13 + shift, 12, -46], [29 * size, 38 * size, 54 * size], 6.0)
    outflow = ellipsoid(box, [-17 + shift, 18, -6], [24 * size, 30 * size, 42 * size], 14.0)
    heart = join_smoothly(join_smoothly(ventricles, atrium, 12.0), outflow, 14.0)
    field = np.full(grid.shape, 1e3, dtype=np.float32)
    below = domes[box.slices[:2]] - np.float32(6.0) - box.z
    field[box.slices] = np.maximum(heart, below)
    return field


def aorta_curve(physique: Physique) -> np.ndarray:
    """(M, 3) axis: up from the heart, over to the left, and down beside the spine."""
    z = np.linspace(30.0, -215.0, 10)
    below = np.stack(
        [np.interp(z, [-215, -100, 30], [-8.0, -19.0, -25.0]), spine_depth(z, physique) + 16.0, z], axis=1
    )
    above = np.array(
        [[2, 22, -20], [11, 20, 12], [9, 14, 40], [0, 4, 56], [-12, -10, 62], [-23, -22, 58], [-27, -32, 46]],
        dtype=np.float64,
    )
    return np.concatenate([above, below])


def _great_vessel_field(grid: Grid, physique: Physique) -> Float32[np.ndarray, "I J K"]:
    """Aorta, superior vena cava, pulmonary trunk and the roots of the lungs."""
    field = np.full(grid.shape, 1e3, dtype=np.float32)
    whole = grid.alone()
    curve = aorta_curve(physique)
    radii = np.interp(np.arange(len(curve)), [0, 6, 8, len(curve) - 1], [15.0, 13.5, 12.5, 10.5])
    cava = np.array([[21.0, 10.0, -30.0], [24.0, 10.0, 20.0], [21.0, 6.0, 80.0], [14.0, 0.0, 112.0]])
    subclavian = np.array([[-14.0, -10.0, 62.0], [-22.0, -14.0, 90.0], [-26.0, -16.0, 122.0]])
    trunk = np.array([[-14.0, 22.0, 0.0], [-24.0, 6.0, 22.0], [-32.0, -10.0, 24.0]])
    right_root = np.array([[10.0, 2.0, 12.0], [36.0, -4.0, 6.0], [42.0, -8.0, -24.0]])
    left_root = np.array([[-24.0, 2.0, 20.0], [-38.0, -14.0, 14.0], [-42.0, -22.0, -16.0]])
    for points, sizes in (
        (curve, radii * physique.aorta_size),
        (cava, np.array([10.0, 10.0, 9.5, 9.0])),
        (subclavian, np.array([9.0, 7.0, 6.0])),
        (trunk, np.array([15.0, 13.0, 10.0])),
        (right_root, np.array([11.0, 10.0, 6.5])),
        (left_root, np.array([11.0, 9.5, 6.0])),
    ):
        box, part = tube(whole, points, sizes)
        near = field[box.slices]
        np.minimum(near, part, out=near)
    return field


def paint_chest(canvas: Canvas, chest: Chest, physique: Physique, rng: np.random.Generator) -> None:
    """Mediastinum, heart, aerated lungs and airways, with their labels."""
    box = chest.grid
    canvas.paint(box, np.maximum(chest.cavity, chest.domes - box.z), CONNECTIVE_HU)
    canvas.paint(box, chest.heart, BLOOD_HU)
    _paint_tube(canvas, aorta_curve(physique), np.full(17, 12.0 * physique.aorta_size), BLOOD_HU)
    texture = _lung_texture(box, physique, rng)
    for name, field in chest.lungs.items():
        canvas.paint(box, field, texture)
        canvas.label(name, box, field < 0)
    canvas.label("heart", box, chest.heart < 0)
    canvas.label("mediastinum", box, _between_lungs(chest, physique))
    paint_airways(canvas)


def _between_lungs(chest: Chest, physique: Physique) -> Bool[np.ndarray, "I J K"]:
    """What lies in the chest between the lungs, from the vertebral bodies to the sternum, heart included."""
    box = chest.grid
    room = (chest.cavity < 0) & (box.z > chest.domes) & (box.z < _APEX_MM)
    before_spine = box.y > spine_depth(box.z, physique).astype(np.float32)
    return (chest.between <= 0) & room & before_spine


def _lung_texture(grid: Grid, physique: Physique, rng: np.random.Generator) -> Float32[np.ndarray, "I J K"]:
    """HU of aerated lung: denser to the bases of an upright patient, mottled by what is too small to draw."""
    fine = gaussian_filter(rng.standard_normal(grid.shape, dtype=np.float32), 0.8, truncate=2.5)
    fine *= np.float32(26.0 / max(float(fine[::4, ::4, ::4].std()), 1e-6))
    fine += np.float32(physique.lung_hu) + np.float32(45.0) * np.clip((60 - grid.z) / 200, -0.3, 1.2)
    return fine


def _paint_tube(canvas: Canvas, curve_mm: np.ndarray, radii_mm: np.ndarray, hounsfield: float) -> None:
    box, field = tube(canvas.grid, curve_mm, radii_mm)
    canvas.paint(box, field, hounsfield)


def paint_airways(canvas: Canvas) -> None:
    """Trachea and main bronchi."""
    trachea = np.array([[0.0, 2.0, 220.0], [0.0, -2.0, 130.0], [2.0, -14.0, 40.0]])
    right = np.array([[2.0, -14.0, 42.0], [15.0, -17.0, 24.0], [28.0, -16.0, 8.0], [36.0, -18.0, -8.0]])
    left = np.array([[2.0, -14.0, 42.0], [-18.0, -18.0, 25.0], [-36.0, -20.0, 15.0], [-44.0, -24.0, 2.0]])
    _paint_tube(canvas, trachea, np.array([9.5, 9.5, 9.0]), AIRWAY_HU)
    _paint_tube(canvas, right, np.array([7.0, 6.5, 5.5, 4.0]), AIRWAY_HU)
    _paint_tube(canvas, left, np.array([6.5, 6.0, 5.0, 3.5]), AIRWAY_HU)
