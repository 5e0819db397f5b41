"""What a patient may have besides a healthy chest: nodules, an effusion, a missing rib, a pacemaker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from medi2i.config import Config
from medi2i.drr.phantom.canvas import Canvas
from medi2i.drr.phantom.chest import Chest
from medi2i.drr.phantom.fields import Grid, ellipsoid, tube
from medi2i.drr.phantom.physique import Physique
from medi2i.drr.phantom.trunk import cavity_sections

FindingKind = Literal["nodule", "effusion", "missing_rib", "pacemaker"]
Side = Literal["left", "right"]
NODULE_HU, FLUID_HU, METAL_HU = 35.0, 8.0, 6000.0
# kinds that are there to be seen, so that they have voxels and a mask of their own
MASKED_FINDINGS: tuple[FindingKind, ...] = ("nodule", "effusion", "pacemaker")


class FindingsConfig(Config):
    """How often patients have findings, each drawn on its own.

    Attributes:
        nodule, effusion, missing_rib, pacemaker: probability of each.
        nodules: most nodules of a patient who has any.
        nodule_radius_mm: range of a nodule's radius.
    """

    nodule: float = Field(default=0.0, ge=0, le=1)
    effusion: float = Field(default=0.0, ge=0, le=1)
    missing_rib: float = Field(default=0.0, ge=0, le=1)
    pacemaker: float = Field(default=0.0, ge=0, le=1)
    nodules: int = Field(default=3, ge=1, le=20)
    nodule_radius_mm: tuple[float, float] = (4.0, 14.0)

    @property
    def masked(self) -> tuple[FindingKind, ...]:
        """Kinds with a mask that some patient may have."""
        return tuple(kind for kind in MASKED_FINDINGS if getattr(self, kind) > 0)


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of one patient.

    Attributes:
        kind: what it is.
        side: of the patient.
        rib: number of the missing rib, else None. It has no voxels, so no mask: it is only recorded.
        center_mm: RAS mm, of a nodule; else None.
        radius_mm: of a nodule; else None.
    """

    kind: FindingKind
    side: Side
    rib: int | None = None
    center_mm: tuple[float, float, float] | None = None
    radius_mm: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON, without what doesn't apply."""
        values = {name: getattr(self, name) for name in ("kind", "side", "rib", "center_mm", "radius_mm")}
        return {
            # to 0.01 mm: what a float has beyond that says nothing
            name: [round(part, 2) for part in value]
            if isinstance(value, tuple)
            else round(value, 2)
            if isinstance(value, float)
            else value
            for name, value in values.items()
            if value is not None
        }


@dataclass(frozen=True, slots=True)
class FindingsPlan:
    """What is drawn before there is an anatomy.

    Attributes:
        nodules: how many.
        effusion, missing_rib, pacemaker: where; None for none.
    """

    nodules: int
    effusion: Side | None
    missing_rib: tuple[Side, int] | None
    pacemaker: Side | None


def sample_findings(config: FindingsConfig, rng: np.random.Generator) -> FindingsPlan:
    """Draw what one patient has; always the same number of random values."""
    unit = rng.random(9)

    def side(value: float, left: float) -> Side:
        return "left" if value < left else "right"

    return FindingsPlan(
        nodules=1 + int(unit[1] * config.nodules) if unit[0] < config.nodule else 0,
        effusion=side(unit[3], 0.45) if unit[2] < config.effusion else None,
        missing_rib=(side(unit[5], 0.5), 4 + int(unit[6] * 6)) if unit[4] < config.missing_rib else None,
        # a pacemaker is put in on the left unless there is a reason against it
        pacemaker=side(unit[8], 0.85) if unit[7] < config.pacemaker else None,
    )


def paint_effusion(canvas: Canvas, chest: Chest, side: Side, rng: np.random.Generator) -> Finding:
    """Free fluid in an upright patient: it fills the recesses to a level that climbs the chest wall.

    Fluid lies in the pleural space, so its voxels are no longer lung.
    """
    lung = chest.lungs[f"{side}_lung"]
    box = chest.grid
    level = float(rng.uniform(-122.0, -72.0))
    # a meniscus: within about 2 cm of the wall the fluid stands higher
    climb = 30.0 * np.exp(np.minimum(chest.cavity, 0) / np.float32(13.0))
    surface = box.z - np.float32(level) - climb
    # all of the voxels that lung has a share of, or a rim of lung would be left along the walls
    bordering = np.where(lung < box.voxel_mm / 2, np.float32(-1e3), np.float32(1e3))
    canvas.paint(box, np.maximum(bordering, surface), FLUID_HU)
    fluid = np.maximum(lung, surface)
    canvas.erase(f"{side}_lung", box, fluid < 0)
    canvas.label("effusion", box, fluid < 0)
    return Finding("effusion", side)


