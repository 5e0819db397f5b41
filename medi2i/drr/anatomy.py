"""A chest made of ellipsoids: every tissue of one patient in its pose, and its projection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from medi2i.drr.bones import build_clavicle, build_ribs, build_shoulder, build_spine, build_sternum
from medi2i.drr.geometry import ConeBeamGeometry
from medi2i.drr.organs import build_abdomen, build_body, build_chest_organs
from medi2i.drr.physique import Physique, Pose
from medi2i.drr.tissues import Tissue, rotation_about
from medi2i.drr.vessels import build_vessels

STRUCTURES = ("left_lung", "right_lung", "heart", "spine", "ribs", "left_clavicle", "right_clavicle")


@dataclass(frozen=True, slots=True)
class Projection:
    """One view of an anatomy.

    Attributes:
        line_integral: attenuation along each ray, without unit.
        path_mm: (K, H, W) length of each ray inside each of `structures`.
        structures: names of the K planes.
    """

    line_integral: Float32[np.ndarray, "H W"]
    path_mm: Float32[np.ndarray, "K H W"]
    structures: tuple[str, ...]


def build_chest(physique: Physique, pose: Pose) -> tuple[Tissue, ...]:
    """Every tissue of one patient, scaled to the body's size and moved into the pose."""
    tissues: list[Tissue] = [
        *build_body(physique),
        *build_chest_organs(physique),
        *build_abdomen(physique),
        *build_vessels(physique),
        build_spine(physique),
        build_ribs(physique),
        build_sternum(physique),
        *(build_clavicle(side, physique) for side in (1.0, -1.0)),
        *(bone for side in (1.0, -1.0) for bone in build_shoulder(side, physique)),
    ]
    turn = (
        rotation_about(1, pose.roll_degrees)
        @ rotation_about(0, pose.pitch_degrees)
        @ rotation_about(2, pose.yaw_degrees)
    )
    matrix = turn @ np.diag([physique.width, physique.depth, physique.height])
    return tuple(tissue.transform(matrix, np.array(pose.shift_mm)) for tissue in tissues)


def project_tissues(
    tissues: tuple[Tissue, ...], structures: tuple[str, ...], geometry: ConeBeamGeometry
) -> Projection:
    """Line integral of all tissues, and path length of the named structures; 0 where one has no tissue."""
    total = np.zeros((geometry.rows, geometry.columns))
    path_mm = np.zeros((len(structures), geometry.rows, geometry.columns))
    for tissue in tissues:
        length_mm, attenuation = tissue.project(geometry)
        total += attenuation
        if tissue.name in structures:
            path_mm[structures.index(tissue.name)] += length_mm
    return Projection(total.astype(np.float32), path_mm.astype(np.float32), structures)
