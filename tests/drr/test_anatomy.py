"""The chest is where a radiologist expects it."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medi2i.drr.anatomy import STRUCTURES, build_chest, project_tissues
from medi2i.drr.geometry import ConeBeamGeometry
from medi2i.drr.physique import Physique, Pose, sample_physique

GEOMETRY = ConeBeamGeometry(rows=96, columns=96, detector_spacing_mm=(4.0, 4.0))


@pytest.fixture(scope="module")
def chest():
    return project_tissues(build_chest(Physique(), Pose()), STRUCTURES, GEOMETRY)


def mask(chest, name):
    return chest.path_mm[STRUCTURES.index(name)] > 1.0


def center(chest, name):
    rows, columns = np.nonzero(mask(chest, name))
    return rows.mean(), columns.mean()


def test_patients_right_is_on_the_images_left(chest):
    middle = center(chest, "spine")[1]
    for name in ("lung", "clavicle"):
        assert (
            center(chest, f"right_{name}")[1] < middle - 10 < middle + 10 < center(chest, f"left_{name}")[1]
        )
    assert center(chest, "heart")[1] > middle + 2


def test_clavicles_lie_above_the_lungs_middle_and_the_heart_below_it(chest):
    lungs = center(chest, "left_lung")[0]
    assert center(chest, "left_clavicle")[0] < lungs - 15
    assert center(chest, "heart")[0] > lungs


def test_right_lung_is_bigger_and_the_left_has_a_cardiac_notch(chest):
    right, left = (chest.path_mm[STRUCTURES.index(f"{side}_lung")].sum() for side in ("right", "left"))
    assert left < 0.97 * right
    rows, columns = (round(value) for value in center(chest, "heart"))
    beside_the_heart = chest.path_mm[STRUCTURES.index("left_lung"), rows, 70]
    assert chest.path_mm[STRUCTURES.index("left_lung"), rows, columns] < 0.7 * beside_the_heart


def test_heart_is_about_half_as_wide_as_the_chest(chest):
    lungs = np.flatnonzero((mask(chest, "left_lung") | mask(chest, "right_lung")).any(axis=0))
    heart = np.flatnonzero(mask(chest, "heart").any(axis=0))
    assert 0.4 < np.ptp(heart) / np.ptp(lungs) < 0.55


def test_lungs_are_darker_than_abdomen_and_spine_brightest(chest):
    image = chest.line_integral
    below = image[88:, 20:76].mean()
    lungs = image[mask(chest, "right_lung") & ~mask(chest, "ribs") & ~mask(chest, "spine")].mean()
    assert lungs < 0.65 * below
    assert image[mask(chest, "spine")][-100:].mean() > below


def test_ribs_and_clavicles_stand_out_of_their_surroundings(chest):
    detail = chest.line_integral - gaussian_filter(chest.line_integral, 3)
    for bone, field in (("ribs", "right_lung"), ("left_clavicle", "left_lung")):
        inside = mask(chest, bone) & mask(chest, field)
        outside = ~mask(chest, bone) & mask(chest, field)
        assert detail[inside].mean() > detail[outside].mean() + 0.05


def test_line_integrals_are_never_negative_for_any_patient():
    for patient in range(4):
        physique = sample_physique(np.random.default_rng(patient))
        projection = project_tissues(build_chest(physique, Pose()), STRUCTURES, GEOMETRY)
        assert projection.line_integral.min() >= -1e-6
        assert projection.line_integral.max() < 8.0
        assert all(np.count_nonzero(plane > 1.0) > 40 for plane in projection.path_mm)


def test_patients_differ():
    first, second = (sample_physique(np.random.default_rng(seed)) for seed in (1, 2))
    assert first != second
    assert sample_physique(np.random.default_rng(1)) == first
