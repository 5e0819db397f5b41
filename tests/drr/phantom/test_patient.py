"""Phantom patients: anatomy in its place, findings as recorded, everything by seed."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import distance_transform_edt, label
from scipy.signal import find_peaks

from medi2i.config import validate_config
from medi2i.drr.phantom import ORGANS, FindingsConfig, PatientConfig, PhantomConfig, sample_patient
from medi2i.drr.phantom.findings import MASKED_FINDINGS, FindingsPlan, sample_findings
from medi2i.drr.phantom.patient import build_patient
from medi2i.drr.phantom.physique import Physique, sample_physique
from medi2i.errors import ConfigError

COARSE = PatientConfig(voxel_mm=(5.0, 5.0, 5.0))
ALL = COARSE.model_copy(update={"findings": FindingsConfig(nodule=1, effusion=1, missing_rib=1, pacemaker=1)})
HEALTHY = FindingsPlan(nodules=0, effusion=None, missing_rib=None, pacemaker=None)


def build(plan=HEALTHY, config=COARSE, physique=None):
    physique = physique or Physique()
    return build_patient(config, physique, plan, np.random.default_rng(1), np.random.default_rng(2))


@pytest.fixture(scope="module")
def average():
    return build()


@pytest.fixture(scope="module")
def several():
    return [sample_patient(COARSE, np.random.default_rng(seed)) for seed in range(5)]


def positions(patient, name):
    """(N, 3) RAS mm of a structure's voxels."""
    return np.argwhere(patient.labels.mask(name)) * patient.volume.spacing_mm + patient.volume.affine[:3, 3]


def test_the_volume_covers_its_field_about_the_origin(average):
    assert average.volume.hounsfield.shape == (80, 62, 83)
    np.testing.assert_allclose(average.volume.center_mm, 0, atol=1e-9)
    np.testing.assert_array_equal(average.labels.affine, average.volume.affine)
    assert average.volume.hounsfield.dtype == np.float32
    assert average.volume.hounsfield.min() >= -1000


def test_every_organ_is_there_and_there_is_no_mask_of_what_cannot_be(several):
    for patient in several:
        assert patient.labels.structures == ORGANS
        assert all(patient.labels.mask(name).any() for name in ORGANS)


def test_tissues_have_their_hounsfield_units(several):
    for patient in several:
        mean = {name: patient.volume.hounsfield[patient.labels.mask(name)].mean() for name in ORGANS}
        assert -860 < mean["left_lung"] < -650
        assert -860 < mean["right_lung"] < -650
        # its surface voxels share with lung
        assert 38 < np.median(patient.volume.hounsfield[patient.labels.mask("heart")]) < 50
        assert 45 < mean["liver"] < 75
        assert 150 < mean["ribs"] < 900
        assert 120 < mean["spine"] < 700


def test_heart_and_stomach_are_on_the_patients_left_and_the_liver_on_the_right(several):
    for patient in several:
        x = {name: positions(patient, name)[:, 0].mean() for name in ORGANS}
        assert x["heart"] < -8
        assert x["stomach"] < -30
        assert x["spleen"] < -60
        assert x["liver"] > 25
        assert x["left_lung"] < 0 < x["right_lung"]
        assert x["left_clavicle"] < 0 < x["right_clavicle"]


def test_spine_is_behind_the_heart_and_clavicles_are_above_it(several):
    for patient in several:
        center = {name: positions(patient, name).mean(axis=0) for name in ORGANS}
        assert center["spine"][1] < center["heart"][1] - 40
        assert center["left_clavicle"][2] > center["heart"][2] + 80
        assert center["liver"][2] < center["heart"][2] < 0


def test_right_dome_of_the_average_body_is_higher_and_lung_goes_down_behind_both_domes(average):
    for side, organ in (("right", "liver"), ("left", "stomach")):
        lung, below = positions(average, f"{side}_lung"), positions(average, organ)
        dome = below[:, 2].max()
        depth = dome - lung[:, 2].min()
        assert 40 < depth < 110, side
        # the deepest lung lies behind the organ's middle
        assert lung[lung[:, 2] < dome - 40][:, 1].mean() < below[:, 1].mean()
    assert positions(average, "liver")[:, 2].max() > positions(average, "stomach")[:, 2].max() + 5


def test_lungs_go_on_at_the_sides_below_the_dome(average):
    for side, sign in (("right", 1), ("left", -1)):
        lung = positions(average, f"{side}_lung")
        lateral = lung[sign * lung[:, 0] > 0.9 * (sign * lung[:, 0]).max()]
        assert lateral[:, 2].min() < -110


def test_ribs_follow_the_chest_wall(several):
    for patient in several:
        lungs = patient.labels.mask("left_lung") | patient.labels.mask("right_lung")
        distance = distance_transform_edt(~lungs, sampling=patient.volume.spacing_mm)
        points = np.argwhere(patient.labels.mask("ribs"))
        z = points[:, 2] * 5.0 + patient.volume.affine[2, 3]
        # beside the lungs, where both are: from T4 to the domes
        beside = distance[tuple(points[(z > -60) & (z < 60)].T)]
        assert beside.min() > 0
        assert np.percentile(beside, 95) < 20


