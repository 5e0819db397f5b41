"""Line integrals against chords computed by hand."""

import math

import numpy as np
import pytest

from medi2i.drr.ellipsoids import (
    Ellipsoids,
    chord_sums,
    merge_lengths,
    project_extents,
    ray_intervals,
    solid_length,
)
from medi2i.drr.geometry import ConeBeamGeometry
from medi2i.drr.tissues import rotation_about
from medi2i.errors import UsageError

# odd matrix: the central ray meets the centre of pixel (20, 20)
GEOMETRY = ConeBeamGeometry(
    rows=41,
    columns=41,
    detector_spacing_mm=(3.0, 2.0),
    source_to_detector_mm=1000.0,
    source_to_isocenter_mm=800.0,
)
NOTHING = Ellipsoids.join()


def sphere(center=(0.0, 0.0, 0.0), radius=30.0):
    return Ellipsoids.from_axes(np.array(center), np.full(3, radius))


def distance_of_rays_from(point, geometry=GEOMETRY):
    """Distance of every pixel's ray from a point, by |(p - source) x direction|."""
    rows, columns = np.mgrid[: geometry.rows, : geometry.columns]
    axes = geometry.axes
    rays = (
        geometry.column_mm(columns)[..., None] * axes[:, 0]
        + geometry.row_mm(rows)[..., None] * axes[:, 1]
        + geometry.source_to_detector_mm * axes[:, 2]
    )
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    return np.linalg.norm(np.cross(np.asarray(point) - geometry.source_mm, rays), axis=-1)


def test_sphere_chord_is_twice_the_root_of_radius_squared_minus_distance_squared():
    for center in ((0.0, 0.0, 0.0), (12.0, -40.0, -9.0)):
        expected = 2 * np.sqrt(np.maximum(30.0**2 - distance_of_rays_from(center) ** 2, 0.0))
        found = solid_length(sphere(center), NOTHING, GEOMETRY)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(
            chord_sums(sphere(center), np.ones((1, 1)), GEOMETRY)[0], expected, atol=1e-5
        )
    assert solid_length(sphere(), NOTHING, GEOMETRY)[20, 20] == pytest.approx(60.0, abs=1e-9)


def test_a_wide_flat_ellipsoid_is_a_slab_with_obliquity_of_the_ray():
    slab = Ellipsoids.from_axes(np.zeros(3), np.array([1e6, 5.0, 1e6]))
    found = solid_length(slab, NOTHING, GEOMETRY)
    # corner pixel: 40 mm across and 60 mm down on a detector 1000 mm away
    obliquity = math.sqrt(40.0**2 + 60.0**2 + 1000.0**2) / 1000.0
    assert found[20, 20] == pytest.approx(10.0, rel=1e-6)
    assert found[0, 0] == pytest.approx(10.0 * obliquity, rel=1e-6)


def test_shadow_is_magnified_by_source_detector_over_source_object_distance():
    # PA: the source is at y = +800, so the plane y = 300 is 500 mm from it: magnification 2
    thin = Ellipsoids.from_axes(np.array([0.0, 300.0, 0.0]), np.array([16.0, 1e-3, 16.0]))
    top, bottom, left, right = project_extents(thin, GEOMETRY)[0]
    # radius 32 mm on the detector: 16 columns of 2 mm and 10.67 rows of 3 mm on either side of pixel 20
    assert (left, right) in {(4, 37), (5, 36)}
    assert (top, bottom) == (10, 31)
    shadow = solid_length(thin, NOTHING, GEOMETRY) > 0
    assert shadow[20].sum() in {31, 33}
    assert shadow[:, 20].sum() == 21


def test_extent_of_a_sphere_beside_the_axis_is_that_of_its_tangent_cone():
    ball = sphere((100.0, 0.0, 0.0), 50.0)
    geometry = GEOMETRY.model_copy(update={"columns": 4001, "detector_spacing_mm": (3.0, 0.1)})
    _, _, left, right = project_extents(ball, geometry)[0]
    # tangents from the source to a circle of radius 50 at (100, 800): atan(1/8) -+ asin(50/sqrt(650000))
    middle, half = math.atan2(100, 800), math.asin(50 / math.sqrt(100**2 + 800**2))
    assert left == math.ceil(1000 * math.tan(middle - half) / 0.1 + 2000)
    assert right == math.floor(1000 * math.tan(middle + half) / 0.1 + 2000) + 1


