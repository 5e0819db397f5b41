"""However a DICOM series is stored, it shows the same patient."""

import numpy as np
import pytest

from medi2i.drr.geometry import ConeBeamGeometry, make_camera
from medi2i.drr.projection import prepare_patient, project_view
from medi2i.io.ct import read_ct
from tests.ct_files import make_slices, write_slices
from tests.drr.volumes import grid

GEOMETRY = ConeBeamGeometry(
    rows=40,
    columns=40,
    detector_spacing_mm=(3.0, 3.0),
    source_to_detector_mm=1200.0,
    source_to_isocenter_mm=1000.0,
)


@pytest.fixture(scope="module")
def asymmetric():
    """A body that no flip or permutation of axes leaves as it is: affine and Hounsfield units."""
    affine, (x, y, z) = grid((30, 26, 20), (2.0, 2.2, 3.0))
    hounsfield = np.where((x / 26) ** 2 + (y / 22) ** 2 + (z / 26) ** 2 < 1, 30, -1000)
    hounsfield[(x > 4) & (y > 2) & (z > 0) & (hounsfield > 0)] = -800
    hounsfield[(np.hypot(x + 10, y - 6) < 5) & (z < 12) & (hounsfield > -900)] = 900
    return affine, hounsfield.astype(np.int16)


def render(volume, view):
    camera = make_camera(GEOMETRY, view, isocenter_mm=np.zeros(3))
    return project_view(prepare_patient(volume), camera).line_integral


@pytest.mark.parametrize("view", ["PA", "left lateral"])
def test_feet_first_head_first_and_transposed_give_the_same_drr(asymmetric, view, tmp_path):
    affine, hounsfield = asymmetric
    stored = {
        "head first": make_slices(hounsfield, affine),
        "feet first": make_slices(hounsfield, affine, flips=(False, True, True), PatientPosition="FFS"),
        "transposed": make_slices(hounsfield, affine, axes=(1, 0, 2)),
        "coronal": make_slices(hounsfield, affine, axes=(0, 2, 1)),
    }
    images = {
        name: render(read_ct(write_slices(tmp_path / name, each)), view) for name, each in stored.items()
    }
    reference = images["head first"]
    assert reference.max() > 0.8
    for image in images.values():
        assert np.abs(image - reference).max() < 1e-3
    # the body's image is not its own mirror image, so a flip would show
    assert np.abs(reference - reference[:, ::-1]).max() > 0.1
    assert np.abs(reference - reference[::-1]).max() > 0.1
