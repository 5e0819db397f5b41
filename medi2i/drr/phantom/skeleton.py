"""Spine, clavicles, sternum, shoulder blades and upper arms."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from medi2i.drr.phantom.canvas import Canvas
from medi2i.drr.phantom.fields import Grid, ellipsoid, tube
from medi2i.drr.phantom.physique import Physique
from medi2i.drr.phantom.trunk import (
    arm_direction,
    cavity_sections,
    shoulder_mm,
    spine_depth,
    vertebra_half_width,
)

MARROW_HU, CORTEX_HU, DISC_HU = 190.0, 950.0, 75.0
_FIRST_THORACIC_MM = 132.0


def vertebral_heights() -> np.ndarray:
    """(22, 2) centre and pitch of C3 to L5 along z, from the head; thoracic vertebrae are rows 5 to 16."""
    pitches = np.concatenate([np.full(5, 17.0), np.linspace(19.0, 27.5, 12), np.full(5, 34.0)])
    middles = np.cumsum(pitches) - pitches / 2
    return np.stack([_FIRST_THORACIC_MM + middles[5] - middles, pitches], axis=1)


def thoracic_heights() -> np.ndarray:
    """(12,) centres of T1 to T12 along z."""
    return vertebral_heights()[5:17, 0]


def spine_sideways(height_mm: float | np.ndarray, physique: Physique) -> np.ndarray:
    """x of the vertebral bodies' centres."""
    return physique.scoliosis_mm * np.sin(
        2 * np.pi * np.asarray(height_mm) / 360.0 + physique.scoliosis_phase
    )


def paint_bone(
    canvas: Canvas,
    box: Grid,
    field: Float32[np.ndarray, "I J K"],
    texture: Float32[np.ndarray, "I J K"] | float,
    *,
    density: float | Float32[np.ndarray, "I J K"],
    cortex_mm: float,
) -> None:
    """Compact bone with spongy bone inside it.

    Args:
        canvas: where.
        box, field: the bone's shape.
        texture: HU added to the spongy bone.
        density: 1 for an average adult, for the bone or voxel by voxel.
        cortex_mm: thickness of the compact bone.
    """
    canvas.paint(box, field, CORTEX_HU * density)
    canvas.paint(box, field + np.float32(cortex_mm), MARROW_HU * density + texture)


def paint_spine(canvas: Canvas, physique: Physique, rng: np.random.Generator) -> None:
    """All vertebrae at once: in each slice, height is counted from the nearest vertebra's centre."""
    box = canvas.grid.cut(np.array([-60.0, -125.0, -1e3]), np.array([60.0, 30.0, 1e3]))
    z = box.z.ravel().astype(np.float64)
    table = vertebral_heights()
    nearest = np.abs(z[:, None] - table[:, 0]).argmin(axis=1)
    pitch = table[nearest, 1].astype(np.float32)[None, None]
    height = (z - table[nearest, 0]).astype(np.float32)[None, None]
    wide = vertebra_half_width(z).astype(np.float32)[None, None]
    x = box.x - spine_sideways(box.z, physique).astype(np.float32)
    y = box.y - spine_depth(box.z, physique).astype(np.float32)
    thoracic = ((nearest >= 5) & (nearest <= 16)).astype(np.float32)[None, None]
    body = _body_field(x, y, height, pitch, wide)
    arch = _arch_field(np.abs(x), y, height, pitch, wide, thoracic)
    disc = np.hypot(x / wide, y / (np.float32(0.8) * wide)) - 1
    canvas.paint(box, disc * wide, DISC_HU)
    trabeculae = rng.standard_normal(box.shape, dtype=np.float32) * np.float32(35.0)
    paint_bone(canvas, box, body, trabeculae, density=physique.bone_density * 0.62, cortex_mm=1.4)
    paint_bone(canvas, box, arch, trabeculae, density=physique.bone_density * 0.42, cortex_mm=1.5)
    canvas.label_bone("spine", box, np.minimum(body, arch) < 0)


def _body_field(
    x: np.ndarray, y: np.ndarray, height: np.ndarray, pitch: np.ndarray, half_width: np.ndarray
) -> Float32[np.ndarray, "I J K"]:
    """Vertebral bodies: waisted, with end plates and disc spaces."""
    rim = np.abs(height) / (np.float32(0.39) * pitch)
    waist = half_width * (np.float32(0.9) + np.float32(0.1) * np.minimum(rim, 1) ** 2)
    radial = (np.hypot(x / waist, y / (np.float32(0.8) * waist)) - 1) * waist
    return np.maximum(radial, np.abs(height) - np.float32(0.39) * pitch).astype(np.float32)


