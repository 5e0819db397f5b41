import numpy as np
import pytest

from medi2i.config import validate_config
from medi2i.drr.geometry import ConeBeamGeometry, Pose, PoseConfig, make_camera
from medi2i.errors import ConfigError
from medi2i.framing.frame import Frame

# one pixel is 1 mm at the isocentre: 2000 / 1000 * 1 mm
GEOMETRY = ConeBeamGeometry(
    rows=101,
    columns=201,
    detector_spacing_mm=(2.0, 2.0),
    source_to_detector_mm=2000.0,
    source_to_isocenter_mm=1000.0,
)
ORIGIN = np.zeros(3)
# RAS: 20 mm to the patient's right, 10 mm to the head; no depth for the view, so 1 mm is 1 px
MIDDLE = (50.0, 100.0)


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_patient_right_is_on_the_left_and_head_up_in_frontal_views(view):
    camera = make_camera(GEOMETRY, view, isocenter_mm=ORIGIN)
    assert camera.project(np.array([20.0, 0.0, 10.0])) == pytest.approx((40.0, 80.0))


def test_a_lateral_shows_the_patient_facing_the_side_it_is_named_for():
    front = np.array([0.0, 30.0, -10.0])
    left = make_camera(GEOMETRY, "lateral", isocenter_mm=ORIGIN).project(front)
    right = make_camera(GEOMETRY, "right lateral", isocenter_mm=ORIGIN).project(front)
    assert left == pytest.approx((60.0, 70.0))
    assert right == pytest.approx((60.0, 130.0))


def test_what_is_nearer_to_the_source_is_larger():
    # 200 mm in front of the isocentre: AP 2000 / 800, PA 2000 / 1200 times 12 mm, 2 mm a pixel
    point = np.array([-12.0, 200.0, 0.0])
    ap = make_camera(GEOMETRY, "AP", isocenter_mm=ORIGIN).project(point)
    pa = make_camera(GEOMETRY, "PA", isocenter_mm=ORIGIN).project(point)
    assert ap == pytest.approx((50.0, 100.0 + 15.0))
    assert pa == pytest.approx((50.0, 100.0 + 10.0))


@pytest.mark.parametrize(
    ("view", "source"),
    [
        ("AP", (0, 1000, 0)),
        ("PA", (0, -1000, 0)),
        ("left lateral", (1000, 0, 0)),
        ("right lateral", (-1000, 0, 0)),
    ],
)
def test_the_source_is_where_the_view_says(view, source):
    camera = make_camera(GEOMETRY, view, isocenter_mm=np.array([5.0, 6.0, 7.0]))
    assert camera.source_mm == pytest.approx(np.add(source, (5.0, 6.0, 7.0)))


def test_the_isocenter_lands_in_the_middle_and_translation_moves_the_patient():
    isocenter = np.array([40.0, -3.0, 200.0])
    assert make_camera(GEOMETRY, "PA", isocenter_mm=isocenter).project(isocenter) == pytest.approx(MIDDLE)
    moved = make_camera(GEOMETRY, "PA", isocenter_mm=isocenter, pose=Pose(translation_mm=(8.0, 0.0, 4.0)))
    assert moved.project(isocenter) == pytest.approx((46.0, 92.0))


def test_rotations_turn_the_patient_as_they_say():
    assert Pose(yaw_deg=90).rotation @ [0, 1, 0] == pytest.approx([-1, 0, 0])  # front to the left
    assert Pose(pitch_deg=90).rotation @ [0, 0, 1] == pytest.approx([0, -1, 0])  # head to the back
    assert Pose(roll_deg=90).rotation @ [0, 0, 1] == pytest.approx([1, 0, 0])  # head to the right
    rolled = make_camera(GEOMETRY, "PA", isocenter_mm=ORIGIN, pose=Pose(roll_deg=90))
    assert rolled.project(np.array([0.0, 0.0, 30.0])) == pytest.approx((50.0, 70.0))


def test_a_frame_is_what_the_image_shows():
    # 60 x 30 mm around a point 10 mm below and 20 mm to the right of the isocentre; 201 px high
    frame = Frame(height_mm=60.0, width_mm=30.0, center_mm=(10.0, 20.0))
    camera = make_camera(GEOMETRY, "PA", isocenter_mm=ORIGIN, frame=frame)
    assert (camera.rows, camera.columns) == (201, 100)
    assert camera.isocenter_spacing_mm == pytest.approx((60 / 201, 30 / 100))
    assert camera.project(np.array([-20.0, 0.0, -10.0])) == pytest.approx((100.0, 49.5))
    # the rectangle's upper left corner is half a pixel outside the first pixel's centre
    assert camera.project(np.array([-5.0, 0.0, 20.0])) == pytest.approx((-0.5, -0.5))


def test_a_frame_turned_clockwise_shows_the_patient_turned_the_other_way():
    frame = Frame(height_mm=100.0, width_mm=100.0, center_mm=(0.0, 0.0), rotation_deg=90.0)
    camera = make_camera(GEOMETRY, "AP", isocenter_mm=ORIGIN, frame=frame)
    head = camera.project(np.array([0.0, 0.0, 50.0]))
    assert head == pytest.approx((100.0, -0.5))  # the head is on the left


def test_the_geometrys_own_frame_is_the_same_as_none():
    plain = make_camera(GEOMETRY, "PA", isocenter_mm=ORIGIN)
    framed = make_camera(GEOMETRY, "PA", isocenter_mm=ORIGIN, frame=GEOMETRY.frame)
    point = np.array([13.0, 40.0, -20.0])
    assert framed.project(point) == pytest.approx(plain.project(point))
    assert framed.detector_spacing_mm == pytest.approx(plain.detector_spacing_mm)


def test_poses_stay_within_their_half_widths_and_follow_the_generator():
    config = PoseConfig(yaw_deg=2.0, pitch_deg=0.0, roll_deg=1.0, translation_mm=(3.0, 0.0, 4.0))
    rng = np.random.default_rng(1)
    poses = [config.sample(rng) for _ in range(200)]
    yaws = np.array([pose.yaw_deg for pose in poses])
    assert np.abs(yaws).max() <= 2.0 < 2.1 * np.abs(yaws).max()
    assert yaws.std() == pytest.approx(2.0 / np.sqrt(3), rel=0.15)
    assert all(pose.pitch_deg == 0 and pose.translation_mm[1] == 0 for pose in poses)
    assert config.sample(np.random.default_rng(1)) == poses[0]


def test_a_patient_behind_the_detector_is_refused():
    with pytest.raises(ConfigError, match="source_to_isocenter_mm"):
        validate_config(
            {"source_to_detector_mm": 1000, "source_to_isocenter_mm": 1000}, ConeBeamGeometry, "x"
        )
