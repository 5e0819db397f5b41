"""A phantom patient on disk: CT, label map and names, as `medi2i drr` reads a folder of patients."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from medi2i.drr.phantom.patient import PhantomPatient
from medi2i.volume import LabelVolume

_LEVEL = 4  # a higher level takes seconds and saves a tenth


def write_ct(folder: Path, patient: PhantomPatient) -> None:
    """Write `ct.nii.gz` (int16 HU), and `segmentations/<structure>.nii.gz`, one each since they overlap.

    Structures without a voxel are written too, so that all patients have the same files.
    """
    segmentations = folder / "segmentations"
    segmentations.mkdir(parents=True)
    affine = patient.volume.affine
    _write_nifti(folder / "ct.nii.gz", np.rint(patient.volume.hounsfield).astype(np.int16), affine)
    labels: LabelVolume = patient.labels
    for name in labels.structures:
        _write_nifti(segmentations / f"{name}.nii.gz", labels.mask(name).astype(np.uint8), affine)
    findings = [finding.to_dict() for finding in patient.findings]
    (folder / "findings.json").write_text(json.dumps(findings, indent=1) + "\n", encoding="utf-8")


def _write_nifti(path: Path, voxels: np.ndarray, affine: Float64[np.ndarray, "4 4"]) -> None:
    import nibabel

    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    # no time stamp, so that the same patient gives the same bytes
    path.write_bytes(gzip.compress(image.to_bytes(), _LEVEL, mtime=0))
