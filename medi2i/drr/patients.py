"""The CT patients that a path holds, their labels, and the table that they lie on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from medi2i.errors import (
    MaskMismatchError,
    NothingUsableError,
    UnreadableImageError,
    UnusableVolumeError,
    UsageError,
)
from medi2i.io.ct import NIFTI_SUFFIXES, VOLUME_SUFFIXES
from medi2i.io.ct_series import find_series_files, holds_dicom
from medi2i.io.decoder_pool import volume_decoders
from medi2i.io.label_names import find_label_table, read_label_names
from medi2i.io.label_volumes import check_same_grid, resample_labels
from medi2i.volume import AIR_HU, LabelVolume, Volume

_CT_NAMES = ("ct", "image")
_LABEL_NAMES = ("labels", "segmentations", "segmentation")
_BODY_HU = -500.0
_COARSE_MM = 3.0
_OPENING_MM = 9.0  # tables are shells of a few millimetres around foam; a wrist is 40 mm thick
_LIMB_SHARE = 0.005  # of the largest part: a forearm is about a hundredth of a torso
_LIMB_BONE_HU = 200.0


@dataclass(frozen=True)
class PatientFiles:
    """Where one patient's CT and labels are.

    Attributes:
        ct: file, or folder of a DICOM series.
        labels: label map, folder of one mask a structure, or None.
        series: which DICOM series, as in `read_ct`.
    """

    ct: Path
    labels: Path | None = None
    series: str | None = None

    @cached_property
    def key(self) -> str:
        """12 hexadecimal digits of the CT's content, the same wherever and under whatever name it lies.

        Raises:
            InputError: the CT is not there, or no single DICOM series.
        """
        if self.ct.is_file():
            return _hash_file(self.ct)[:12]
        hashes = sorted(_hash_file(path) for path in find_series_files(self.ct, series=self.series))
        return hashlib.sha256("".join(hashes).encode()).hexdigest()[:12]


def find_patients(
    ct: Path, labels: Path | None = None, series: str | None = None
) -> tuple[PatientFiles, ...]:
    """The patients of a CT file, a DICOM series, one patient's folder, or a folder of many patients.

    A patient's folder holds `ct.nii.gz` (or `.nii`, `.mha`, `.nrrd`), a folder `ct/` of DICOM files, or DICOM
    files directly; and, if there are labels, `labels.nii.gz` or a folder `segmentations/` with one mask a
    structure. A folder of many holds patients' folders, or CT files; with `labels` as a folder, the labels of
    `x.nii.gz` or of the folder `x` are its `x.nii.gz` or its folder `x`.

    Nothing is read: a patient whose CT turns out broken or absent is found too, and fails in `load_patient`.

    Args:
        ct: file or folder.
        labels: labels of the one CT, or a folder with those of many; None for those in the patients' folders.
        series: which series of DICOM folders, as in `read_ct`.

    Raises:
        UsageError: a path is not there, or the labels of a patient are ambiguous.
        NothingUsableError: the folder is empty.
    """
    for path in (ct, labels):
        if path is not None and not path.exists():
            expected = "a CT" if path is ct else "labels"
            raise UsageError(path, found="no such file or folder", expected=expected, remedy="check the path")
    if ct.is_file() or holds_dicom(ct) or _find_ct(ct) is not None:
        found = _patient_of(ct, series)
        return (found if labels is None else replace(found, labels=labels),)
    entries = sorted(entry for entry in ct.iterdir() if not entry.name.startswith((".", "_")))
    patients = [
        entry
        for entry in entries
        if (entry.is_dir() and entry != labels)
        or (entry.is_file() and entry.name.lower().endswith(VOLUME_SUFFIXES))
    ]
    if not patients:
        raise NothingUsableError(
            ct,
            found="no CT file, no DICOM file and no folder",
            expected="CTs, or one folder a patient with ct.nii.gz or ct/",
            remedy="check the path",
        )
    files = [_patient_of(entry, series) for entry in patients]
    if labels is None:
        return tuple(files)
    return tuple(
        replace(file, labels=_labels_named(labels, entry))
        for file, entry in zip(files, patients, strict=True)
    )


def load_patient(
    files: PatientFiles,
    *,
    label_names: Mapping[int, str] | None = None,
    resample: bool = False,
    without_table: bool = False,
) -> tuple[Volume, LabelVolume | None]:
    """Read a patient's CT and labels, on one grid.

    Args:
        files: from `find_patients`.
        label_names: structures by value, for a label map that has neither a table beside it (`labels.json`)
            nor names in its header.
        resample: bring labels of another grid to the CT's, by nearest neighbour.
        without_table: see `remove_table`.

    Raises:
        InputError: a file is damaged or unfit, or the labels are of another grid.
        UsageError: a table of names can't be understood.
    """
    volume = volume_decoders().read_ct(files.ct, series=files.series)
    labels = None if files.labels is None else _read_labels(files.labels, label_names)
    if labels is not None and files.labels is not None:
        if resample:
            try:
                check_same_grid(labels, volume, files.labels)
            except MaskMismatchError:
                labels = resample_labels(labels, volume)
        check_same_grid(labels, volume, files.labels)
        labels = replace(labels, affine=volume.affine)  # but for rounding they were the same
    return remove_table(volume) if without_table else volume, labels


def remove_table(volume: Volume) -> Volume:
    """The CT with everything outside the body set to air.

    The body is what is denser than -500 HU, opened by a ball of 9 mm, which breaks thin shells and what
    touches only in passing: its largest part, and other parts that are large enough to be an arm and hold
        bone. Lungs
    and bowel gas are enclosed by it in axial slices. Worked out on a grid of about 3 mm, and with a margin of
    one such voxel, so that skin stays; the same may stay of a table where it touches.

    Raises:
        UnusableVolumeError: there is no body.
    """
    spacing = np.array(volume.spacing_mm)
    steps = tuple(int(step) for step in np.maximum(1, np.floor(_COARSE_MM / spacing)))
    coarse = volume.hounsfield[:: steps[0], :: steps[1], :: steps[2]]
    body = _find_body(coarse, spacing * steps)
    if not body.any():
        raise UnusableVolumeError(
            "CT",
            found=f"nothing above {_BODY_HU:g} HU that is thicker than {2 * _OPENING_MM:g} mm",
            expected="a body, to be told from the table",
            remedy="leave the table in",
        )
    inside = body
    for axis, step in enumerate(steps):
        # a coarse voxel stands for those around its centre
        index = (np.arange(volume.hounsfield.shape[axis]) + step // 2) // step
        inside = inside.take(np.minimum(index, body.shape[axis] - 1), axis=axis)
    hounsfield = np.where(inside, volume.hounsfield, np.float32(AIR_HU))
    removed = np.count_nonzero((volume.hounsfield > _BODY_HU) & ~inside) / volume.hounsfield.size
    note = f"table removed: {100 * removed:.2f} % of the voxels, outside the body, were above {_BODY_HU:g} HU"
    return replace(volume, hounsfield=hounsfield, notes=(*volume.notes, note))


def _find_body(coarse: np.ndarray, spacing_mm: np.ndarray) -> Bool[np.ndarray, "i j k"]:
    """Body with its cavities and a margin of one voxel, on the coarse grid; all False if there is none."""
    from scipy import ndimage

    dense = coarse > _BODY_HU
    # beyond the volume's ends the body goes on
    padded = np.pad(dense, 8, mode="edge")
    core = ndimage.distance_transform_edt(padded, sampling=spacing_mm)[8:-8, 8:-8, 8:-8] > _OPENING_MM
    parts, count = ndimage.label(core)
    if not count:
        return core
    sizes = np.bincount(parts.ravel())[1:]
    densest = ndimage.maximum(coarse, parts, np.arange(1, count + 1))
    is_body = (sizes >= _LIMB_SHARE * sizes.max()) & (np.asarray(densest) > _LIMB_BONE_HU)
    is_body[sizes.argmax()] = True
    core = np.concatenate([[False], is_body])[parts]
    near = ndimage.distance_transform_edt(~core, sampling=spacing_mm) <= _OPENING_MM + spacing_mm.max()
    body = near & dense
    for k in range(body.shape[2]):
        body[:, :, k] = ndimage.binary_fill_holes(body[:, :, k])
    return ndimage.binary_dilation(body, structure=np.ones((3, 3, 3), dtype=bool))


def _read_labels(path: Path, names: Mapping[int, str] | None) -> LabelVolume:
    if path.is_dir():
        files = {_stem(file): file for file in _volumes_in(path, NIFTI_SUFFIXES)}
        if not files:
            raise UnreadableImageError(
                path,
                found="no mask",
                expected="one .nii.gz for each structure",
                remedy="check the folder",
            )
        return volume_decoders().read_structure_files(path, files)
    table = find_label_table(path)
    stated = None if table is None else read_label_names(table)
    return volume_decoders().read_label_map(path, stated, default_names=names)


def _patient_of(entry: Path, series: str | None) -> PatientFiles:
    """One patient by file or folder; a folder without a CT stands for itself, and fails when it is read."""
    if entry.is_file():
        return PatientFiles(entry, series=series)
    return PatientFiles(_find_ct(entry) or entry, _find_labels(entry), series)


def _find_ct(folder: Path) -> Path | None:
    for name in _CT_NAMES:
        for suffix in VOLUME_SUFFIXES:
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
        if (folder / name).is_dir() and holds_dicom(folder / name):
            return folder / name
    return None


def _find_labels(folder: Path) -> Path | None:
    found = [folder / f"{name}{end}" for name in _LABEL_NAMES for end in ("", *NIFTI_SUFFIXES)]
    found = [path for path in found if path.exists()]
    if len(found) > 1:
        raise UsageError(
            folder,
            found=f"labels twice: {', '.join(path.name for path in found)}",
            expected="one label map, or one folder of masks",
            remedy="remove one, or give the labels by --labels",
        )
    return found[0] if found else None


def _labels_named(folder: Path, entry: Path) -> Path:
    """Labels of a patient in a folder of many; the channel number `_0000` of nnU-Net's images is left out."""
    name = _stem(entry) if entry.is_file() else entry.name
    for stem in (name, name.removesuffix("_0000")):
        for end in (*NIFTI_SUFFIXES, ""):
            if (folder / f"{stem}{end}").exists():
                return folder / f"{stem}{end}"
    return folder / f"{name}{NIFTI_SUFFIXES[-1]}"


def _volumes_in(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.name.lower().endswith(suffixes))


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
