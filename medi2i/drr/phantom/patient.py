"""One phantom patient: a CT, its labels, and what was found."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from pydantic import Field, PositiveFloat, model_validator

from medi2i.config import Config
from medi2i.drr.phantom.abdomen import paint_abdomen
from medi2i.drr.phantom.canvas import Canvas
from medi2i.drr.phantom.chest import Chest, build_chest, paint_chest
from medi2i.drr.phantom.fields import Grid
from medi2i.drr.phantom.findings import (
    Finding,
    FindingsConfig,
    FindingsPlan,
    paint_effusion,
    paint_nodules,
    paint_pacemaker,
    sample_findings,
)
from medi2i.drr.phantom.physique import Physique, sample_physique
from medi2i.drr.phantom.ribs import paint_ribs
from medi2i.drr.phantom.skeleton import paint_clavicle, paint_shoulder, paint_spine, paint_sternum
from medi2i.drr.phantom.trunk import paint_trunk
from medi2i.drr.phantom.vessels import paint_vessels
from medi2i.volume import LabelVolume, Volume

ORGANS = (
    "left_lung",
    "right_lung",
    "heart",
    "mediastinum",
    "spine",
    "ribs",
    "left_clavicle",
    "right_clavicle",
    "liver",
    "spleen",
    "stomach",
)


MOST_VOXELS = 40_000_000


class PatientConfig(Config):
    """What phantom patients are made of.

    The grid may have 40 million voxels at most. A patient takes some 45 bytes a voxel while it is built and
    rendered: 2 GB at the limit, for each worker.

    Attributes:
        voxel_mm: sides of a voxel to the right, front and head.
        field_mm: sides of the CT. Neck, arms and abdomen go on beyond it.
        noise_hu: standard deviation of the CT's noise in a voxel.
        findings: how often there is something to be found.
    """

    voxel_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (3.1, 2.4, 3.2)
    field_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (400.0, 308.0, 416.0)
    noise_hu: float = Field(default=12.0, ge=0)
    findings: FindingsConfig = FindingsConfig()

    @model_validator(mode="after")
    def _grid_fits_into_memory(self) -> PatientConfig:
        counts = self.voxels
        if math.prod(counts) > MOST_VOXELS:
            sides = " x ".join(map(str, counts))
            raise ValueError(
                f"voxel_mm and field_mm make {sides} = {math.prod(counts) / 1e6:.0f} million voxels, "
                f"more than {MOST_VOXELS / 1e6:.0f} million: set larger voxel_mm or a smaller field_mm"
            )
        return self

    @property
    def voxels(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        i, j, k = (
            max(2, round(side / voxel)) for side, voxel in zip(self.field_mm, self.voxel_mm, strict=True)
        )
        return i, j, k

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the labels: organs, and the findings that are possible."""
        return ORGANS + self.findings.masked


@dataclass(frozen=True, slots=True)
class PhantomPatient:
    """One patient.

    Attributes:
        volume: the CT, its middle at the origin.
        labels: organs and findings; they may overlap.
        findings: what there is to be found.
        physique: the numbers the anatomy was built from.
    """

    volume: Volume
    labels: LabelVolume
    findings: tuple[Finding, ...]
    physique: Physique


def sample_patient(config: PatientConfig, rng: np.random.Generator) -> PhantomPatient:
    """Draw one adult and build the volume.

    Body, findings, tissue, and places of findings have a stream of random numbers each, so that a finding
    changes nothing else about the patient.
    """
    body, plan, texture, place = rng.spawn(4)
    return build_patient(
        config, sample_physique(body), sample_findings(config.findings, plan), texture, place
    )


def build_patient(
    config: PatientConfig,
    physique: Physique,
    plan: FindingsPlan,
    texture: np.random.Generator,
    place: np.random.Generator,
) -> PhantomPatient:
    """The volume of a given body.

    Args:
        config: the grid, the noise, sizes of findings.
        physique: the body.
        plan: what there is to be found.
        texture: draws what tissue looks like.
        place: draws where findings are.
    """
    grid, affine = _make_grid(config, physique)
    canvas = Canvas(grid, config.structures)
    chest = build_chest(grid, physique)
    # one stream a part: what one draws leaves the others as they are
    trunk, organs, vessels, abdomen, spine, ribs, noise = texture.spawn(7)
    paint_trunk(canvas, physique, trunk)
    paint_abdomen(canvas, chest, physique, abdomen)
    paint_chest(canvas, chest, physique, organs)
    paint_vessels(canvas, chest, physique.vessel_size, vessels)
    findings = _paint_soft_findings(canvas, chest, physique, plan, config.findings, place)
    paint_spine(canvas, physique, spine)
    missing = () if plan.missing_rib is None else (plan.missing_rib,)
    paint_ribs(canvas, physique, ribs, missing)
    paint_sternum(canvas, physique)
    for side in (1.0, -1.0):
        paint_shoulder(canvas, side, physique)
        paint_clavicle(canvas, side, physique)
    findings += [Finding("missing_rib", side, rib=rib) for side, rib in missing]
    if plan.pacemaker is not None:
        findings.append(paint_pacemaker(canvas, physique, plan.pacemaker))
    _add_noise(canvas, config.noise_hu, noise)
    volume = Volume(canvas.hounsfield, affine, notes=("phantom",))
    return PhantomPatient(volume, canvas.labels(affine), tuple(findings), physique)


def _make_grid(config: PatientConfig, physique: Physique) -> tuple[Grid, Float64[np.ndarray, "4 4"]]:
    """Voxel centres in the average body's millimetres, and the affine in the patient's."""
    counts = config.voxels
    affine = np.diag([*config.voxel_mm, 1.0])
    affine[:3, 3] = [-(count - 1) / 2 * voxel for count, voxel in zip(counts, config.voxel_mm, strict=True)]
    size = (physique.width, physique.depth, physique.height)
    x, y, z = (
        ((np.arange(count) * affine[axis, axis] + affine[axis, 3]) / size[axis]).astype(np.float32)
        for axis, count in enumerate(counts)
    )
    slices = (slice(0, counts[0]), slice(0, counts[1]), slice(0, counts[2]))
    voxel_mm = float(np.mean([side / relative for side, relative in zip(config.voxel_mm, size, strict=True)]))
    return Grid(x[:, None, None], y[None, :, None], z[None, None, :], slices, voxel_mm), affine


def _paint_soft_findings(
    canvas: Canvas,
    chest: Chest,
    physique: Physique,
    plan: FindingsPlan,
    config: FindingsConfig,
    place: np.random.Generator,
) -> list[Finding]:
    fluid, round_ones = place.spawn(2)
    found = []
    if plan.effusion is not None:
        found.append(paint_effusion(canvas, chest, plan.effusion, fluid))
    return found + paint_nodules(canvas, chest, physique, plan.nodules, config, round_ones)


def _add_noise(canvas: Canvas, noise_hu: float, rng: np.random.Generator) -> None:
    """Noise of the scanner, and no value below air."""
    if noise_hu > 0:
        noise = rng.standard_normal(canvas.hounsfield.shape, dtype=np.float32)
        noise *= np.float32(noise_hu)
        canvas.hounsfield += noise
    np.maximum(canvas.hounsfield, np.float32(-1000.0), out=canvas.hounsfield)
