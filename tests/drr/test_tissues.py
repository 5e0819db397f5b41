"""Attenuation adds up to what a straight line through known layers gives."""

import numpy as np
import pytest

from medi2i.drr.ellipsoids import Ellipsoids
from medi2i.drr.geometry import ConeBeamGeometry
from medi2i.drr.tissues import AIR, LUNG, MUSCLE, Solid, make_tube, rotation_about

GEOMETRY = ConeBeamGeometry(rows=61, columns=61, detector_spacing_mm=(1.0, 1.0))


def test_lung_inside_muscle_gives_the_sum_of_both_layers():
    body = Solid("body", MUSCLE - AIR, Ellipsoids.from_axes(np.zeros(3), np.full(3, 100.0)))
    heart = Ellipsoids.from_axes(np.array([0.0, 40.0, 0.0]), np.full(3, 20.0))
    lung = Solid("lung", LUNG - MUSCLE, Ellipsoids.from_axes(np.zeros(3), np.full(3, 60.0)), heart)
    total = body.project(GEOMETRY)[1] + lung.project(GEOMETRY)[1]
    # central ray: 200 mm of body, of which 120 mm - 40 mm (heart from y = 20 to 60) are lung
    assert lung.project(GEOMETRY)[0][30, 30] == pytest.approx(80.0, abs=1e-9)
    assert total[30, 30] == pytest.approx(120 * MUSCLE + 80 * LUNG, abs=1e-9)


def test_a_straight_tube_is_even_along_its_axis_and_as_wide_as_its_radius():
    curve = np.array([[-80.0, 0.0, 0.0], [80.0, 0.0, 0.0]])
    tube = make_tube("rib", curve, np.array([8.0, 5.0]), 0.02, step_mm=4.0)
    path, attenuation = tube.project(GEOMETRY)
    across = path[:, 30]
    # half width 8 mm in z, magnified by 1800/1600: 9 mm on a 1 mm detector
    assert np.count_nonzero(across) in {17, 19}
    assert path[30, 10:50].std() < 0.02 * path[30, 30]
    # on the axis a bead's chord is 10 sqrt(1 - s^2), of mean 10 pi/4 over its length; shares add up to one
    assert path[30, 10:50].mean() == pytest.approx(10 * np.pi / 4, rel=0.01)
    np.testing.assert_allclose(attenuation, 0.02 * path)


def test_moving_a_tissue_moves_its_shadow():
    solid = Solid("ball", 1.0, Ellipsoids.from_axes(np.zeros(3), np.full(3, 10.0)))
    moved = solid.transform(rotation_about(1, 40.0), np.array([16.0, 0.0, 0.0]))
    # 16 mm x 1.125 = 18 pixels to the right; oblique rays differ a little
    np.testing.assert_allclose(
        moved.project(GEOMETRY)[0][30, 30:58], solid.project(GEOMETRY)[0][30, 12:40], atol=0.05
    )


def test_rotation_turns_the_first_axis_towards_the_second():
    np.testing.assert_allclose(rotation_about(2, 90.0) @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(rotation_about(1, 90.0) @ [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], atol=1e-12)
