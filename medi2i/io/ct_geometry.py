"""From the images of one CT series to a regular grid, or the place where it isn't one.

Only ImagePositionPatient and ImageOrientationPatient count (PS3.3 C.7.6.2): SliceLocation, InstanceNumber and
PatientPosition contradict them in too many files.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from medi2i.errors import UnusableVolumeError
from medi2i.io.ct_checks import check_affine, check_shape, unusable
from medi2i.io.ct_orientation import lps_to_ras
from medi2i.io.ct_slices import CTImage

_MAX_TILT_DEG = 0.5
_MAX_MISPLACEMENT = 0.1  # of the distance between slices: what rounded positions and table jitter come to
_DUPLICATE_MM = 0.01
_SERIES = "slices at equal distances, each once"


@dataclass(frozen=True, slots=True)
class Stack:
    """Images in the order of their positions along the slice normal.

    Attributes:
        images: in that order.
        affine: index (column, row, slice) to RAS mm.
    """

    images: list[CTImage]
    affine: Float64[np.ndarray, "4 4"]


def stack_images(path: Path, images: list[CTImage]) -> Stack:
    """Order the images of one series, and find their grid.

    Raises:
        UnusableVolumeError: images of several matrices or orientations, a tilted gantry, positions that
            occur twice, missing slices, or unequal distances; naming the place in mm along the slice normal.
    """
    _check_alike(path, images)
    first = images[0]
    check_shape(path, (first.columns, first.rows, len(images)))
    along_columns, along_rows = np.array(first.directions[:3]), np.array(first.directions[3:])
    lengths = np.linalg.norm([along_columns, along_rows], axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(along_columns @ along_rows) > 0.01:
        raise unusable(
            path,
            "an ImageOrientationPatient whose directions are not perpendicular unit vectors",
            expected="direction cosines",
            remedy="the headers are damaged; export the series again",
        )
    normal = np.cross(along_columns, along_rows)
    normal = normal / np.linalg.norm(normal)
    positions = np.array([image.position_mm for image in images])
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    _check_distances(path, positions @ normal)
    step = (positions[-1] - positions[0]) / (len(images) - 1)
    _check_tilt(path, images, step, normal)
    affine = np.eye(4)
    affine[:3, 0] = along_columns / lengths[0] * first.spacing_mm[1]
    affine[:3, 1] = along_rows / lengths[1] * first.spacing_mm[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    check_affine(path, affine)
    return Stack([images[index] for index in order], lps_to_ras(affine))


def _check_alike(path: Path, images: list[CTImage]) -> None:
    """One matrix, one spacing and one orientation for all, but for rounding."""
    first = images[0]
    spacing = np.array([image.spacing_mm for image in images])
    directions = np.array([image.directions for image in images])
    for name, differs, values in (
        (
            "matrices (rows x columns)",
            any((image.rows, image.columns) != (first.rows, first.columns) for image in images),
            [f"{image.rows} x {image.columns}" for image in images],
        ),
        (
            "pixel spacings",
            bool((np.abs(spacing / first.spacing_mm - 1) > 1e-3).any()),
            [f"{row:.4g} x {column:.4g} mm" for row, column in spacing],
        ),
        (
            "orientations",
            bool((np.abs(directions - first.directions) > 0.01).any()),
            ["/".join(f"{number + 0.0:g}" for number in np.round(row, 2)) for row in directions],
        ),
    ):
        if differs:
            listed = ", ".join(f"{count} of {value}" for value, count in Counter(values).most_common(3))
            raise unusable(
                path,
                f"several {name} in one series ({listed})",
                expected="one",
                remedy="put the slices of the volume into a folder of their own",
            )


def _check_tilt(
    path: Path, images: list[CTImage], step: Float64[np.ndarray, " 3"], normal: Float64[np.ndarray, " 3"]
) -> None:
    lateral = float(np.linalg.norm(step - (step @ normal) * normal))
    sheared = math.degrees(math.atan2(lateral, float(step @ normal)))
    stated = max(abs(image.tilt_deg) for image in images)
    if max(sheared, stated) > _MAX_TILT_DEG:
        raise unusable(
            path,
            f"a gantry tilt of {max(sheared, stated):.1f} degrees "
            f"({'slices shifted against each other' if sheared > _MAX_TILT_DEG else 'GantryDetectorTilt'})",
            expected="slices stacked along their normal",
            remedy="correct the tilt by resampling, e.g. with dcm2niix, and give the NIfTI file it makes",
        )


def _check_distances(path: Path, along_mm: Float64[np.ndarray, " n"]) -> None:
    """Positions along the normal, ascending: none twice, none missing, all at equal distances."""
    steps = np.diff(along_mm)
    repeated = np.flatnonzero(steps < _DUPLICATE_MM)
    if repeated.size:
        raise unusable(
            path,
            f"{repeated.size} slices at the position of another one, first at {along_mm[repeated[0]]:.2f} mm",
            expected=_SERIES,
            remedy="remove copies; separate phases or reconstructions into folders of their own",
        )
    step = float(np.median(steps))
    gaps = np.flatnonzero(steps > 1.5 * step)
    if gaps.size:
        raise _describe_gaps(path, along_mm, steps, gaps, step)
    regular = np.linspace(along_mm[0], along_mm[-1], len(along_mm))
    if np.abs(along_mm - regular).max() > _MAX_MISPLACEMENT * step:
        worst = int(np.abs(steps - step).argmax())
        raise unusable(
            path,
            f"slices at unequal distances: {steps[worst]:.3f} mm between positions {along_mm[worst]:.2f} "
            f"and {along_mm[worst + 1]:.2f} mm, {step:.3f} mm elsewhere",
            expected=_SERIES,
            remedy="resample the series to equal distances, or export one reconstruction",
        )


def _describe_gaps(
    path: Path, along_mm: np.ndarray, steps: np.ndarray, gaps: np.ndarray, step: float
) -> UnusableVolumeError:
    places = [
        f"{round(float(steps[gap]) / step) - 1} missing between positions {along_mm[gap]:.2f} and "
        f"{along_mm[gap + 1]:.2f} mm"
        for gap in gaps[:3]
    ]
    more = f", and at {len(gaps) - 3} more places" if len(gaps) > 3 else ""
    return unusable(
        path,
        f"a series with gaps: {'; '.join(places)}{more}",
        expected=f"{_SERIES} (here {step:.3f} mm)",
        remedy="copy the missing files from the archive",
    )
