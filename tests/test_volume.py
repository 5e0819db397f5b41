import numpy as np
import pytest

from medi2i.volume import LabelVolume, Volume, is_same_grid, label_volume_from_map

AFFINE = np.array([[2.0, 0, 0, -5], [0, 0, 3, 1], [0, 4, 0, 7], [0, 0, 0, 1]])


def make_labels() -> LabelVolume:
    """Code 3 is in both structures."""
    codes = np.array([[[0, 1], [2, 3]]], dtype=np.uint16)
    membership = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=bool)
    return LabelVolume(codes, membership, ("liver", "tumour"), AFFINE, ("a note",))


def test_spacing_and_center_follow_the_affine():
    volume = Volume(np.zeros((3, 2, 5), np.float32), AFFINE)
    assert volume.spacing_mm == (2, 4, 3)
    # index (1, 0.5, 2): x = 2 * 1 - 5, y = 3 * 2 + 1, z = 4 * 0.5 + 7
    assert volume.center_mm.tolist() == [-3, 7, 9]


def test_the_patient_is_not_printed():
    assert "token" not in repr(Volume(np.zeros((2, 2, 2), np.float32), AFFINE, patient_id="token"))


def test_overlapping_structures_have_their_own_masks_and_counts():
    labels = make_labels()
    assert labels.mask("liver").tolist() == [[[False, True], [False, True]]]
    assert labels.mask("tumour").tolist() == [[[False, False], [True, True]]]
    assert labels.voxel_counts().tolist() == [2, 2]
    with pytest.raises(KeyError, match="spleen"):
        labels.mask("spleen")


def test_a_group_is_the_union_of_its_members():
    groups = make_labels().regroup({"both": ["liver", "tumour"], "tumour": ["tumour"], "none": []})
    assert groups.structures == ("both", "tumour", "none")
    assert groups.voxel_counts().tolist() == [3, 2, 0]
    assert groups.notes == ("a note",)
    with pytest.raises(KeyError, match="spleen"):
        make_labels().regroup({"a": ["spleen"]})


def test_a_label_map_becomes_a_volume_of_its_named_values():
    labels = np.array([[[0, 1], [7, 9]]], dtype=np.uint8)
    volume = label_volume_from_map(labels, {0: "background", 7: "lung", 1: "lung", 300: "rib"}, AFFINE)
    assert volume.structures == ("lung", "rib")
    assert volume.mask("lung").tolist() == [[[False, True], [True, False]]]  # 9 has no name
    assert volume.voxel_counts().tolist() == [2, 0]


@pytest.mark.parametrize(
    ("shift", "same"),
    [((0, 0, 0), True), ((0.03, 0, 0), True), ((0.05, 0, 0), False), ((1, 0, 0), False), ((0, 0, -2), False)],
)
def test_grids_are_the_same_within_a_fiftieth_of_the_smallest_side(shift, same):
    other = AFFINE.copy()
    other[:3, 3] += shift  # the smallest side is 2 mm: 0.04 mm may be rounding
    assert is_same_grid((9, 9, 9), AFFINE, (9, 9, 9), other) is same


def test_a_spacing_error_counts_by_what_it_moves_at_the_far_corner():
    other = AFFINE.copy()
    other[0, 0] += 0.001  # 8 steps move the last voxel by 0.008 mm, 99 by 0.099 mm
    assert is_same_grid((9, 9, 9), AFFINE, (9, 9, 9), other)
    assert not is_same_grid((100, 9, 9), AFFINE, (100, 9, 9), other)
    assert not is_same_grid((9, 9, 9), AFFINE, (9, 9, 8), AFFINE)
