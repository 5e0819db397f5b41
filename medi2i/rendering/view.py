"""One view from CT to files."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, UInt16
from PIL import Image

from medi2i.config import dump_config
from medi2i.data.dataset_folder import IMAGES, MASKS, VALID
from medi2i.drr.convention import feet_direction, film_masks
from medi2i.drr.geometry import Camera, ViewName, make_camera
from medi2i.drr.projection import PreparedPatient, Projection, project_view
from medi2i.errors import EmptyProjectionError
from medi2i.io.atomic import write_atomically
from medi2i.io.masks import write_mask_nifti, write_path_nifti
from medi2i.io.new_radiograph import NewDicom, write_new_radiograph
from medi2i.rendering.records import view_name, write_record
from medi2i.rendering.settings import DRRConfig

PATHS = "path_mm"
SUFFIXES = {"png": ".png", "dicom": ".dcm", "nifti": ".nii.gz"}
# streams of random numbers, so that a change to one leaves the other as it was
_POSE, _FRAME = range(2)


def write_view(
    out: Path,
    config: DRRConfig,
    patient: PreparedPatient,
    *,
    key: str,
    view: int,
    isocenter_mm: Float64[np.ndarray, " 3"],
    structures: tuple[str, ...],
) -> float:
    """Render one view and write its image, masks, valid area and path lengths, and then its record.

    Args:
        out: folder of the rendering.
        config: what to render.
        patient: CT and all structures that masks and convention need.
        key: names the patient.
        view: number of the view.
        isocenter_mm: where the central ray passes the patient.
        structures: which of the patient's are written.

    Returns:
        fraction of the pixels above the full scale.

    Raises:
        EmptyProjectionError: the view shows nothing of the patient, or nothing whole.
        DiskFullError: there is no room.
    """
    pose = config.pose.sample(np.random.default_rng([config.seed, int(key, 16), view, _POSE]))
    frame = None
    if config.framing is not None:
        frame = config.framing.sample(np.random.default_rng([config.seed, int(key, 16), view, _FRAME]))
    direction = config.view[view % len(config.view)]
    camera = make_camera(config.geometry, direction, isocenter_mm=isocenter_mm, pose=pose, frame=frame)
    projection = project_view(patient, camera)
    if not projection.valid.any():
        raise EmptyProjectionError(
            f"view {view}",
            found="no ray that has all of the body in the CT",
            expected="a CT that goes beyond what a view shows",
            remedy="use a longer CT, a smaller detector or frame, or other views",
        )
    wanted = [projection.structures.index(name) for name in structures]
    names, masks = _make_masks(projection, config, camera, direction, structures)
    codes, clipped = encode(projection.line_integral, config)
    name = view_name(key, view)
    spacing_mm = camera.detector_spacing_mm
    write_new_radiograph(
        out / IMAGES / f"{name}{SUFFIXES[config.format]}",
        codes,
        format=config.format,
        spacing_mm=spacing_mm,
        bits_stored=config.bits,
        dicom=_describe_dicom(config, camera, direction, key, view),
    )
    if names:
        write_mask_nifti(out / MASKS / f"{name}.nii.gz", masks, spacing_mm=spacing_mm)
    if not projection.valid.all():
        _write_valid(out / VALID / f"{name}.png", projection.valid)
    if config.path_lengths and structures:
        write_path_nifti(out / PATHS / f"{name}.nii.gz", projection.path_mm[wanted], spacing_mm=spacing_mm)
    write_record(
        out,
        {
            "name": name,
            "patient": key,
            "structures": list(names),
            "view": direction,
            "pose": pose.to_dict(),
            "frame": None if frame is None else {**asdict(frame), "center_mm": list(frame.center_mm)},
            **camera.to_dict(),
            "isocenter_mm": [float(value) for value in isocenter_mm],
            "max_line_integral": round(float(projection.line_integral.max()), 4),
            "clipped_fraction": clipped,
            "valid_fraction": round(float(projection.valid.mean()), 4),
            "area_px": {each: int(mask.sum()) for each, mask in zip(names, masks, strict=True)},
        },
    )
    return clipped


def encode(line_integral: np.ndarray, config: DRRConfig) -> tuple[UInt16[np.ndarray, "H W"], float]:
    """Codes of a line integral, and which fraction of the pixels is above the full scale."""
    scaled = np.asarray(line_integral, dtype=np.float64) / config.full_scale
    codes = np.rint(np.clip(scaled, 0, 1) * (2**config.bits - 1)).astype(np.uint16)
    return codes, float(np.mean(scaled > 1))


def _make_masks(
    projection: Projection,
    config: DRRConfig,
    camera: Camera,
    direction: ViewName,
    structures: tuple[str, ...],
) -> tuple[tuple[str, ...], Bool[np.ndarray, "K H W"]]:
    """Masks of the wanted structures by the configured convention."""
    masks, names = film_masks(
        projection.path_mm > config.mask_threshold_mm,
        projection.structures,
        config.convention,
        view=direction,
        down=feet_direction(camera),
    )
    # what the convention needed is left out, and what it added comes after all others
    count = len(projection.structures)
    wanted = [index for index, name in enumerate(names) if name in structures or index >= count]
    return tuple(names[index] for index in wanted), masks[wanted]


def _write_valid(path: Path, valid: Bool[np.ndarray, "H W"]) -> None:
    def write(unfinished: Path) -> None:
        Image.fromarray(valid.astype(np.uint8) * 255).save(unfinished)

    write_atomically(path, write)


def _describe_dicom(config: DRRConfig, camera: Camera, direction: str, key: str, view: int) -> NewDicom:
    return NewDicom(
        patient_key=key,
        number=view + 1,
        series=_series_of(config),
        view=direction,
        source_to_detector_mm=camera.source_to_detector_mm,
        source_to_isocenter_mm=camera.source_to_isocenter_mm,
    )


def _series_of(config: DRRConfig) -> str:
    """What sets this rendering apart from others of the same patient; more views are the same one."""
    settings = dump_config(config.model_copy(update={"views": 1}))
    return hashlib.sha256(settings.encode()).hexdigest()
