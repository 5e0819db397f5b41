"""Sides and distances of a view."""

import numpy as np
import pytest
from pydantic import ValidationError

from medi2i.drr.ellipsoids import Ellipsoids, solid_length
from medi2i.drr.geometry import ConeBeamGeometry


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_patient_left_is_on_the_images_right_and_the_head_on_top(view):
    geometry = ConeBeamGeometry(rows=40, columns=60, view=view)
    ball = Ellipsoids.from_axes(np.array([30.0, 0.0, 20.0]), np.full(3, 5.0))
    rows, columns = np.nonzero(solid_length(ball, Ellipsoids.join(), geometry))
    # 30 mm x 1.125 / 2 mm = 16.9 columns right of 29.5; 20 mm x 1.125 / 2 mm = 11.25 rows above 19.5
    assert columns.mean() == pytest.approx(29.5 + 16.9, abs=0.5)
    assert rows.mean() == pytest.approx(19.5 - 11.25, abs=0.5)


def test_pa_magnifies_the_back_and_ap_the_front():
    back = Ellipsoids.from_axes(np.array([0.0, 100.0, 0.0]), np.full(3, 20.0))
    areas = {
        view: np.count_nonzero(solid_length(back, Ellipsoids.join(), ConeBeamGeometry(view=view)))
        for view in ("PA", "AP")
    }
    assert areas["PA"] / areas["AP"] == pytest.approx((1700 / 1500) ** 2, rel=0.05)


def test_source_and_magnification_follow_from_the_distances():
    geometry = ConeBeamGeometry(source_to_detector_mm=1500.0, source_to_isocenter_mm=1000.0)
    assert geometry.magnification == 1.5
    assert geometry.source_mm.tolist() == [0.0, 1000.0, 0.0]


def test_a_detector_before_the_patient_is_refused():
    with pytest.raises(ValidationError, match="must be below"):
        ConeBeamGeometry(source_to_detector_mm=1000.0, source_to_isocenter_mm=1000.0)