def test_rotating_a_sphere_changes_nothing_and_rotated_axes_swap():
    turned = Ellipsoids.from_axes(np.array([5.0, 1.0, 2.0]), np.full(3, 20.0), rotation_about(1, 33.0))
    np.testing.assert_allclose(
        solid_length(turned, NOTHING, GEOMETRY),
        solid_length(sphere((5.0, 1.0, 2.0), 20.0), NOTHING, GEOMETRY),
        atol=1e-6,
    )
    long_in_x = Ellipsoids.from_axes(np.zeros(3), np.array([30.0, 10.0, 20.0]), rotation_about(1, 90.0))
    long_in_z = Ellipsoids.from_axes(np.zeros(3), np.array([20.0, 10.0, 30.0]))
    np.testing.assert_allclose(
        solid_length(long_in_x, NOTHING, GEOMETRY), solid_length(long_in_z, NOTHING, GEOMETRY), atol=1e-6
    )


def test_affine_image_of_a_sphere_is_the_ellipsoid_with_scaled_axes():
    scaled = sphere((1.0, 2.0, 3.0), 10.0).transform(np.diag([2.0, 1.0, 0.5]), np.array([0.0, -2.0, 1.0]))
    expected = Ellipsoids.from_axes(np.array([2.0, 0.0, 2.5]), np.array([20.0, 10.0, 5.0]))
    np.testing.assert_allclose(scaled.centers_mm, expected.centers_mm)
    np.testing.assert_allclose(
        solid_length(scaled, NOTHING, GEOMETRY), solid_length(expected, NOTHING, GEOMETRY), atol=1e-6
    )


def test_nested_spheres_give_the_shell_both_by_carving_and_by_subtraction():
    outer, inner = sphere(radius=30.0), sphere(radius=18.0)
    carved = solid_length(outer, inner, GEOMETRY)
    summed = chord_sums(Ellipsoids.join(outer, inner), np.array([[1.0, -1.0]]), GEOMETRY)[0]
    assert carved[20, 20] == pytest.approx(24.0, abs=1e-9)
    np.testing.assert_allclose(carved, summed, atol=1e-6)


def test_overlapping_spheres_count_once_in_a_solid():
    # along the beam: [-20, 20] and [-5, 35] overlap; union is 55 mm
    pair = Ellipsoids.join(sphere(radius=20.0), sphere((0.0, 15.0, 0.0), 20.0))
    assert solid_length(pair, NOTHING, GEOMETRY)[20, 20] == pytest.approx(55.0, abs=1e-9)
    # of which the sphere [10, 50] takes all beyond 10
    assert solid_length(pair, sphere((0.0, 30.0, 0.0), 20.0), GEOMETRY)[20, 20] == pytest.approx(
        30.0, abs=1e-9
    )


def test_merged_intervals_ignore_order_and_gaps():
    entry = np.array([5.0, 0.0, 1.0, 9.0])[:, None]
    leave = np.array([7.0, 3.0, 2.0, 9.0])[:, None]
    assert merge_lengths(np.stack([entry, leave]))[0] == 5.0


def test_rays_end_at_the_detector():
    # the detector is at y = -200; a sphere centred on it is seen half
    half = ray_intervals(sphere((0.0, -200.0, 0.0), 30.0), GEOMETRY, np.array([[20]]), np.array([[20]]))
    assert (half[1] - half[0]).item() == pytest.approx(30.0, abs=1e-9)


def test_small_ellipsoids_partly_off_the_detector_are_cut_not_moved():
    rng = np.random.default_rng(0)
    many = Ellipsoids.from_axes(
        rng.uniform(-60, 60, (50, 3)), rng.uniform(1, 15, (50, 3)), rotation_about(0, 20)
    )
    weights = rng.normal(size=(2, 50))
    expected = sum(
        weights[:, i, None, None] * solid_length(many[i : i + 1], NOTHING, GEOMETRY) for i in range(50)
    )
    np.testing.assert_allclose(chord_sums(many, weights, GEOMETRY), expected, atol=1e-9)


def test_an_object_behind_the_source_is_refused():
    with pytest.raises(UsageError, match="behind the source"):
        project_extents(sphere((0.0, 790.0, 0.0), 30.0), GEOMETRY)


def test_points_inside_are_told_from_points_outside():
    inside = sphere((1.0, 0.0, 0.0), 2.0).contain(np.array([[2.9, 0.0, 0.0], [3.1, 0.0, 0.0]]))
    assert inside.tolist() == [[True], [False]]
