"""What makes numbers on a grid a CT: Hounsfield units, padding, and a grid that a scanner can have made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64

from medi2i.errors import UnreadableImageError, UnusableVolumeError
from medi2i.io.guard import RADIOGRAPH
from medi2i.volume import AIR_HU, Volume, axis_spacing_mm

CT = "a CT volume in Hounsfield units"
MAX_VOXELS = 1 << 29  # 512 x 512 x 2048: 2 GiB as float32
MAX_HU = 20_000.0
_PADDING_HU = -1500.0
_AIR_BELOW_HU = -800.0
_DENSE_HU = -300.0
_WHOLE_SLICE = 64  # voxels along a side
_SPACING_LIMITS_MM = (0.05, 20.0)
_MAX_SHEAR = 0.01  # cosine between two axes, 0.6 degrees


@contextmanager
def expecting(what: str) -> Iterator[None]:
    """Let the guards that all readers share say that `what` was expected, and not a radiograph."""
    try:
        yield
    except UnreadableImageError as error:
        if error.expected != RADIOGRAPH:
            raise
        raise UnreadableImageError(
            error.subject, found=error.found, expected=what, remedy=error.remedy
        ) from error.__cause__


def unusable(
    path: Path, found: str, *, expected: str = CT, remedy: str = "leave it out"
) -> UnusableVolumeError:
    """The error for what can be decoded and still is no CT that can be rendered."""
    return UnusableVolumeError(path, found=found, expected=expected, remedy=remedy)


def check_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The three sides of a volume, before memory is taken for it; one frame of a fourth axis is none.

    Raises:
        UnusableVolumeError: not three axes, several frames, a side below 2 voxels, or more than 2**29
            voxels.
    """
    sides = " x ".join(str(side) for side in shape)
    if len(shape) < 3 or any(side < 1 for side in shape):
        raise unusable(path, f"an array of {sides} voxels", expected="a volume of three axes")
    if any(side != 1 for side in shape[3:]):
        raise unusable(
            path,
            f"an array of {sides} voxels",
            expected="one volume of three axes",
            remedy="save each frame (phase, time point) as a file of its own",
        )
    if min(shape[:3]) < 2 or math.prod(shape[:3]) > MAX_VOXELS:
        raise unusable(
            path,
            f"a volume of {sides} voxels",
            expected=f"at least 2 voxels on each side and at most {MAX_VOXELS:,} in all",
            remedy="leave it out, or resample it to larger voxels",
        )
    return shape[0], shape[1], shape[2]


def check_affine(path: Path, affine: Float64[np.ndarray, "4 4"]) -> None:
    """Refuse grids that no CT has: voxel sides outside 0.05 to 20 mm, or axes that are not perpendicular.

    Raises:
        UnusableVolumeError: naming spacing or angle.
    """
    spacing = axis_spacing_mm(affine)
    smallest, largest = _SPACING_LIMITS_MM
    if not (np.isfinite(affine).all() and all(smallest <= side <= largest for side in spacing)):
        raise unusable(
            path,
            f"a voxel size of {' x '.join(f'{side:g}' for side in spacing)} mm",
            expected=f"{smallest:g} to {largest:g} mm on each side",
            remedy="mend the header in the program that made the file (are its units millimetres?)",
        )
    axes = affine[:3, :3] / spacing
    shear = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if shear > _MAX_SHEAR:
        raise unusable(
            path,
            f"axes that are {math.degrees(math.asin(min(shear, 1.0))):.1f} degrees off the perpendicular",
            expected="a rectangular grid (no gantry tilt, no shear)",
            remedy="correct the tilt by resampling, e.g. with dcm2niix, and give the result",
        )


def make_volume(
    path: Path,
    values: Float32[np.ndarray, "I J K"],
    affine: Float64[np.ndarray, "4 4"],
    *,
    declared_padding: Bool[np.ndarray, "I J K"] | None = None,
    patient_id: str | None = None,
    notes: tuple[str, ...] = (),
) -> Volume:
    """The CT of values as they were stored, after rescaling; or the reason why they are no Hounsfield units.

    Values of -1500 and less are padding (scanners write -2000, -2048, -3024), which becomes air. The rest is
    clamped to -1000 ... 20,000 HU: nothing is emptier than air, and metal, which 12-bit scanners cut off at
    3071, is kept where an extended CT scale records it. The upper end, 21 times the attenuation of water, is
    a choice of this package against artefacts.

    Args:
        path: the file, for messages.
        values: stored values.
        affine: voxel index to RAS mm.
        declared_padding: True where the header says so.
        patient_id: identity as the file states it.
        notes: what was remarked so far.

    Raises:
        UnusableVolumeError: NaN or infinity, one value everywhere, values scaled to 0 ... 1 or -1 ... 1, or
            no value below 0, which is the air's and the fat's.
    """
    bad = int(values.size - np.count_nonzero(np.isfinite(values)))
    if bad:
        raise unusable(
            path,
            f"{bad:,} voxels that are NaN or infinite, of {values.size:,}",
            expected="finite Hounsfield units",
            remedy="replace them by -1000 (air) in the program that made the file",
        )
    padding = values <= _PADDING_HU
    if declared_padding is not None:
        padding |= declared_padding
    recorded = ~padding
    low = float(np.min(values, where=recorded, initial=np.inf))
    high = float(np.max(values, where=recorded, initial=-np.inf))
    _check_hounsfield(path, low, high)
    notes = (*notes, *_doubts(values, padding))
    beyond = int(np.count_nonzero(values > MAX_HU))
    if beyond:
        notes = (*notes, f"{beyond:,} voxels above {MAX_HU:,.0f} HU were set to it")
    hounsfield = np.clip(values, np.float32(AIR_HU), np.float32(MAX_HU))
    hounsfield[padding] = AIR_HU
    return Volume(hounsfield, affine, padding if padding.any() else None, patient_id, notes)


def _doubts(values: Float32[np.ndarray, "I J K"], padding: Bool[np.ndarray, "I J K"]) -> tuple[str, ...]:
    """What is odd in numbers that may still be Hounsfield units."""
    if not (padding.any() or (values < _AIR_BELOW_HU).any()):
        return (f"no air (below {_AIR_BELOW_HU:g} HU) in this CT: is it in Hounsfield units?",)
    corners = values[:: values.shape[0] - 1, :: values.shape[1] - 1, :: values.shape[2] - 1]
    # a crop within the body is small
    if min(values.shape[:2]) >= _WHOLE_SLICE and np.median(corners) > _DENSE_HU:
        return (f"the corners of this CT are dense (median {np.median(corners):g} HU): is it padded with 0?",)
    return ()


def _check_hounsfield(path: Path, low: float, high: float) -> None:
    """Refuse a range that no CT has."""
    if not low <= high:
        raise unusable(path, "nothing but padding", expected=CT)
    if low == high:
        raise unusable(path, f"the value {low:g} in every voxel", expected=CT)
    if low >= -1 and high <= 1:
        raise unusable(
            path,
            f"values from {low:g} to {high:g}, which look normalised",
            expected=CT,
            remedy="give the CT as it was before its intensities were scaled",
        )
    if low >= 0:
        raise unusable(
            path,
            f"values from {low:g} to {high:g}, none of them negative",
            expected=f"{CT} (air is -1000, fat -100)",
            remedy="if the values are Hounsfield units plus an offset (often 1024), subtract it; "
            "a label map or another modality is no CT",
        )
