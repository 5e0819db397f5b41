"""One view of one CT: line integral, path length in every structure, and where the rays were seen whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32

from medi2i.drr.attenuation import AttenuationConfig, hu_to_attenuation, hu_to_materials
from medi2i.drr.boxes import Box, bounding_box, clip_lengths
from medi2i.drr.geometry import Camera
from medi2i.drr.renderer import NanodrrProjector, Projector
from medi2i.drr.spectrum import make_spectrum, polyenergetic_attenuation
from medi2i.errors import EmptyProjectionError, UsageError
from medi2i.volume import LabelVolume, Volume

_AIR_HU = -900.0  # below it is nothing that attenuates
_BODY_HU = -500.0
_CUT_AREA_MM2 = 400.0  # of body on a face of the CT, from which on the body goes on beyond it


@dataclass(frozen=True, slots=True)
class Projection:
    """One view.

    Attributes:
        line_integral: (H, W) -ln(I / I0) of each ray, without unit; bone is bright.
        path_mm: (S, H, W) length of each ray inside each structure.
        structures: names of the S planes.
        valid: (H, W) False where a ray passes beside or above what the CT holds of the body.
        materials_mm: (2, H, W) of water and of cortical bone, for a polyenergetic beam; else None.
    """

    line_integral: Float32[np.ndarray, "H W"]
    path_mm: Float32[np.ndarray, "S H W"]
    structures: tuple[str, ...]
    valid: Bool[np.ndarray, "H W"]
    materials_mm: Float32[np.ndarray, "2 H W"] | None = None


@dataclass(frozen=True, slots=True)
class PreparedPatient:
    """One CT and its labels, ready for any number of views.

    Attributes:
        projector: does the integrals.
        structures: names of the structures.
        body: box around the body; None if there is none.
        cut: for each axis, whether the body goes on beyond the CT towards lower and towards higher indices.
        attenuation: how HU become attenuation.
    """

    projector: Projector
    structures: tuple[str, ...]
    body: Box | None
    cut: tuple[tuple[bool, bool], ...]
    attenuation: AttenuationConfig


def prepare_patient(
    volume: Volume,
    labels: LabelVolume | None = None,
    attenuation: AttenuationConfig | None = None,
    *,
    step_mm: float | None = None,
    device: str = "cpu",
) -> PreparedPatient:
    """Everything that all views of one CT share.

    Args:
        volume: the CT.
        labels: its structures, on the same grid.
        attenuation: how HU become attenuation.
        step_mm: longest distance of samples along a ray; the smallest voxel side if None.
        device: where to compute.
    """
    attenuation = attenuation or AttenuationConfig()
    fields = (
        hu_to_attenuation(volume.hounsfield, attenuation)[None]
        if attenuation.spectrum is None
        else hu_to_materials(volume.hounsfield)
    )
    projector = NanodrrProjector(
        fields,
        None if labels is None else labels.codes,
        np.zeros((1, 0), dtype=bool) if labels is None else labels.membership,
        volume.affine,
        support=volume.hounsfield > _AIR_HU,
        step_mm=step_mm,
        device=device,
    )
    inside = volume.hounsfield > _BODY_HU
    return PreparedPatient(
        projector=projector,
        structures=() if labels is None else labels.structures,
        body=bounding_box(inside, volume.affine),
        cut=_find_cut_faces(inside, volume),
        attenuation=attenuation,
    )


def project_view(patient: PreparedPatient, camera: Camera) -> Projection:
    """Render one view.

    Raises:
        UsageError: the source is inside the patient.
        EmptyProjectionError: no ray meets anything that attenuates.
    """
    _require_source_outside(patient, camera)
    integrals = patient.projector.project(camera)
    materials = None
    line_integral = integrals.fields[0]
    if patient.attenuation.spectrum is not None:
        materials = integrals.fields
        water, bone = torch.from_numpy(materials)
        spectrum = make_spectrum(patient.attenuation.spectrum)
        line_integral = polyenergetic_attenuation(water, bone, spectrum).numpy()
    if not line_integral.max() > 0:
        raise EmptyProjectionError(
            "view",
            found="no ray meets the patient",
            expected="a detector that the CT projects on",
            remedy="check isocenter, translation, framing and the detector's size",
        )
    return Projection(
        line_integral, integrals.path_mm, patient.structures, _seen_whole(patient, camera), materials
    )


def _require_source_outside(patient: PreparedPatient, camera: Camera) -> None:
    if patient.body is None:
        return
    place = np.linalg.inv(patient.body.affine) @ np.append(camera.source_mm, 1.0)
    if all(0 <= index <= side for index, side in zip(place, patient.body.shape, strict=False)):
        raise UsageError(
            "geometry.source_to_isocenter_mm",
            found=f"{camera.source_to_isocenter_mm:g}: the source is inside the patient",
            expected="a source outside",
            remedy="give a longer distance",
        )


def _seen_whole(patient: PreparedPatient, camera: Camera) -> Bool[np.ndarray, "H W"]:
    """Rays along which the body is in the CT.

    Not so where a ray would meet the body's box if that went on beyond the CT's cut faces. Faces that the
    central ray passes through are not among these: what is missing there is missing everywhere.
    """
    shape = (camera.rows, camera.columns)
    if patient.body is None:
        return np.zeros(shape, dtype=bool)
    central = np.linalg.inv(patient.body.affine[:3, :3]) @ camera.patient_from_camera[:3, 2]
    along = int(np.abs(central * np.linalg.norm(patient.body.affine[:3, :3], axis=0)).argmax())
    beyond = tuple((False, False) if axis == along else faces for axis, faces in enumerate(patient.cut))
    if not any(any(faces) for faces in beyond):
        return np.ones(shape, dtype=bool)
    targets = camera.targets_mm(slice(0, camera.rows))
    known = clip_lengths(patient.body, camera, targets)
    whole = clip_lengths(patient.body, camera, targets, extended=beyond)
    tolerance_mm = float(np.linalg.norm(patient.body.affine[:3, :3], axis=0).max())
    return np.asarray(whole - known < tolerance_mm).reshape(shape)


def _find_cut_faces(inside: Bool[np.ndarray, "I J K"], volume: Volume) -> tuple[tuple[bool, bool], ...]:
    """Faces of the CT, or of the scanner's field of view, that the body reaches."""
    faces = []
    for axis, spacing_mm in enumerate(volume.spacing_mm):
        area_mm2 = float(np.prod(volume.spacing_mm)) / spacing_mm
        ends = []
        for end in (0, -1):
            touching = int(inside.take(end, axis=axis).sum())
            if volume.padding is not None and axis < 2:
                touching += _count_beside_padding(inside, volume.padding, axis, end)
            ends.append(touching * area_mm2 > _CUT_AREA_MM2)
        faces.append((ends[0], ends[1]))
    return tuple(faces)


def _count_beside_padding(
    inside: Bool[np.ndarray, "I J K"], padding: Bool[np.ndarray, "I J K"], axis: int, end: int
) -> int:
    """Body voxels whose next voxel towards one end of an axis is outside the scanner's field of view."""
    lower: list[slice] = [slice(None)] * 3
    higher = list(lower)
    lower[axis], higher[axis] = slice(None, -1), slice(1, None)
    here, there = (higher, lower) if end == 0 else (lower, higher)
    return int((inside[tuple(here)] & padding[tuple(there)]).sum())
