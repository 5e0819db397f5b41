"""Skin, fat, muscle, and the cavity that the ribs enclose: superellipses whose axes change with height."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from medi2i.drr.phantom.canvas import Canvas
from medi2i.drr.phantom.fields import Grid, ellipsoid, join_smoothly, tube
from medi2i.drr.phantom.physique import Physique

FAT_HU, MUSCLE_HU = -100.0, 45.0

# height, half width, reach to the back and to the front of the inner surface of the ribs, before chest size
_CAVITY = np.array(
    [
        [150, 34, 42, 22],
        [132, 44, 50, 26],
        [116, 60, 59, 36],
        [96, 80, 68, 47],
        [70, 100, 76, 59],
        [40, 116, 82, 71],
        [0, 127, 87, 80],
        [-40, 132, 90, 85],
        [-80, 134, 91, 86],
        [-120, 132, 90, 83],
        [-160, 128, 87, 78],
        [-220, 122, 82, 74],
    ],
    dtype=np.float64,
)
# the same of the muscle's outer surface: neck, trapezius, and below the ribs; what the ribs need comes on top
_NECK = np.array(
    [
        [240, 54, 62, 52],
        [170, 54, 64, 50],
        [146, 68, 66, 44],
        [128, 92, 68, 44],
        [108, 120, 70, 52],
        [84, 122, 80, 62],
    ],
    dtype=np.float64,
)


@dataclass(frozen=True, slots=True)
class Sections:
    """A superellipse at every height: axes are (1, 1, K), and so is the depth of its centre."""

    half_width: Float32[np.ndarray, "1 1 K"]
    back: Float32[np.ndarray, "1 1 K"]
    front: Float32[np.ndarray, "1 1 K"]
    center_y: Float32[np.ndarray, "1 1 K"]
    power: float

    def field(self, grid: Grid) -> Float32[np.ndarray, "I J K"]:
        """About mm to the surface, across the height."""
        across = np.abs(grid.x / self.half_width) ** np.float32(self.power)
        y = grid.y - self.center_y
        reach = np.where(y < 0, self.back, self.front)
        depth = np.abs(y / reach) ** np.float32(self.power)
        total = across + depth
        total -= 1
        total *= (2 * self.half_width + self.back + self.front) / np.float32(4 * self.power)
        return total


def spine_depth(height_mm: float | np.ndarray, physique: Physique) -> np.ndarray:
    """y of the vertebral bodies' centres: kyphosis of the chest, lordosis below."""
    return np.minimum(-50.0 + 0.0011 * physique.kyphosis * (np.asarray(height_mm) + 10.0) ** 2, -8.0)


def vertebra_half_width(height_mm: float | np.ndarray) -> np.ndarray:
    """Half width of the vertebral bodies, from neck to loin."""
    return np.asarray(np.interp(height_mm, [-300.0, -130.0, 132.0, 210.0], [23.0, 18.5, 14.0, 11.0]))


def cavity_sections(height_mm: Float32[np.ndarray, "*n"], physique: Physique) -> Sections:
    """The inner surface of the ribs at given heights."""
    z = np.ravel(height_mm)
    width, back, front = (np.interp(z, _CAVITY[::-1, 0], _CAVITY[::-1, column]) for column in (1, 2, 3))
    # the upper chest leans back with the spine
    center_y = np.interp(z, [-220, 0, 60, 150], [2.0, 2.0, 0.0, -16.0])
    parts = (
        width * physique.chest_width,
        back * physique.chest_depth,
        front * physique.chest_depth,
        center_y,
    )
    half_width, back, front, center = (part.astype(np.float32)[None, None] for part in parts)
    return Sections(half_width, back, front, center, physique.chest_power)


def cavity_field(grid: Grid, physique: Physique) -> Float32[np.ndarray, "I J K"]:
    """The chest and upper abdomen inside the ribs."""
    return cavity_sections(grid.z, physique).field(grid)


def _wall_sections(height_mm: np.ndarray, physique: Physique) -> Sections:
    """The outer surface of the muscles around ribs and abdomen."""
    inner, z = cavity_sections(height_mm, physique), np.ravel(height_mm)
    belly = physique.belly_mm * np.clip((-90.0 - z) / 90.0, 0.0, 1.0)
    # what covers the ribs: latissimus and serratus at the sides, the long muscles behind, pectorals in front
    side = physique.wall_mm + 0.25 * belly
    behind = physique.wall_mm + np.interp(z, [-200, 60, 120], [12.0, 12.0, 16.0])
    ahead = physique.wall_mm + np.interp(z, [-200, -60, 40, 110], [-1.0, -3.0, 6.0, 2.0]) + belly
    wider, deeper, fuller = (part.astype(np.float32)[None, None] for part in (side, behind, ahead))
    return Sections(
        inner.half_width + wider, inner.back + deeper, inner.front + fuller, inner.center_y, inner.power
    )


