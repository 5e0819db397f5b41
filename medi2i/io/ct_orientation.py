"""Turning volumes so that their axes run nearest to the patient's right, front and head."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from jaxtyping import Float64

ArrayT = TypeVar("ArrayT", bound=np.ndarray)


def turn_to_ras(
    array: ArrayT, affine: Float64[np.ndarray, "4 4"]
) -> tuple[ArrayT, Float64[np.ndarray, "4 4"]]:
    """Flip and permute the axes of (I, J, K) to the nearest RAS; no voxel changes its value or its place.

    Returns:
        the turned array, contiguous, and its affine.
    """
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    orientation = io_orientation(affine)
    turned = np.ascontiguousarray(apply_orientation(array, orientation))
    return turned, affine @ inv_ornt_aff(orientation, array.shape)  # type: ignore[return-value]


def lps_to_ras(affine: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4 4"]:
    """The affine to RAS mm of one to LPS mm, which DICOM and ITK use."""
    turned: np.ndarray = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return turned
