import numpy as np
import pytest

from medi2i.drr.attenuation import AttenuationConfig, hu_to_attenuation, hu_to_materials
from medi2i.drr.geometry import ConeBeamGeometry, make_camera
from medi2i.drr.projection import prepare_patient, project_view
from medi2i.errors import EmptyProjectionError
from medi2i.volume import LabelVolume, Volume
from tests.drr.volumes import grid, one_structure, water

MU = AttenuationConfig().water_per_mm
# 1 mm at the isocentre is 2 mm on the detector
GEOMETRY = ConeBeamGeometry(
    rows=65,
    columns=65,
    detector_spacing_mm=(4.0, 4.0),
    source_to_detector_mm=2000.0,
    source_to_isocenter_mm=1000.0,
)


def camera(view="PA", **changes):
    return make_camera(GEOMETRY.model_copy(update=changes), view, isocenter_mm=np.zeros(3))


def test_a_slab_attenuates_by_its_thickness():
    affine, (_, y, _) = grid((80, 40, 80), (2.0, 2.0, 2.0))
    inside = np.abs(y) < 20.0  # 20 voxels of 2 mm
    projection = project_view(prepare_patient(water(inside, affine)), camera())
    assert projection.line_integral[32, 32] == pytest.approx(40.0 * MU, rel=1e-3)
    # an oblique ray: 40 pixels of 4 mm off the central ray, 2000 mm away
    slant = np.hypot(2000.0, 20 * 4.0) / 2000.0
    assert projection.line_integral[32, 52] == pytest.approx(40.0 * slant * MU, rel=1e-3)


def test_a_spheres_chord_is_its_path_length():
    affine, position = grid((90, 90, 90), (1.0, 1.0, 1.0))
    inside = (position**2).sum(axis=0) < 40.0**2
    labels = one_structure(inside, affine)
    projection = project_view(prepare_patient(water(inside, affine), labels, step_mm=0.25), camera())
    # pixel n columns off: distance d of the ray from the centre, 4 n mm on the detector
    for columns in (0, 5, 10, 15):
        tangent = 4.0 * columns / 2000.0
        distance = 1000.0 * tangent / np.hypot(1.0, tangent)
        chord = 2 * np.sqrt(40.0**2 - distance**2)
        assert projection.path_mm[0, 32, 32 + columns] == pytest.approx(chord, abs=1.0)
        assert projection.line_integral[32, 32 + columns] == pytest.approx(chord * MU, abs=1.0 * MU)


def test_a_spheres_mask_is_within_half_a_pixel_of_the_projected_circle():
    affine, position = grid((90, 90, 90), (1.0, 1.0, 1.0))
    inside = (position**2).sum(axis=0) < 40.0**2
    labels = one_structure(inside, affine)
    projection = project_view(prepare_patient(water(inside, affine), labels), camera())
    mask = projection.path_mm[0] > 1.0
    # the tangent cone: sin(angle) = 40 / 1000, less what 1 mm of chord leaves out
    reach = np.sqrt(40.0**2 - 0.5**2)
    radius_px = 2000.0 * np.tan(np.arcsin(reach / 1000.0)) / 4.0
    row, column = np.mgrid[:65, :65] - 32.0
    distance = np.hypot(row, column)
    assert mask[distance < radius_px - 0.5].all()
    assert not mask[distance > radius_px + 0.5].any()
    assert np.sqrt(mask.sum() / np.pi) == pytest.approx(radius_px, abs=0.5)


@pytest.mark.parametrize(
    ("view", "pixel"),
    [
        # marker 20 mm right, 30 mm front, 10 mm head; depth 1000 -/+ 30 (AP/PA), 1000 -/+ 20 (laterals)
        ("AP", (32 - 10 * 2000 / 970 / 4, 32 - 20 * 2000 / 970 / 4)),
        ("PA", (32 - 10 * 2000 / 1030 / 4, 32 - 20 * 2000 / 1030 / 4)),
        ("left lateral", (32 - 10 * 2000 / 980 / 4, 32 - 30 * 2000 / 980 / 4)),
        ("right lateral", (32 - 10 * 2000 / 1020 / 4, 32 + 30 * 2000 / 1020 / 4)),
    ],
)
def test_a_point_marker_lands_on_its_pixel(view, pixel):
    affine, position = grid((61, 71, 41), (2.0, 2.0, 2.0))
    marker = (np.abs(position - np.array([20.0, 30.0, 10.0])[:, None, None, None]) < 1.0).all(axis=0)
    assert marker.sum() == 1
    image = project_view(prepare_patient(water(marker, affine)), camera(view)).line_integral
    found = np.array([(np.indices(image.shape)[axis] * image).sum() / image.sum() for axis in (0, 1)])
    assert found == pytest.approx(pixel, abs=0.1)


def test_overlapping_structures_keep_their_own_paths_and_a_group_is_their_union():
    affine, position = grid((40, 40, 40), (2.0, 2.0, 2.0))
    depth = position[1]
    front, back = (depth > -10) & (depth < 30), (depth > -30) & (depth < 10)
    codes = (front + 2 * back).astype(np.uint16)
    membership = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=bool)
    labels = LabelVolume(codes, membership, ("front", "back"), affine)
    both = labels.regroup({"back": ["back"], "front": ["front"], "either": ["front", "back"]})
    projection = project_view(prepare_patient(water(front | back, affine), both, step_mm=0.05), camera())
    assert projection.structures == ("back", "front", "either")
    assert projection.path_mm[:, 32, 32] == pytest.approx([40.0, 40.0, 60.0], abs=0.1)


