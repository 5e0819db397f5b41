"""The embedded data set: analytic chest phantoms in two looks, with exact masks and exact paired truth.

Every patient is another anatomy. Source patients are rendered as DRRs (the line integral), other patients
as films, as in an unpaired translation task. The film of each DRR, which no clinic could supply, is written
apart: it is the truth that a translation is scored against, never training data.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt16
from PIL import Image
from pydantic import Field, PositiveInt

from medi2i.config import Config
from medi2i.drr.anatomy import STRUCTURES, build_chest, project_tissues
from medi2i.drr.film import FilmConfig, render_film
from medi2i.drr.geometry import ConeBeamGeometry
from medi2i.drr.physique import sample_physique, sample_pose
from medi2i.errors import OutputExistsError, UsageError
from medi2i.io.atomic import replace_folder_atomically
from medi2i.io.masks import write_mask_nifti

# streams of random numbers; one each, so that a change to one leaves the others as they were
_BODY, _POSE, _FILM = range(3)


class PhantomConfig(Config):
    """What to render.

    Attributes:
        seed: same seed and configuration, same files.
        source_patients: patients rendered as DRRs, with masks and paired truth.
        target_patients: other patients rendered as films.
        views_per_patient: radiographs of each patient, in different poses.
        geometry: source and detector.
        film: detector and display of the films.
        mask_threshold_mm: a pixel belongs to a structure if its ray runs further than this inside.
        drr_full_scale: line integral that the largest 16-bit code of a DRR stands for.
    """

    seed: int = Field(default=0, ge=0)
    source_patients: PositiveInt = 24
    target_patients: PositiveInt = 24
    views_per_patient: PositiveInt = 1
    geometry: ConeBeamGeometry = ConeBeamGeometry()
    film: FilmConfig = FilmConfig()
    mask_threshold_mm: float = Field(default=1.0, ge=0)
    drr_full_scale: float = Field(default=8.0, gt=0)


@dataclass(frozen=True, slots=True)
class PhantomProjection:
    """One view of one phantom patient.

    Attributes:
        line_integral: attenuation along each ray, without unit; bone is bright.
        masks: one plane a structure; planes overlap.
        structures: names of the planes.
    """

    line_integral: Float32[np.ndarray, "H W"]
    masks: Bool[np.ndarray, "K H W"]
    structures: tuple[str, ...]


def phantom_projection(config: PhantomConfig, patient: int, view: int = 0) -> PhantomProjection:
    """Line integral and exact masks of one patient; patients are numbered source first, then target."""
    body = sample_physique(_generator(config, _BODY, patient))
    pose = sample_pose(_generator(config, _POSE, patient, view))
    projection = project_tissues(build_chest(body, pose), STRUCTURES, config.geometry)
    masks = projection.path_mm > config.mask_threshold_mm
    return PhantomProjection(projection.line_integral, masks, projection.structures)


def phantom_film(
    config: PhantomConfig, projection: PhantomProjection, patient: int, view: int = 0
) -> Float32[np.ndarray, "H W"]:
    """The film of a projection in [0, 1], with the patient's own exposure and noise."""
    return render_film(projection.line_integral, config.film, _generator(config, _FILM, patient, view))


def write_phantom_dataset(
    config: PhantomConfig, out: Path, progress: Callable[[int, int], None] | None = None
) -> dict[str, int]:
    """Write the data set folders `drr` (with masks), `xray` (other patients) and `truth` below `out`.

    Args:
        config: what to render.
        out: folder that doesn't exist yet or is empty; it appears complete or not at all.
        progress: called with (done, total) after each view.

    Returns:
        number of images in each of the three folders.

    Raises:
        OutputExistsError: `out` holds something.
        DiskFullError: the disk or the quota is full.
        EnvironmentProblemError: `out` can't be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExistsError(
            out,
            found="something that is there already",
            expected="a new or empty folder",
            remedy="choose another folder or remove this one",
        )
    replace_folder_atomically(out, lambda folder: _write_folders(config, folder, progress))
    sources, targets = (
        count * config.views_per_patient for count in (config.source_patients, config.target_patients)
    )
    return {"drr": sources, "xray": targets, "truth": sources}


def _write_folders(config: PhantomConfig, out: Path, progress: Callable[[int, int], None] | None) -> None:
    for folder in ("drr/images", "drr/masks", "xray/images", "truth/images"):
        (out / folder).mkdir(parents=True)
    patients = config.source_patients + config.target_patients
    views = [(patient, view) for patient in range(patients) for view in range(config.views_per_patient)]
    tables: dict[str, list[str]] = {"drr": [], "xray": [], "truth": []}
    for done, (patient, view) in enumerate(views, start=1):
        stem = f"p{patient:04d}_v{view}"
        for folder in _write_view(config, out, stem, patient, view):
            tables[folder].append(f"{stem}.png,p{patient:04d}\n")
        if progress is not None:
            progress(done, len(views))
    for folder, rows in tables.items():
        (out / folder / "patients.csv").write_bytes(("file,patient\n" + "".join(rows)).encode())
        text = json.dumps(_describe(config, folder), indent=1) + "\n"
        (out / folder / "dataset.json").write_bytes(text.encode())


def _write_view(config: PhantomConfig, out: Path, stem: str, patient: int, view: int) -> tuple[str, ...]:
    """Write one view where it belongs; returns the folders it went to."""
    projection = phantom_projection(config, patient, view)
    film = np.rint(phantom_film(config, projection, patient, view) * 255).astype(np.uint8)
    if patient >= config.source_patients:
        Image.fromarray(film).save(out / "xray/images" / f"{stem}.png")
        return ("xray",)
    Image.fromarray(_to_codes(projection, config)).save(out / "drr/images" / f"{stem}.png")
    masks = out / "drr/masks" / f"{stem}.nii.gz"
    write_mask_nifti(masks, projection.masks, spacing_mm=config.geometry.detector_spacing_mm)
    Image.fromarray(film).save(out / "truth/images" / f"{stem}.png")
    return ("drr", "truth")


def _to_codes(projection: PhantomProjection, config: PhantomConfig) -> UInt16[np.ndarray, "H W"]:
    largest = float(projection.line_integral.max())
    if largest > config.drr_full_scale:
        raise UsageError(
            "drr_full_scale",
            found=f"{config.drr_full_scale}, below a line integral of {largest:.2f}",
            expected="a full scale that no ray exceeds",
            remedy=f"set drr_full_scale to {np.ceil(largest):.0f} or more",
        )
    return np.rint(projection.line_integral / config.drr_full_scale * 65535).astype(np.uint16)


def _describe(config: PhantomConfig, folder: str) -> dict[str, object]:
    scale = config.drr_full_scale
    looks = {
        "drr": f"Line integrals of analytic chest phantoms; code 65535 is a line integral of {scale:g}.",
        "xray": "Films of analytic chest phantoms of other patients than drr.",
        "truth": "Films of the patients in drr, same file names and geometry: for scoring, not for training.",
    }
    rule = f"path length inside the structure above {config.mask_threshold_mm:g} mm; structures overlap"
    return {
        "name": f"medi2i phantom, {folder}",
        "structures": list(STRUCTURES) if folder == "drr" else [],
        "spacing_mm": list(config.geometry.detector_spacing_mm),
        "mask_rule": rule if folder == "drr" else "no masks",
        "description": f"{looks[folder]} {config.geometry.view} view, bone bright, spacing at the detector.",
    }


def _generator(config: PhantomConfig, stream: int, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, stream, *numbers])
