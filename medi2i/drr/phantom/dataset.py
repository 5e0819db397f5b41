"""The embedded data set: volumetric phantom patients in two looks, with exact masks and exact paired truth.

Every patient is another anatomy. Source patients are rendered as DRRs (the line integral), other patients as
films, as in an unpaired translation task. The film of each DRR, which no clinic has, is written apart:
it is the truth that a translation is scored against, never training data. So are the masks of other films.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt16
from PIL import Image

from medi2i.drr.geometry import ViewName
from medi2i.drr.phantom.ct_files import write_ct
from medi2i.drr.phantom.settings import PhantomConfig
from medi2i.drr.phantom.views import (
    PhantomView,
    drr_codes,
    film_codes,
    masks_of,
    phantom_patient,
    phantom_views,
)
from medi2i.drr.threads import in_threads
from medi2i.errors import OutputExistsError
from medi2i.io.atomic import replace_folder_atomically, sweep_unfinished
from medi2i.io.masks import write_mask_nifti

_FOLDERS = ("drr", "xray", "truth")
_TARGET_MASKS = "xray_masks"
_Records = dict[str, list[dict[str, Any]]]


def write_phantom_dataset(
    config: PhantomConfig, out: Path, progress: Callable[[int, int], None] | None = None
) -> dict[str, int]:
    """Write the data set folders `drr` (with masks), `xray` (other patients) and `truth` below `out`.

    If configured, beside them come `xray_masks`, the masks of `xray` apart from what is trained on, and `ct`
    with the source patients' volumes.

    Args:
        config: what to render.
        out: folder that doesn't exist yet or is empty; it appears complete or not at all. What a killed run
            of the same name left beside it is removed.
        progress: called with (done, total) after each view.

    Returns:
        number of images in `drr`, `xray` and `truth`.

    Raises:
        OutputExistsError: `out` holds something.
        UsageError: a line integral exceeds `drr_full_scale`.
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
    sweep_unfinished(out.parent, name=out.name)
    replace_folder_atomically(out, lambda folder: _write_folders(config, folder, progress))
    sources, targets = (
        count * config.views_per_patient for count in (config.source_patients, config.target_patients)
    )
    return {"drr": sources, "xray": targets, "truth": sources}


def _write_folders(config: PhantomConfig, out: Path, progress: Callable[[int, int], None] | None) -> None:
    for folder in (*(f"{name}/images" for name in _FOLDERS), "drr/masks"):
        (out / folder).mkdir(parents=True)
    if config.target_masks:
        (out / _TARGET_MASKS / "masks").mkdir(parents=True)
        (out / _TARGET_MASKS / "dataset.json").write_bytes(_to_json(_describe(config, _TARGET_MASKS)))
    patients = config.source_patients + config.target_patients
    records: _Records = {name: [] for name in _FOLDERS}
    done, total = 0, patients * config.views_per_patient
    for written in _each_patient(config, out, patients):
        for name, entries in written.items():
            records[name] += entries
        for _ in range(config.views_per_patient):
            done += 1
            if progress is not None:
                progress(done, total)
    for name, entries in records.items():
        _write_tables(config, out / name, name, entries)


def _each_patient(config: PhantomConfig, out: Path, patients: int) -> Iterator[_Records]:
    """Write patients, several at a time, and give what was written in the order of their numbers."""
    return in_threads(
        lambda number: _write_patient(config, out, number), range(patients), workers=config.workers
    )


def _write_patient(config: PhantomConfig, out: Path, number: int) -> _Records:
    patient = phantom_patient(config, number)
    is_source = number < config.source_patients
    findings = [finding.to_dict() for finding in patient.findings]
    if is_source and config.ct:
        write_ct(out / "ct" / f"p{number:04d}", patient)
    has_masks = is_source or config.target_masks
    records: _Records = {name: [] for name in _FOLDERS}
    for view in phantom_views(config, number, patient, with_structures=has_masks):
        entry = {**_describe_view(view, config.view), "findings": findings}
        if is_source:
            codes = drr_codes(view, config.drr_full_scale)
            _write_image(out / "drr", view.name, codes, view.projection.valid)
            records["drr"].append(entry)
        if has_masks:
            path = out / ("drr" if is_source else _TARGET_MASKS) / "masks" / f"{view.name}.nii.gz"
            masks = masks_of(view, config.mask_threshold_mm)
            write_mask_nifti(path, masks, spacing_mm=view.camera.detector_spacing_mm)
        folder = "truth" if is_source else "xray"
        _write_image(out / folder, view.name, film_codes(view), view.film.exposed.numpy())
        records[folder].append({**entry, "site": view.site, "bits_stored": view.film.bits_stored})
    return records


def _write_image(
    folder: Path, name: str, codes: UInt16[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"]
) -> None:
    """A 16-bit PNG, and a mask of where there is image if that is not everywhere."""
    (folder / "images" / f"{name}.png").write_bytes(_to_png(codes))
    if not valid.all():
        (folder / "valid").mkdir(exist_ok=True)
        (folder / "valid" / f"{name}.png").write_bytes(_to_png(valid.astype(np.uint8) * 255))


def _to_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _describe_view(view: PhantomView, direction: ViewName) -> dict[str, Any]:
    """What `views.json` says of one view."""
    camera, pose = view.camera, view.pose
    return {
        "name": view.name,
        "patient": f"p{view.patient:04d}",
        "view": direction,
        "pose": pose.to_dict(),
        **camera.to_dict(),
    }


def _write_tables(config: PhantomConfig, folder: Path, name: str, entries: list[dict[str, Any]]) -> None:
    rows = "".join(f"{entry['name']}.png,{entry['patient']}\n" for entry in entries)
    (folder / "patients.csv").write_bytes(("file,patient\n" + rows).encode())
    (folder / "dataset.json").write_bytes(_to_json(_describe(config, name)))
    views = {
        "seed": config.seed,
        "attenuation": config.attenuation.model_dump(mode="json", exclude_none=True),
        "views": entries,
    }
    (folder / "views.json").write_bytes(_to_json(views))


def _describe(config: PhantomConfig, folder: str) -> dict[str, Any]:
    scale = config.drr_full_scale
    sites = ", ".join(site.name for site in config.sites)
    looks = {
        "drr": f"Line integrals of phantom patients; code 65535 is a line integral of {scale:g}.",
        "xray": f"Films ({sites}) of other phantom patients than drr.",
        "truth": "Films of the patients in drr, same file names and geometry: for scoring, not for training.",
        _TARGET_MASKS: "Masks of the films in xray: for scoring, not for training.",
    }
    has_masks = folder in ("drr", _TARGET_MASKS)
    rule = f"path length inside the structure above {config.mask_threshold_mm:g} mm; structures overlap"
    return {
        "name": f"medi2i phantom, {folder}",
        "structures": list(config.patient.structures) if has_masks else [],
        "spacing_mm": list(config.geometry.detector_spacing_mm),
        "mask_rule": rule if has_masks else "no masks",
        "description": f"{looks[folder]} {config.view} view, bone bright, spacing at the detector.",
    }


def _to_json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()
