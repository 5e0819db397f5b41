import numpy as np
import pytest

from medi2i.drr.geometry import ConeBeamGeometry, make_camera
from medi2i.framing.frame import Frame
from medi2i.framing.placement import Placement

FRAME = Frame(height_mm=300, width_mm=240, center_mm=(-25, 12), rotation_deg=8)


def test_a_placement_of_a_whole_image_gives_back_its_frame():
    place = Placement((3.0, 2.0), rotation_deg=8, center_mm=(-25, 12))
    frame = place.frame_of(np.ones((100, 120), dtype=bool))
    assert (frame.height_mm, frame.width_mm, frame.rotation_deg) == (300, 240, 8)
    assert frame.center_mm == pytest.approx((-25, 12))


def test_the_camera_of_a_frame_sees_points_where_the_placement_says():
    camera = make_camera(ConeBeamGeometry(rows=120, columns=120), "PA", isocenter_mm=np.zeros(3), frame=FRAME)
    place = Placement(camera.isocenter_spacing_mm, FRAME.rotation_deg, FRAME.center_mm)
    rows, columns = np.array([0.0, 10.0, 70.0]), np.array([0.0, 90.0, 20.0])
    down, right = place.to_patient(rows - (camera.rows - 1) / 2, columns - (camera.columns - 1) / 2)
    # in a PA view down is towards the feet and right is the patient's left
    points = np.stack([-right, np.zeros(3), -down], axis=1)
    np.testing.assert_allclose(camera.project(points), np.stack([rows, columns], axis=1), atol=1e-9)


def test_a_frame_turned_clockwise_has_its_right_side_lower():
    down, right = Placement((1, 1), 90, (0, 0)).to_patient(np.array(0.0), np.array(10.0))
    assert (float(down), float(right)) == pytest.approx((10, 0))


def test_the_frame_is_that_of_the_exposed_rectangle():
    shown = np.zeros((100, 80), dtype=bool)
    shown[10:50, 20:80] = (
        True  # middle at row 29.5 and column 49.5, 20 rows above and 10 columns right of the whole
    )
    frame = Placement((2.0, 3.0), 0.0, (5.0, 7.0)).frame_of(shown)
    assert (frame.height_mm, frame.width_mm) == (80, 180)
    assert frame.center_mm == pytest.approx((5 - 40, 7 + 30))


def test_rescaling_keeps_the_place():
    place = Placement((2.0, 3.0), 5.0, (5.0, 7.0)).rescale((0.5, 2.0))
    assert place == Placement((4.0, 1.5), 5.0, (5.0, 7.0))
    assert place.stretch == pytest.approx(4 / 1.5)
