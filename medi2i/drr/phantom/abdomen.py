"""What lies below the diaphragm: liver, spleen, stomach with gas, bowel in fat."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter

from medi2i.drr.phantom.canvas import Canvas
from medi2i.drr.phantom.chest import Chest
from medi2i.drr.phantom.fields import Grid, ellipsoid, intersect_smoothly, join_smoothly
from medi2i.drr.phantom.physique import Physique

LIVER_HU, SPLEEN_HU, STOMACH_HU, GAS_HU = 60.0, 50.0, 25.0, -990.0
_DIAPHRAGM_MM = 4.0
_HIGHEST_DOME_MM = -40.0


def paint_abdomen(canvas: Canvas, chest: Chest, physique: Physique, rng: np.random.Generator) -> None:
    """Fill the cavity below the domes; organs end a diaphragm's thickness below the lungs."""
    corners = np.full(3, -1e3), np.array([1e3, 1e3, _HIGHEST_DOME_MM])
    box, domes = chest.grid.cut(*corners), chest.domes
    # inside the ribs less the muscle that lines them
    wall = chest.cavity[chest.grid.alone().cut(*corners).slices] + np.float32(5.0)
    below = np.maximum(wall, np.float32(0.85) * (box.z - domes + np.float32(_DIAPHRAGM_MM)))
    canvas.paint(box, below, _bowel_texture(box, rng))
    liver = np.maximum(below, _liver_field(box, physique))
    canvas.paint(box, liver, LIVER_HU)
    canvas.label("liver", box, liver < 0)
    spleen = ellipsoid(box, [-98.0, -42.0, -150.0], [30.0, 44.0, 54.0], 12.0)
    spleen = np.maximum(below, spleen)
    canvas.paint(box, spleen, SPLEEN_HU)
    canvas.label("spleen", box, spleen < 0)
    stomach = join_smoothly(
        ellipsoid(box, [-62.0, 8.0, -142.0 + physique.left_dome_mm], [42.0, 46.0, 42.0]),
        ellipsoid(box, [-44.0, 34.0, -186.0], [38.0, 30.0, 44.0], 20.0),
        16.0,
    )
    stomach = np.maximum(np.maximum(below, stomach), -np.minimum(liver, spleen))
    canvas.paint(box, stomach + np.float32(3.0), STOMACH_HU)
    canvas.label("stomach", box, stomach < 0)
    _paint_gas(canvas, box, stomach, physique, rng)


def _liver_field(grid: Grid, physique: Physique) -> Float32[np.ndarray, "I J K"]:
    """Above a plane that falls to the right, thinning out to the left."""
    edge = np.float32(-168.0) - np.float32(0.62) * (grid.x - np.float32(10.0)) + np.float32(0.12) * grid.y
    left_end = np.float32(-52.0) - grid.x + np.float32(0.25) * np.abs(grid.y - 30)
    return intersect_smoothly(np.float32(0.8) * (edge - grid.z), left_end, 10.0)


def _paint_gas(
    canvas: Canvas,
    grid: Grid,
    stomach: Float32[np.ndarray, "I J K"],
    physique: Physique,
    rng: np.random.Generator,
) -> None:
    """The fundus' bubble over a level, as in an upright patient, and gas in the bends of the colon."""
    level = -128.0 + physique.left_dome_mm - 8.0 * (physique.gas_size - 0.9)
    canvas.paint(grid, np.maximum(stomach + np.float32(5.0), np.float32(level) - grid.z), GAS_HU)
    bends = [[-108.0, 20.0, -172.0], [-84.0, 44.0, -196.0], [92.0, 30.0, -212.0], [20.0, 56.0, -206.0]]
    for center in bends:
        place = [float(c + rng.normal(0.0, 6.0)) for c in center]
        semi_axes = [float(s * physique.gas_size * rng.uniform(0.7, 1.1)) for s in (19.0, 15.0, 13.0)]
        box = canvas.grid.around(place, 30.0)
        stomach_or_organ = (
            canvas.mask("liver", box) | canvas.mask("spleen", box) | canvas.mask("stomach", box)
        )
        gas = ellipsoid(box, place, semi_axes, float(rng.uniform(-30, 30)))
        canvas.paint(box, np.where(stomach_or_organ, np.float32(10.0), gas), GAS_HU)


def _bowel_texture(grid: Grid, rng: np.random.Generator) -> Float32[np.ndarray, "I J K"]:
    """Loops of bowel in fat: coarse blobs between the two."""
    coarse = [max(2, -(-side // 4)) for side in grid.shape]
    blobs = gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), 1.0, truncate=2.5)
    blobs = np.repeat(np.repeat(np.repeat(blobs, 4, axis=0), 4, axis=1), 4, axis=2)
    i, j, k = grid.shape
    return -20.0 + np.clip(blobs[:i, :j, :k] * np.float32(260.0), -70, 60)
