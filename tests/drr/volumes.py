"""Bodies of closed form as volumes, for tests."""

import numpy as np

from medi2i.volume import LabelVolume, Volume, label_volume_from_map


def grid(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Affine of a volume centred on the origin, and (3, I, J, K) coordinates of its voxels in mm."""
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -np.array(spacing_mm) * (np.array(shape) - 1) / 2
    index = np.indices(shape).astype(float)
    return affine, np.einsum("ab,bijk->aijk", affine[:3, :3], index) + affine[:3, 3, None, None, None]


def water(inside: np.ndarray, affine: np.ndarray) -> Volume:
    """Water where `inside`, air elsewhere."""
    return Volume(np.where(inside, 0.0, -1000.0).astype(np.float32), affine)


def one_structure(inside: np.ndarray, affine: np.ndarray, name: str = "sphere") -> LabelVolume:
    """A label volume of one structure."""
    return label_volume_from_map(inside.astype(np.int64), {1: name}, affine)
