"""2-D NIfTI as SimpleITK writes it: axes (column, row), spacing in mm, direction the identity.

Encoded in memory by nibabel, since ITK hides why a write failed; there is no time stamp, so that the same
image gives the same bytes.
"""

from __future__ import annotations

import gzip

import numpy as np

from medi2i.image import SpacingMm

_LEVEL = 6


def encode_nifti(planes: np.ndarray, spacing_mm: SpacingMm | None) -> bytes:
    """`.nii.gz` of (H, W) or (K, H, W) values, the latter with axes (column, row, plane).

    Args:
        planes: unsigned codes.
        spacing_mm: (row, column); None when unknown, which NIfTI can only say as 1 mm.
    """
    import nibabel

    row, column = spacing_mm or (1.0, 1.0)
    # ITK counts to the left and to the back, NIfTI to the right and to the front
    affine = np.diag([-column, -row, 1.0, 1.0])
    image = nibabel.Nifti1Image(np.ascontiguousarray(planes.T), affine)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), _LEVEL, mtime=0)
