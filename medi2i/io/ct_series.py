"""CT volumes from the DICOM files of a folder: which series there are, and the reading of one.

Feet first or head first, axial, coronal or sagittal, in any file order: where a slice lies is read from its
own position and orientation only.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medi2i.io.ct_checks import make_volume, unusable
from medi2i.io.ct_geometry import Stack, stack_images
from medi2i.io.ct_orientation import turn_to_ras
from medi2i.io.ct_slices import CTImage, describe_images, read_images
from medi2i.io.dicom_file import looks_like_dicom, quiet_pydicom
from medi2i.volume import Volume


@dataclass(frozen=True, slots=True)
class _Found:
    """The CT images of a folder by series, in the order that numbers them, and what else is there."""

    series: dict[str, list[CTImage]]
    other: Counter[str]


def read_series(folder: Path, *, series: str | None = None) -> Volume:
    """Read one CT series.

    Localizers, files that are no DICOM, and objects of other modalities beside a CT are passed over with a
    note.

    Args:
        folder: holds the files, in any order and under any names, or is itself an enhanced CT file.
        series: SeriesInstanceUID, or number in the list that the error about several series shows.

    Raises:
        UnreadableImageError: a file is damaged, or lacks what its geometry needs.
        UnusableVolumeError: there is no CT, several series, or two patients; the series is tilted or
            incomplete; or its values are no Hounsfield units.
        EnvironmentProblemError: pydicom or gdcm can't be imported from this working directory.
    """
    with quiet_pydicom() as warned:
        found = _find_images(folder)
        images = _choose(folder, found, series)
        stack = stack_images(folder, images)
        values, affine, declared, notes = _read_values(stack)
    passed_over = tuple(f"{count} files passed over: {kind}" for kind, count in sorted(found.other.items()))
    return make_volume(
        folder,
        values,
        affine,
        declared_padding=declared,
        patient_id=images[0].patient or None,
        notes=(*passed_over, *notes, *dict.fromkeys(warned)),
    )


def find_series_files(folder: Path, *, series: str | None = None) -> tuple[Path, ...]:
    """The files of the series that `read_series` would read, sorted.

    Raises:
        InputError: as `read_series`, as far as headers tell.
    """
    with quiet_pydicom():
        images = _choose(folder, _find_images(folder), series)
    return tuple(sorted({image.path for image in images}))


def holds_dicom(folder: Path) -> bool:
    """Whether a DICOM file lies directly in a folder."""
    return any(looks_like_dicom(path) for path in _files(folder))


def _files(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and path.name.upper() != "DICOMDIR"
    )


def _find_images(folder: Path) -> _Found:
    by_uid: dict[str, list[CTImage]] = {}
    other: Counter[str] = Counter()
    for path in _files(folder):
        if not looks_like_dicom(path):
            other["no DICOM"] += 1
            continue
        kind, images = describe_images(path)
        if not images:
            other[kind] += 1
        for image in images:
            by_uid.setdefault(image.series_uid, []).append(image)
    numbered = sorted(by_uid, key=lambda uid: (-len(by_uid[uid]), uid))
    return _Found({uid: by_uid[uid] for uid in numbered}, other)


def _choose(folder: Path, found: _Found, series: str | None) -> list[CTImage]:
    if not found.series:
        kinds = ", ".join(f"{count} of kind '{kind}'" for kind, count in sorted(found.other.items()))
        raise unusable(
            folder,
            f"no CT image ({kinds or 'no file'})",
            expected="the DICOM files of one CT series",
            remedy="give the folder that directly holds the slices",
        )
    uids = list(found.series)
    if series is not None:
        uids = [uid for number, uid in enumerate(uids, 1) if series in (uid, str(number))]
    candidates = [image for uid in uids for image in found.series[uid]]
    patients = {image.patient for image in candidates}
    if len(patients) > 1:
        raise unusable(
            folder,
            f"CT images of {len(patients)} patients",
            expected="one patient in a folder",
            remedy="give each patient a folder",
        )
    if len(uids) != 1:
        raise unusable(
            folder,
            f"{len(found.series)} CT series: {_list_series(found)}"
            if series is None
            else f"no series '{series}' among {_list_series(found)}",
            expected="one series",
            remedy="choose one with --series NUMBER (or its SeriesInstanceUID)",
        )
    return candidates


def _list_series(found: _Found) -> str:
    """Number, size and kernel of each series; its description is free text that may name the patient."""
    listed = []
    for number, (uid, images) in enumerate(found.series.items(), 1):
        first = images[0]
        short = hashlib.sha256(uid.encode()).hexdigest()[:8]
        kernel = f", kernel {first.kernel}" if first.kernel else ""
        listed.append(
            f"[{number}] {len(images)} slices of {first.rows} x {first.columns} at "
            f"{first.spacing_mm[0]:.3g} x {first.spacing_mm[1]:.3g} mm{kernel} ({short})"
        )
    return "; ".join(listed)


def _read_values(stack: Stack) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Hounsfield units turned to RAS, their affine, where the headers declare padding, and notes."""
    first = stack.images[0]
    shape = (len(stack.images), first.rows, first.columns)
    values = np.empty(shape, dtype=np.float32)
    declared: np.ndarray | None = None
    notes: dict[str, None] = {}
    for index, hounsfield, padding, remarks in read_images(stack.images):
        values[index] = hounsfield
        notes.update(dict.fromkeys(remarks))
        if padding is not None:
            declared = np.zeros(shape, dtype=bool) if declared is None else declared
            declared[index] = padding
    turned, affine = turn_to_ras(values.transpose(2, 1, 0), stack.affine)
    if declared is not None:
        declared, _ = turn_to_ras(declared.transpose(2, 1, 0), stack.affine)
    return turned, affine, declared, tuple(notes)