def test_twelve_ribs_show_on_each_side_and_a_missing_one_leaves_a_gap():
    fine = COARSE.model_copy(update={"voxel_mm": (3.0, 3.0, 3.0)})
    whole = build(config=fine)
    lacking = build(replace(HEALTHY, missing_rib=("left", 6)), config=fine)
    gone = whole.labels.mask("ribs") & ~lacking.labels.mask("ribs")
    x = np.flatnonzero(gone.any(axis=(1, 2))) * 3.0 + whole.volume.affine[0, 3]
    assert x.max() < 0  # the patient's left
    assert not (lacking.labels.mask("ribs") & ~whole.labels.mask("ribs")).any()
    # one piece, a rib long: 300 mm of about 12 x 7 mm and its neck
    pieces, count = label(gone)
    assert np.bincount(pieces.ravel())[1:].max() > 0.9 * gone.sum(), count
    assert 10 < gone.sum() * 0.027 < 45  # ml
    assert [finding.to_dict() for finding in lacking.findings] == [
        {"kind": "missing_rib", "side": "left", "rib": 6}
    ]


def test_a_slice_beside_the_spine_cuts_twelve_ribs_a_side():
    fine = COARSE.model_copy(update={"voxel_mm": (3.0, 3.0, 3.0), "field_mm": (400.0, 308.0, 440.0)})
    patient = build(config=fine)
    ribs = patient.labels.mask("ribs")
    for x in (-42.0, 42.0):
        place = round((x - patient.volume.affine[0, 3]) / 3)
        _, count = label(ribs[place][:45])  # the back half
        assert count == 12


def test_ribs_are_apart_where_the_chest_wall_is_seen_in_tangent():
    """From the front, the outer chest wall shows ribs one by one: bone and gap in turns."""
    fine = COARSE.model_copy(update={"voxel_mm": (2.5, 2.5, 2.5), "noise_hu": 0.0})
    patient = build(config=fine)
    lungs = patient.labels.mask("left_lung") | patient.labels.mask("right_lung")
    bone_mm = np.where(patient.labels.mask("ribs"), patient.volume.hounsfield, 0).clip(0).sum(axis=1) * 2.5e-3
    z = np.arange(lungs.shape[2]) * 2.5 + patient.volume.affine[2, 3]
    for outward in (-1, 1):
        profile = []
        for k in np.flatnonzero((z > -90) & (z < 40)):
            columns = np.flatnonzero(lungs[:, :, k].any(axis=1))
            edge = columns[-1] if outward > 0 else columns[0]
            profile.append(bone_mm[edge + outward : edge + outward * 5 : outward, k].mean())
        profile = np.array(profile)
        peaks, _ = find_peaks(profile, prominence=0.3 * profile.max())
        assert 4 <= len(peaks) <= 6  # 130 mm at a pitch of 22 to 27 mm
        valleys = [profile[a:b].min() for a, b in pairwise(peaks)]
        assert max(valleys) < 0.6 * profile[peaks].min()


@pytest.mark.parametrize(("voxel_mm", "millions"), [((0.5, 0.5, 0.5), 410), ((1.0, 1.0, 1.0), 51)])
def test_a_grid_that_takes_too_much_memory_is_refused(voxel_mm, millions):
    with pytest.raises(ConfigError, match=rf"= {millions} million voxels, more than 40 million: set larger"):
        validate_config({"patient": {"voxel_mm": voxel_mm}}, PhantomConfig, "test")


def test_the_largest_grid_is_40_million_voxels():
    assert math.prod(PatientConfig(voxel_mm=(1.0, 1.0, 1.0), field_mm=(400.0, 250.0, 400.0)).voxels) == 40e6
    with pytest.raises(ValidationError, match="voxels"):
        PatientConfig(voxel_mm=(1.0, 1.0, 1.0), field_mm=(400.0, 250.0, 401.0))


def test_same_seed_same_patient_and_another_seed_another(several):
    again = sample_patient(COARSE, np.random.default_rng(0))
    np.testing.assert_array_equal(again.volume.hounsfield, several[0].volume.hounsfield)
    np.testing.assert_array_equal(again.labels.codes, several[0].labels.codes)
    assert len({patient.volume.hounsfield.tobytes() for patient in several}) == len(several)


def test_bodies_vary_in_size_and_organs_vary_with_them(several):
    lungs_l = [p.labels.mask("left_lung").sum() * 0.125 / 1000 for p in several]
    body_l = [(p.volume.hounsfield > -500).sum() * 0.125 / 1000 for p in several]
    assert max(lungs_l) / min(lungs_l) > 1.15
    assert max(body_l) / min(body_l) > 1.1
    assert all(1.0 < volume < 4.0 for volume in lungs_l)


def test_physiques_stay_possible():
    bodies = [sample_physique(np.random.default_rng(seed)) for seed in range(200)]
    assert all(0.9 < body.width < 1.12 and 0.88 < body.depth < 1.14 for body in bodies)
    assert 0.3 < np.mean([body.breast_mm > 0 for body in bodies]) < 0.6