def paint_nodules(
    canvas: Canvas,
    chest: Chest,
    physique: Physique,
    count: int,
    config: FindingsConfig,
    rng: np.random.Generator,
) -> list[Finding]:
    """Round nodules well inside aerated lung; they stay part of the lung."""
    size = np.array([physique.width, physique.depth, physique.height])
    found = []
    for _ in range(count):
        unit = rng.random(3)
        low, high = config.nodule_radius_mm
        side: Side = "left" if unit[0] < 0.5 else "right"
        radius_mm = float(low + unit[1] * (high - low))
        inside = canvas.mask(f"{side}_lung", chest.grid) & (
            chest.lungs[f"{side}_lung"] < -(radius_mm / 0.85 + 3.0)
        )
        places = np.flatnonzero(inside)
        if places.size == 0:
            continue
        i, j, k = np.unravel_index(places[int(unit[2] * places.size)], inside.shape)
        center = [
            float(axis.ravel()[n])
            for axis, n in zip((chest.grid.x, chest.grid.y, chest.grid.z), (i, j, k), strict=True)
        ]
        box = canvas.grid.around(center, radius_mm * 1.3 + 6.0)
        ball = ellipsoid(box, center, [float(radius_mm / s) for s in size])
        canvas.paint(box, ball, NODULE_HU)
        canvas.label("nodule", box, ball < 0)
        x, y, z = (float(c) for c in np.array(center) * size)
        found.append(Finding("nodule", side, center_mm=(x, y, z), radius_mm=radius_mm))
    return found


def paint_pacemaker(canvas: Canvas, physique: Physique, side: Side) -> Finding:
    """A can under the skin below the clavicle, and a lead through the great veins to the right ventricle.

    The lead is as thick as the voxels allow, so that it doesn't break up.
    """
    sign = 1.0 if side == "right" else -1.0
    section = cavity_sections(np.array([58.0], dtype=np.float32), physique)
    front = float((section.center_y + section.front).ravel()[0])
    center = np.array([sign * 88.0, 0.78 * front + physique.wall_mm + 14.0, 58.0])
    box = canvas.grid.around(center.tolist(), [30.0, 12.0, 30.0])
    can = _rounded_plate(box, center)
    canvas.paint(box, can, METAL_HU)
    canvas.label("pacemaker", box, can < 0)
    vein = center + np.array([-sign * 8.0, -6.0, 24.0])
    lead = np.array(
        [vein, [sign * 66.0, 26.0, 104.0], [sign * 30.0, 14.0, 102.0], [20.0, 8.0, 82.0], [24.0, 10.0, 10.0],
         [18.0, 16.0, -50.0], [-2.0, 30.0, -82.0], [-44.0, 38.0, -88.0]]
    )  # fmt: skip
    lead_box, wire = tube(canvas.grid, _smooth(lead), np.full(50, max(1.3, 0.8 * canvas.grid.voxel_mm)))
    canvas.paint(lead_box, wire, 2600.0)
    canvas.label("pacemaker", lead_box, wire < 0)
    return Finding("pacemaker", side)


def _rounded_plate(box: Grid, center: np.ndarray) -> np.ndarray:
    x, y, z = (axis - np.float32(c) for axis, c in zip((box.x, box.y, box.z), center, strict=True))
    square = (x / 24.0) ** 4 + (z / 22.0) ** 4
    flat = (np.maximum(square, 1e-9) ** 0.25 - 1) * 22.0
    return np.maximum(flat, np.abs(y) - np.float32(3.8)).astype(np.float32)


def _smooth(points_mm: np.ndarray, count: int = 50) -> np.ndarray:
    """A smooth curve through points."""
    from scipy.interpolate import PchipInterpolator

    places = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points_mm, axis=0), axis=1))])
    return np.asarray(PchipInterpolator(places, points_mm)(np.linspace(0, places[-1], count)))
