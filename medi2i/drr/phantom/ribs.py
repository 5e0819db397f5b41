"""Twelve pairs of ribs: bands on the surface of the chest cavity, so that they follow the chest wall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from medi2i.drr.phantom.canvas import Canvas
from medi2i.drr.phantom.chest import THORAX_HIGH_MM, THORAX_LOW_MM
from medi2i.drr.phantom.fields import Grid, tube
from medi2i.drr.phantom.physique import Physique
from medi2i.drr.phantom.skeleton import paint_bone, spine_sideways, thoracic_heights
from medi2i.drr.phantom.trunk import Sections, cavity_sections, spine_depth, vertebra_half_width

# rib by rib: how far round the cage the bone goes before cartilage, and its total descent to the front
_END_DEG = np.array([148, 146, 146, 145, 145, 143, 140, 133, 124, 112, 78, 55], dtype=np.float64)
_DROP_MM = np.array([62, 82, 96, 104, 108, 110, 112, 114, 114, 112, 108, 100], dtype=np.float64)
_START_DEG = 10.0
_HALF_THICKNESS_MM = 3.7
# of a rib's middle outside the pleura
_OFFSET_MM = 5.2
_REACH_MM = 8.0
_MARGIN_MM = 10.0
_LEVELLING = 0.07
# how much thinner, and less dense, a rib is at the side than behind
_THINNER, _LIGHTER = 0.3, 0.35


@dataclass(frozen=True, slots=True)
class _Shell:
    """Voxels near the chest wall.

    Attributes:
        index: flat index in the box.
        right: whether on the patient's right.
        angle: from the back round to the front, radians.
        height: z in mm.
        outside: mm outside the pleura.
        radius: of the chest there, mm.
        fallen: share of a rib's descent at this angle; steepness: its derivative, per radian.
        lateral: 1 at the side of the chest, 0 behind and in front.
    """

    index: np.ndarray
    right: np.ndarray
    angle: Float32[np.ndarray, " N"]
    height: Float32[np.ndarray, " N"]
    outside: Float32[np.ndarray, " N"]
    radius: Float32[np.ndarray, " N"]
    fallen: Float32[np.ndarray, " N"]
    steepness: Float32[np.ndarray, " N"]
    lateral: Float32[np.ndarray, " N"]


def paint_ribs(
    canvas: Canvas, physique: Physique, rng: np.random.Generator, missing: tuple[tuple[str, int], ...] = ()
) -> None:
    """All ribs but the missing ones, each named by side and number, e.g. ("left", 7)."""
    box = canvas.grid.cut(THORAX_LOW_MM - _MARGIN_MM, THORAX_HIGH_MM + _MARGIN_MM)
    sections = cavity_sections(box.z, physique)
    shell = _find_shell(box, sections)
    field = np.full(box.shape, np.float32(1e3))
    near = np.full(shell.index.size, np.float32(1e3))
    for number in range(12):
        places, distance = _rib_distance(shell, number, physique)
        for side, right in (("right", True), ("left", False)):
            if (side, number + 1) in missing:
                distance[shell.right[places] == right] = 1e3
        near[places] = np.minimum(near[places], distance)
    field.reshape(-1)[shell.index] = near
    _join_heads(field, box, sections, physique, missing)
    trabeculae = rng.standard_normal(box.shape, dtype=np.float32) * np.float32(30.0)
    density = np.full(box.shape, np.float32(0.92 * physique.bone_density))
    density.reshape(-1)[shell.index] *= 1 - np.float32(_LIGHTER) * shell.lateral
    paint_bone(canvas, box, field, trabeculae + np.float32(90.0), density=density, cortex_mm=1.5)
    canvas.label_bone("ribs", box, field < 0)


def _find_shell(box: Grid, sections: Sections) -> _Shell:
    rough = sections.field(box)
    index = np.flatnonzero(np.abs(rough - _OFFSET_MM) < 14.0)
    i, j, k = np.unravel_index(index, box.shape)
    x, y, z = box.x.ravel()[i], box.y.ravel()[j], box.z.ravel()[k]
    width, back, front, center = (
        part.ravel()[k] for part in (sections.half_width, sections.back, sections.front, sections.center_y)
    )
    power = np.float32(sections.power)
    depth = y - center
    reach = np.where(depth < 0, back, front)
    u, v = np.abs(x) / width, np.abs(depth) / reach
    rho = np.maximum(u**power + v**power, 1e-6) ** (1 / power)
    # distance = value over slope, of the function whose unit level is the surface
    slope = rho ** (1 - power) * np.hypot(u ** (power - 1) / width, v ** (power - 1) / reach)
    outside = (rho - 1) / np.maximum(slope, 1e-4)
    kept = np.abs(outside - np.float32(_OFFSET_MM)) < np.float32(_REACH_MM)
    angle = np.arctan2(u, -depth / reach)
    angle, height, outside, radius = (
        part[kept].astype(np.float32) for part in (angle, z, outside, np.sqrt(width * reach))
    )
    fallen, steepness = _descent(angle)
    lateral = np.sin(angle) ** 4
    return _Shell(index[kept], x[kept] > 0, angle, height, outside, radius, fallen, steepness, lateral)


def _descent(angle: Float32[np.ndarray, " N"]) -> tuple[Float32[np.ndarray, " N"], Float32[np.ndarray, " N"]]:
    """Share of a rib's fall, and its derivative per radian: t ** 1.35 with a gentler slope at the side.

    t is the share of half a turn from where ribs begin. At the side the beam runs along the rib, so that a
    steep one would close the gap to its neighbour.
    """
    begin = np.float32(np.deg2rad(_START_DEG))
    turned = np.clip((angle - begin) / np.float32(np.pi), 0, 1)
    side = np.float32(0.5 - _START_DEG / 180)
    wave = np.float32(np.pi) / side
    fallen = turned ** np.float32(1.35) + np.float32(_LEVELLING) * np.sin(wave * turned)
    slope = np.float32(1.35) * turned ** np.float32(0.35)
    slope += np.float32(_LEVELLING) * wave * np.cos(wave * turned)
    return fallen, slope / np.float32(np.pi)


def _rib_distance(
    shell: _Shell, number: int, physique: Physique
) -> tuple[np.ndarray, Float32[np.ndarray, " M"]]:
    """Voxels near one pair of ribs, and about mm to the ribs' surface."""
    size = 0.82 if number in (0, 10, 11) else 1.0
    half_height = physique.rib_height_mm / 2 * size
    drop = np.float32(physique.rib_drop * _DROP_MM[number])
    above = shell.height - np.float32(thoracic_heights()[number] + 4.0) + drop * shell.fallen
    places = np.flatnonzero(np.abs(above) < 2.5 * half_height)
    angle, radius = shell.angle[places], shell.radius[places]
    half_thickness = np.float32(_HALF_THICKNESS_MM * size) * (
        1 - np.float32(_THINNER) * shell.lateral[places]
    )
    # a band that slopes is taller along z than across itself
    slope = drop * shell.steepness[places] / radius
    end, start = np.float32(np.deg2rad(_END_DEG[number])), np.float32(np.deg2rad(_START_DEG))
    beyond = np.maximum(np.maximum(angle - end, start - angle), 0) * radius
    square = above[places] ** 2 / ((1 + slope * slope) * np.float32(half_height**2))
    square += (shell.outside[places] - np.float32(_OFFSET_MM)) ** 2 / half_thickness**2
    square += beyond**2 / half_thickness**2
    return places, (np.sqrt(square) - 1) * half_thickness


def _join_heads(
    field: Float32[np.ndarray, "I J K"],
    box: Grid,
    sections: Sections,
    physique: Physique,
    missing: tuple[tuple[str, int], ...],
) -> None:
    """Necks and heads: from the wall behind to the sides of the vertebral bodies."""
    whole = box.alone()
    heights = box.z.ravel()
    for number in range(12):
        level = thoracic_heights()[number] + 4.0
        place = int(np.abs(heights - level).argmin())
        behind = float((sections.center_y - sections.back).ravel()[place]) - _OFFSET_MM + 2.0
        middle = float(spine_sideways(level, physique))
        beside = float(vertebra_half_width(level))
        for side, sign in (("right", 1.0), ("left", -1.0)):
            if (side, number + 1) in missing:
                continue
            wall = [sign * (beside + 8.0), behind + 1.0, level - 1.0]
            neck = [middle + sign * (beside + 3.0), float(spine_depth(level, physique)) - 14.0, level + 2.0]
            head = [middle + sign * beside, float(spine_depth(level, physique)) - 6.0, level + 3.0]
            part_box, part = tube(whole, np.array([wall, neck, head]), np.array([3.6, 3.3, 4.0]))
            near = field[part_box.slices]
            np.minimum(near, part, out=near)
