"""Shapes as fields: volumes and distances that are known by hand."""

import numpy as np

from medi2i.drr.phantom.fields import Grid, coverage, ellipsoid, intersect_smoothly, join_smoothly, tube


def make_grid(half_mm: float = 30.0, voxel_mm: float = 1.0) -> Grid:
    axis = np.arange(-half_mm, half_mm + voxel_mm / 2, voxel_mm, dtype=np.float32)
    whole = slice(0, axis.size)
    return Grid(axis[:, None, None], axis[None, :, None], axis[None, None, :], (whole,) * 3, voxel_mm)


def test_the_share_of_a_half_space_is_a_ramp_of_one_voxel():
    distance = np.array([-2, -1, -0.5, 0, 0.5, 1, 2], dtype=np.float32)
    np.testing.assert_allclose(coverage(distance, 2.0), [1, 1, 0.75, 0.5, 0.25, 0, 0], atol=1e-6)


def test_a_ball_has_the_volume_of_a_ball():
    share = coverage(ellipsoid(make_grid(), [1.2, -0.7, 0.4], [20.0, 20.0, 20.0]), 1.0)
    np.testing.assert_allclose(share.sum(), 4 / 3 * np.pi * 20**3, rtol=2e-3)


def test_an_ellipsoid_turned_by_a_quarter_swaps_its_axes():
    grid = make_grid()
    np.testing.assert_allclose(
        ellipsoid(grid, [0, 0, 0], [20.0, 12.0, 8.0], 90.0),
        ellipsoid(grid, [0, 0, 0], [8.0, 12.0, 20.0]),
        atol=1e-4,
    )


def test_an_ellipsoids_right_end_goes_up_for_a_positive_angle():
    field = ellipsoid(make_grid(), [0, 0, 0], [25.0, 5.0, 5.0], 30.0)
    right_and_up, right_and_down = field[30 + 17, 30, 30 + 10], field[30 + 17, 30, 30 - 10]
    assert right_and_up < 0 < right_and_down


def test_a_straight_tube_has_the_volume_of_a_capsule():
    box, field = tube(
        make_grid(), np.array([[0.0, 0, -15], [0, 0, 0], [0, 0, 15]]), np.array([6.0, 6.0, 6.0])
    )
    volume = np.pi * 36 * 30 + 4 / 3 * np.pi * 216
    np.testing.assert_allclose(coverage(field, 1.0).sum(), volume, rtol=1e-2)
    assert box.shape == (15, 15, 45)  # half a tube and a voxel around the axis


def test_a_tubes_field_is_the_distance_to_it():
    grid = make_grid()
    box, field = tube(grid, np.array([[-10.0, 0, 0], [10.0, 0, 0]]), np.array([4.0, 4.0]), margin_mm=6.0)
    at = {name: int(np.flatnonzero(axis.ravel() == 7)[0]) for name, axis in (("x", box.x), ("z", box.z))}
    middle = int(np.flatnonzero(box.y.ravel() == 0)[0])
    np.testing.assert_allclose(field[at["x"], middle, at["z"]], 3.0, atol=1e-5)


def test_smooth_union_and_intersection_are_the_plain_ones_away_from_the_seam():
    one, other = np.array([-5.0, 3, 0], dtype=np.float32), np.array([20.0, -20, 0], dtype=np.float32)
    np.testing.assert_allclose(join_smoothly(one, other, 8.0), [-5, -20, -2])
    np.testing.assert_allclose(intersect_smoothly(one, other, 8.0), [20, 3, 2])


def test_a_cut_knows_where_it_lies_and_may_be_empty():
    grid = make_grid()
    box = grid.cut(np.array([-5.0, 0, 10]), np.array([5.0, 3, 100]))
    assert box.slices == (slice(25, 36), slice(30, 34), slice(40, 61))
    assert box.cut(np.array([0.0, 0, 10]), np.array([1.0, 1, 11])).slices[0] == slice(30, 32)
    assert grid.cut(np.full(3, 50.0), np.full(3, 60.0)).shape == (0, 0, 0)