def _neck_sections(height_mm: np.ndarray, physique: Physique) -> Sections:
    z = np.ravel(height_mm)
    width, back, front = (np.interp(z, _NECK[::-1, 0], _NECK[::-1, column]) for column in (1, 2, 3))
    center_y = spine_depth(z, physique) + 24.0
    half_width, back, front, center = (
        part.astype(np.float32)[None, None] for part in (width, back, front, center_y)
    )
    return Sections(half_width, back, front, center, 2.0)


def shoulder_mm(side: float, physique: Physique) -> np.ndarray:
    """Centre of the shoulder joint's ball; `side` is 1 for the patient's right."""
    return np.array([170.0 * side, -30.0, 98.0 + physique.shoulder_mm])


def arm_direction(side: float, physique: Physique) -> np.ndarray:
    """Unit vector from shoulder to elbow."""
    angle = np.deg2rad(physique.arm_deg)
    return np.array([side * np.sin(angle), 0.0, -np.cos(angle)])


def _muscle_field(grid: Grid, physique: Physique) -> Float32[np.ndarray, "I J K"]:
    """Trunk, neck, shoulders and arms."""
    field = _wall_sections(grid.z, physique).field(grid)
    # closed at the top, where the neck goes on
    field = np.maximum(field, grid.z - np.float32(112.0))
    # joined over the last centimetres, so that nothing shows where the neck's sections begin
    upper = grid.cut(np.array([-1e3, -1e3, 40.0]), np.array([1e3, 1e3, 1e3]))
    neck = np.maximum(_neck_sections(upper.z, physique).field(upper), 60.0 - upper.z)
    part = field[upper.slices]
    part[...] = join_smoothly(part, neck, 20.0)
    rise = physique.shoulder_mm
    for side in (-1.0, 1.0):
        slope = [side * 72.0, -30.0, 108.0 + rise], [92.0, 50.0, 34.0]
        deltoid = [side * 158.0, -22.0, 90.0 + rise], [44.0, 52.0, 48.0]
        pectoral = [side * 76.0, 50.0, 44.0], [66.0, 36.0, 60.0]
        blade = [side * 104.0, -58.0, 40.0 + rise], [54.0, 36.0, 92.0]
        for (center, semi_axes), turn in (
            (slope, -side * 14.0),
            (deltoid, 0.0),
            (pectoral, 0.0),
            (blade, 0.0),
        ):
            _join(field, grid, center, semi_axes, turn, 22.0, physique.fat_mm)
        joint = shoulder_mm(side, physique) - np.array([side * 8.0, 0.0, 8.0])
        curve = np.stack([joint, joint + 320.0 * arm_direction(side, physique)])
        box, arm = tube(grid, curve, np.array([40.0, 36.0]), margin_mm=physique.fat_mm + 12.0)
        part = field[box.slices]
        part[...] = join_smoothly(part, arm, 10.0)
    return field


def _join(
    field: Float32[np.ndarray, "I J K"],
    grid: Grid,
    center_mm: list[float],
    semi_axes_mm: list[float],
    turn_deg: float,
    blend_mm: float,
    margin_mm: float,
) -> None:
    """Unite the field with an ellipsoid, in the ellipsoid's neighbourhood."""
    # the field, scaled by the shortest axis, reaches blend and margin this far out along each axis
    reach = np.array(semi_axes_mm) * (1 + (blend_mm + margin_mm) / min(semi_axes_mm))
    reach[[0, 2]] = np.hypot(*reach[[0, 2]]) if turn_deg else reach[[0, 2]]
    box = grid.around(center_mm, list(reach))
    part = field[box.slices]
    part[...] = join_smoothly(part, ellipsoid(box, center_mm, semi_axes_mm, turn_deg), blend_mm)


def paint_trunk(canvas: Canvas, physique: Physique, rng: np.random.Generator) -> None:
    """Fat and muscle of the whole volume, and breasts."""
    grid = canvas.grid
    muscle = _muscle_field(grid.alone(), physique)
    canvas.paint(grid, muscle - np.float32(physique.fat_mm), FAT_HU)
    if physique.breast_mm > 0:
        _paint_breasts(canvas, physique, rng)
    canvas.paint(grid, muscle, MUSCLE_HU)


def _paint_breasts(canvas: Canvas, physique: Physique, rng: np.random.Generator) -> None:
    """Fat with glandular tissue in it; muscle is painted over them."""
    front = cavity_sections(np.array([-40.0], dtype=np.float32), physique)
    y = 0.86 * float(front.front[0, 0, 0]) + physique.wall_mm + physique.fat_mm - 16.0
    for side in (-1.0, 1.0):
        height, sideways = -42.0 + rng.normal(0.0, 4.0), 76.0 + rng.normal(0.0, 3.0)
        center = [side * sideways, y, height]
        semi_axes = [62.0, physique.breast_mm + 16.0, 66.0]
        box = canvas.grid.around(center, [70.0, 60.0, 74.0])
        canvas.paint(box, ellipsoid(box, center, semi_axes), FAT_HU)
        gland = [0.6 * length for length in semi_axes]
        canvas.paint(box, ellipsoid(box, [center[0], y + 4.0, height - 4.0], gland), -20.0)