def test_the_chunks_do_not_show(monkeypatch):
    affine, position = grid((40, 40, 40), (2.0, 2.0, 2.0))
    inside = (position**2).sum(axis=0) < 30.0**2
    patient = prepare_patient(water(inside, affine), one_structure(inside, affine), step_mm=0.5)
    whole = project_view(patient, camera())
    monkeypatch.setattr("medi2i.drr.renderer._RAYS_ON_CPU", 65)  # one row
    rows = project_view(patient, camera())
    assert (rows.line_integral == whole.line_integral).all()
    assert (rows.path_mm == whole.path_mm).all()


def test_a_finer_step_changes_little():
    affine, position = grid((40, 40, 40), (2.0, 2.0, 2.0))
    inside = (position**2).sum(axis=0) < 30.0**2
    coarse = project_view(prepare_patient(water(inside, affine)), camera()).line_integral
    fine = project_view(prepare_patient(water(inside, affine), step_mm=0.2), camera()).line_integral
    assert np.abs(coarse - fine).max() < 0.01 * fine.max()


def test_rays_beyond_a_cut_body_are_not_valid():
    # a column of water that goes on above and below the CT, and ends in air to the sides
    affine, (x, y, _) = grid((60, 60, 20), (2.0, 2.0, 2.0))
    inside = np.hypot(x, y) < 30.0
    patient = prepare_patient(water(inside, affine))
    assert patient.cut == ((False, False), (False, False), (True, True))
    valid = project_view(patient, camera()).valid
    # 40 mm high at the isocentre is 20 px; the cone spreads: the body's back is 30 mm nearer to the source
    rows = np.flatnonzero(valid[:, 32])
    assert rows.min() == pytest.approx(32 - 40 / 2 * 2000 / 1030 / 4 + 0.5, abs=1.0)
    assert rows.max() == pytest.approx(32 + 40 / 2 * 2000 / 1030 / 4 - 0.5, abs=1.0)
    # beside the body is air, and known to be
    assert valid[32].all()
    assert valid[10, 0]


def test_a_whole_body_is_valid_everywhere_and_no_body_nowhere():
    affine, position = grid((40, 40, 40), (2.0, 2.0, 2.0))
    inside = (position**2).sum(axis=0) < 30.0**2
    assert project_view(prepare_patient(water(inside, affine)), camera()).valid.all()
    thin = Volume(np.where(inside, -700.0, -1000.0).astype(np.float32), affine)
    assert not project_view(prepare_patient(thin), camera()).valid.any()


def test_a_body_cut_by_the_field_of_view_has_unknown_sides():
    affine, (x, y, z) = grid((60, 40, 40), (2.0, 2.0, 2.0))
    padding = np.abs(x) > 40.0
    inside = (np.abs(y) < 20.0) & (np.abs(z) < 30.0) & ~padding
    volume = water(inside, affine)
    volume = Volume(volume.hounsfield, affine, padding=padding)
    patient = prepare_patient(volume)
    assert patient.cut == ((True, True), (False, False), (False, False))
    valid = project_view(patient, camera()).valid
    assert valid[32, 32]
    assert not valid[32, 4]


def test_a_view_beside_the_patient_is_an_error():
    affine, position = grid((20, 20, 20), (2.0, 2.0, 2.0))
    inside = (position**2).sum(axis=0) < 15.0**2
    away = make_camera(GEOMETRY, "PA", isocenter_mm=np.array([0.0, 0.0, 500.0]))
    with pytest.raises(EmptyProjectionError, match="no ray meets the patient"):
        project_view(prepare_patient(water(inside, affine)), away)


def test_attenuation_of_air_water_and_bone():
    hu = np.array([-1000.0, -500.0, 0.0, 1000.0], dtype=np.float32).reshape(1, 1, 4)
    values = hu_to_attenuation(hu, AttenuationConfig())[0, 0]
    assert values == pytest.approx([0.0, 0.0096, 0.0192, 0.0573], abs=1e-7)


def test_materials_fill_the_voxel_and_give_back_the_hu():
    hu = np.array([-1000.0, -400.0, 0.0, 992.0, 1984.0, 3968.0], dtype=np.float32).reshape(1, 1, 6)
    water_fraction, bone = hu_to_materials(hu)[:, 0, 0]
    assert water_fraction == pytest.approx([0.0, 0.6, 1.0, 0.5, 0.0, 0.0])
    assert bone == pytest.approx([0.0, 0.0, 0.0, 0.5, 1.0, 2.0])
    # at the CT's energy: mu = water 0.0192 + bone 0.0573 per mm, HU = 1000 (mu / 0.0192 - 1)
    mu = 0.0192 * water_fraction + 0.0573 * bone
    assert 1000 * (mu[:5] / 0.0192 - 1) == pytest.approx(hu[0, 0, :5], abs=2.0)


@pytest.mark.cuda
def test_a_gpu_renders_what_the_cpu_renders():
    """nanodrr's fused kernels there, its reference implementation here."""
    affine, position = grid((60, 60, 60), (2.0, 2.0, 2.0))
    inside = (position**2).sum(axis=0) < 45.0**2
    volume, labels = water(inside, affine), one_structure(inside, affine)
    here = project_view(prepare_patient(volume, labels), camera())
    there = project_view(prepare_patient(volume, labels, device="cuda"), camera())
    assert there.line_integral == pytest.approx(here.line_integral, abs=1e-3)
    # a sample more or less at a border
    assert there.path_mm == pytest.approx(here.path_mm, abs=2.1)