def test_bodies_end_inside_the_field_before_and_behind(several):
    for patient in several:
        assert not (patient.volume.hounsfield[:, [0, -1]] > -500).any()


def test_findings_change_nothing_else_about_a_patient():
    ill, well = (sample_patient(config, np.random.default_rng(3)) for config in (ALL, COARSE))
    assert ill.physique == well.physique
    assert {finding.kind for finding in ill.findings} == {"nodule", "effusion", "missing_rib", "pacemaker"}
    for name in ("heart", "liver", "spine", "left_clavicle"):
        np.testing.assert_array_equal(ill.labels.mask(name), well.labels.mask(name))
    same = np.ones(ill.volume.hounsfield.shape, dtype=bool)
    for name in (*MASKED_FINDINGS, "ribs", "left_lung", "right_lung"):
        same &= ~ill.labels.mask(name)
    same &= ~well.labels.mask("ribs")
    far = distance_transform_edt(same, sampling=(5.0,) * 3) > 15  # thin recesses are shared voxels only
    np.testing.assert_array_equal(ill.volume.hounsfield[far], well.volume.hounsfield[far])


def test_a_nodule_has_the_volume_of_its_sphere_in_the_patients_millimetres():
    findings = FindingsConfig(nodule=1, nodules=1, nodule_radius_mm=(14.0, 14.0))
    config = PatientConfig(voxel_mm=(2.5, 2.5, 2.5), noise_hu=0.0, findings=findings)
    patient = build(
        replace(HEALTHY, nodules=1), config=config, physique=Physique(width=1.1, depth=0.9, height=1.05)
    )
    (nodule,) = patient.findings
    volume_mm3 = patient.labels.mask("nodule").sum() * 2.5**3
    np.testing.assert_allclose(volume_mm3, 4 / 3 * np.pi * 14**3, rtol=0.04)
    np.testing.assert_allclose(positions(patient, "nodule").mean(axis=0), nodule.center_mm, atol=0.5)
    assert nodule.radius_mm == 14.0
    inside = np.linalg.norm(
        np.argwhere(np.ones(patient.volume.hounsfield.shape)) * 2.5
        + patient.volume.affine[:3, 3]
        - nodule.center_mm,
        axis=1,
    )
    core = (inside < 10).reshape(patient.volume.hounsfield.shape)
    np.testing.assert_allclose(patient.volume.hounsfield[core], 35.0, atol=1e-3)
    lung = patient.labels.mask(f"{nodule.side}_lung")
    assert lung[patient.labels.mask("nodule")].all()  # it stays part of the lung


def test_an_effusion_is_fluid_at_the_bottom_of_its_pleural_space_and_no_lung():
    config = ALL.model_copy(update={"noise_hu": 0.0})
    ill, well = build(replace(HEALTHY, effusion="right"), config=config), build(config=config)
    fluid, lung = ill.labels.mask("effusion"), well.labels.mask("right_lung")
    assert fluid.any()
    assert (fluid & ~lung).sum() == 0
    np.testing.assert_array_equal(ill.labels.mask("right_lung"), lung & ~fluid)
    np.testing.assert_array_equal(ill.labels.mask("left_lung"), well.labels.mask("left_lung"))
    assert np.median(ill.volume.hounsfield[fluid]) == pytest.approx(8.0)
    lowest = positions(well, "right_lung")[:, 2].min()
    assert positions(ill, "effusion")[:, 2].min() == lowest


def test_a_pacemaker_is_metal_in_front_on_its_side_with_a_lead_to_the_heart():
    patient = build(replace(HEALTHY, pacemaker="left"), config=ALL)
    device = patient.labels.mask("pacemaker")
    metal = patient.volume.hounsfield > 3500
    assert metal.any()
    assert (metal & ~device).sum() == 0
    assert positions(patient, "pacemaker")[:, 1].max() > positions(patient, "heart")[:, 1].max() - 10
    can = np.argwhere(metal) * 5.0 + patient.volume.affine[:3, 3]
    assert (can[:, 0] < -50).all()
    assert (device & patient.labels.mask("heart")).any()
    _, pieces = label(device, structure=np.ones((3, 3, 3)))
    assert pieces == 1


def test_probabilities_of_findings_are_kept_and_draw_the_same_numbers():
    config = FindingsConfig(nodule=0.25, effusion=0.5)
    plans = [sample_findings(config, np.random.default_rng(seed)) for seed in range(400)]
    assert np.mean([plan.nodules > 0 for plan in plans]) == pytest.approx(0.25, abs=0.07)
    assert np.mean([plan.effusion is not None for plan in plans]) == pytest.approx(0.5, abs=0.08)
    assert all(plan.missing_rib is None and plan.pacemaker is None for plan in plans)
    more = FindingsConfig(nodule=0.25, effusion=0.5, pacemaker=1.0)
    changed = [sample_findings(more, np.random.default_rng(seed)) for seed in range(20)]
    assert [replace(plan, pacemaker=None) for plan in changed] == plans[:20]
    assert config.masked == ("nodule", "effusion")