def _arch_field(
    x: np.ndarray,
    y: np.ndarray,
    height: np.ndarray,
    pitch: np.ndarray,
    half_width: np.ndarray,
    thoracic: np.ndarray,
) -> Float32[np.ndarray, "I J K"]:
    """Pedicles, laminae, transverse and spinous processes; `x` is the distance to the middle."""
    back = -(np.float32(0.8) * half_width + 4)

    def piece(
        cx: np.ndarray, cy: np.ndarray, cz: np.ndarray, rx: np.ndarray, ry: float, rz: np.ndarray
    ) -> np.ndarray:
        radius = np.sqrt(((x - cx) / rx) ** 2 + ((height - cz) / rz) ** 2 + ((y - cy) / ry) ** 2)
        return ((radius - 1) * min(ry, 4.5)).astype(np.float32)

    one = np.ones_like(pitch)
    pieces = (
        piece(0.64 * half_width, back, 0.12 * pitch, 4.6 * one, 8.5, 0.24 * pitch),
        piece(8.0 * one, back - 15, -0.1 * pitch, 8.5 * one, 4.2, 0.33 * pitch),
        piece(half_width + 3 + 5 * thoracic, back - 14, 0.1 * pitch, 8 + 5 * thoracic, 4.8, 5.2 * one),
        piece(0 * one, back - 1.5 * half_width, (-0.12 - 0.3 * thoracic) * pitch, 3.4 * one, 13.0, 8.5 * one),
    )
    return np.minimum(np.minimum(pieces[0], pieces[1]), np.minimum(pieces[2], pieces[3]))


def paint_clavicle(canvas: Canvas, side: float, physique: Physique) -> None:
    """One S-shaped clavicle, from the sternum to the shoulder; `side` is 1 for the patient's right."""
    along = np.linspace(0.0, 1.0, 24)
    start = _front_of_chest(88.0, physique)
    end = shoulder_mm(side, physique)
    rise = np.tan(np.deg2rad(physique.clavicle_deg)) * 132.0 + physique.shoulder_mm
    x = side * (17.0 + 132.0 * along)
    # over the upper ribs in front, then back to the shoulder
    y = (
        start
        + 2.0
        + 12.0 * np.sin(np.pi * np.minimum(along / 0.7, 1.0))
        + (end[1] + 14.0 - start) * along**1.8
    )
    z = 92.0 + rise * along * (1.35 - 0.35 * along) + 4.5 * np.sin(2 * np.pi * along)
    radii = np.interp(along, [0, 0.12, 0.5, 1.0], [10.5, 7.8, 6.0, 7.0])
    box, field = tube(canvas.grid, np.stack([x, y, z], axis=1), radii)
    paint_bone(canvas, box, field, 100.0, density=1.1 * physique.bone_density, cortex_mm=2.4)
    canvas.label("right_clavicle" if side > 0 else "left_clavicle", box, field < 0)


def _front_of_chest(height_mm: float, physique: Physique) -> float:
    """y just before the inner surface of the ribs in the midline."""
    section = cavity_sections(np.array([height_mm], dtype=np.float32), physique)
    return float(section.center_y[0, 0, 0] + section.front[0, 0, 0])


def paint_sternum(canvas: Canvas, physique: Physique) -> None:
    """Manubrium and body of the sternum, flat and of low contrast."""
    heights = (88.0, 64.0, 40.0, 0.0, -40.0, -66.0)
    curve = np.array([[0.0, _front_of_chest(height, physique) + 6.0, height] for height in heights])
    box, field = tube(canvas.grid, curve, np.array([6.5, 6.0, 5.0, 5.0, 5.0, 4.0]), stretch=(3.4, 1.0, 1.5))
    paint_bone(canvas, box, field, 0.0, density=0.6 * physique.bone_density, cortex_mm=1.2)


def paint_shoulder(canvas: Canvas, side: float, physique: Physique) -> None:
    """Scapula and humerus of one side."""
    flip, density = np.array([side, 1.0, 1.0]), physique.bone_density
    rise = np.array([0.0, 0.0, physique.shoulder_mm])

    def bone(curve: list[list[float]], radii: list[float], strength: float, flat: float = 1.0) -> None:
        points = np.array(curve, dtype=np.float64) * flip + rise
        box, field = tube(canvas.grid, points, np.array(radii), stretch=(flat, 1.0, flat))
        paint_bone(canvas, box, field, 0.0, density=density * strength, cortex_mm=1.6)

    bone([[112, -64, 108], [118, -67, 66], [120, -70, 16], [115, -75, -28]], [2.6, 2.4, 2.2, 2.0], 0.42, 7.0)
    bone([[147, -46, 84], [139, -60, 30], [122, -73, -26]], [4.6, 3.8, 3.4], 0.7)
    bone([[90, -80, 78], [125, -80, 98], [160, -52, 122]], [4.0, 5.0, 6.0], 0.62)
    bone([[138, -46, 108], [128, -16, 112]], [6.0, 5.0], 0.6)
    bone([[147, -46, 104], [147, -46, 84]], [8.5, 8.5], 0.6)
    head = shoulder_mm(side, physique)
    shaft = np.stack([head, head + 240.0 * arm_direction(side, physique)])
    box, field = tube(canvas.grid, shaft, np.array([12.0, 12.0]))
    paint_bone(canvas, box, field, 0.0, density=density, cortex_mm=4.5)
    ball = canvas.grid.around(list(head), 30.0)
    round_head = ellipsoid(ball, list(head), [24.0, 24.0, 24.0])
    paint_bone(canvas, ball, round_head, 0.0, density=density * 0.8, cortex_mm=1.5)
