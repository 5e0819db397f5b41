import json

import nibabel
import numpy as np
import pytest
from ct_files import AFFINE, make_hounsfield, turn, write_nifti

from medi2i.errors import MaskMismatchError, UnreadableImageError, UsageError
from medi2i.io import label_volumes
from medi2i.io.ct import read_ct
from medi2i.io.label_names import find_label_table, read_label_names
from medi2i.io.label_volumes import check_same_grid, read_label_map, read_structure_files, resample_labels

XML = """<?xml version="1.0" encoding="UTF-8"?> <CaretExtension> <VolumeInformation Index="0"> <LabelTable>
<Label Key="1" Red="0.0" Alpha="1"><![CDATA[lung <left>]]></Label><Label Key="3">liver</Label>
</LabelTable> </VolumeInformation></CaretExtension>
              """
NAMES = {1: "left_lung", 2: "liver", 3: "heart"}


def make_map() -> np.ndarray:
    """(6, 5, 4) label values 0 to 3."""
    return (np.arange(120) % 4).astype(np.uint8).reshape(6, 5, 4)


def write_with_extension(path, xml):
    image = nibabel.Nifti1Image(make_map(), AFFINE)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, xml.encode()))
    image.to_filename(path)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_a_label_map_has_the_named_structures(tmp_path, dtype):
    labels = read_label_map(write_nifti(tmp_path / "a.nii.gz", make_map().astype(dtype)), NAMES)
    assert labels.structures == ("left_lung", "liver", "heart")
    for value, name in NAMES.items():
        assert np.array_equal(labels.mask(name), make_map() == value)
    assert labels.notes == ()
    assert labels.affine == pytest.approx(AFFINE, abs=1e-4)


def test_names_without_voxels_stay_and_values_without_a_name_are_said(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", make_map())
    labels = read_label_map(path, {2: "liver", 9: "gallbladder"})
    assert labels.structures == ("liver", "gallbladder")
    assert labels.voxel_counts().tolist() == [30, 0]
    assert labels.notes == ("label values without a name, which count as background: 1, 3",)


def test_names_come_from_the_header_as_totalsegmentator_writes_them(tmp_path):
    plain = XML.replace("lung <left>", "left_lung")
    labels = read_label_map(write_with_extension(tmp_path / "a.nii.gz", plain))
    assert labels.structures == ("left_lung", "liver")
    assert np.array_equal(labels.mask("liver"), make_map() == 3)


@pytest.mark.parametrize(
    "xml",
    [
        XML,  # '<' can't be in the name of a file
        XML.replace("lung <left>", "../../etc/passwd"),
        XML.replace("<CaretExtension> ", '<!DOCTYPE a [<!ENTITY b "cc">]><CaretExtension>', 1),
        XML.replace("</LabelTable>", ""),
        XML.replace('Key="3"', 'Key="1"'),
    ],
)
def test_a_header_extension_that_is_not_what_it_should_be_is_refused(tmp_path, xml):
    with pytest.raises(UnreadableImageError, match="names in the NIfTI header that cannot be decoded"):
        read_label_map(write_with_extension(tmp_path / "a.nii.gz", xml))


def test_default_names_stand_in_only_where_the_header_has_none(tmp_path):
    plain = write_nifti(tmp_path / "a.nii.gz", make_map())
    assert read_label_map(plain, default_names=NAMES).structures == ("left_lung", "liver", "heart")
    named = write_with_extension(tmp_path / "b.nii.gz", XML.replace("lung <left>", "lung"))
    assert read_label_map(named, default_names=NAMES).structures == ("lung", "liver")
    assert read_label_map(named, NAMES, default_names={1: "rib"}).structures == (
        "left_lung",
        "liver",
        "heart",
    )


def test_labels_without_names_are_refused_with_the_way_out(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", make_map())
    with pytest.raises(MaskMismatchError, match=r"values 1, 2, 3 and no names.*a\.json.*label_names"):
        read_label_map(path)
    with pytest.raises(MaskMismatchError, match="and other names"):
        read_label_map(path, {7: "liver"})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (make_hounsfield(), "values from -1000 to 1023"),
        (make_map() / 2, "not all of them integers"),
        (np.where(make_map() > 0, np.nan, 0), "not all of them integers"),
        (make_map().astype(np.int32) * 100_000, "values from 0 to 300000"),
    ],
)
def test_what_is_no_label_map_is_refused(tmp_path, values, words):
    with pytest.raises(MaskMismatchError, match=words):
        read_label_map(write_nifti(tmp_path / "a.nii", values), NAMES)


def test_a_file_that_is_not_there_or_broken_is_named(tmp_path):
    (tmp_path / "a.nii").write_text("text")
    for name, words in (("a.nii", "NIfTI header that cannot"), ("b.nii", "no such file")):
        with pytest.raises(UnreadableImageError, match=words) as caught:
            read_label_map(tmp_path / name, NAMES)
        assert "radiograph" not in str(caught.value)


@pytest.fixture
def masks() -> dict[str, np.ndarray]:
    """Three masks of which each two overlap, and an empty one."""
    i, j, k = np.indices((6, 5, 4))
    return {"body": i > 0, "left": j > 2, "low": k < 2, "none": i > 9}


def write_masks(folder, masks, value=1):
    return {
        name: write_nifti(folder / f"{name}.nii.gz", mask * np.uint8(value)) for name, mask in masks.items()
    }


@pytest.mark.parametrize("value", [1, 255])
def test_overlapping_structures_are_kept_exactly(tmp_path, masks, value):
    labels = read_structure_files(write_masks(tmp_path, masks, value))
    assert labels.structures == ("body", "left", "low", "none")
    for name, mask in masks.items():
        assert np.array_equal(labels.mask(name), mask), name
    assert not labels.membership[0].any()
    # each of the 8 combinations of three overlapping masks occurs
    assert len(np.unique(labels.codes)) == 8
    union = labels.regroup({"all": ["body", "left", "low"]})
    assert np.array_equal(union.mask("all"), masks["body"] | masks["left"] | masks["low"])


def test_structures_may_be_stored_in_different_orientations(tmp_path, masks):
    files = write_masks(tmp_path, masks)
    stored, affine = turn(masks["left"].astype(np.uint8), AFFINE, (2, 0, 1), (True, True, False))
    write_nifti(files["left"], stored, affine)
    assert np.array_equal(read_structure_files(files).mask("left"), masks["left"])


def test_structure_files_that_do_not_fit_are_refused(tmp_path, masks):
    files = write_masks(tmp_path, masks)
    write_nifti(files["low"], make_map())
    with pytest.raises(MaskMismatchError, match="3 values inside: 1, 2, 3"):
        read_structure_files(files)
    write_nifti(files["low"], np.ones((6, 5, 3), np.uint8))
    with pytest.raises(MaskMismatchError, match=r"grid of 6 x 5 x 3.*other structures' grid of 6 x 5 x 4"):
        read_structure_files(files)
    with pytest.raises(UsageError, match=r"'\.\./low' is no name"):
        read_structure_files({"../low": files["low"]})
    with pytest.raises(UsageError, match="no structure"):
        read_structure_files({})


def test_too_many_combinations_for_the_codes_are_an_error(tmp_path, masks, monkeypatch):
    monkeypatch.setattr(label_volumes, "_MAX_CODE", 6)  # 7 codes, and 8 combinations
    with pytest.raises(MaskMismatchError, match=r"8 different sets of overlapping structures.*at most 6"):
        read_structure_files(write_masks(tmp_path, {name: masks[name] for name in ("body", "left", "low")}))


def test_labels_of_the_ct_pass_and_others_name_both_grids(tmp_path):
    volume = read_ct(write_nifti(tmp_path / "ct.nii", make_hounsfield()))
    stored, affine = turn(make_map(), AFFINE, (1, 0, 2), (False, True, True))
    path = write_nifti(tmp_path / "a.nii", stored, affine)
    check_same_grid(read_label_map(path, NAMES), volume, path)
    shifted = AFFINE.copy()
    shifted[2, 3] += 1.25
    path = write_nifti(tmp_path / "b.nii", make_map(), shifted)
    with pytest.raises(MaskMismatchError) as caught:
        check_same_grid(read_label_map(path, NAMES), volume, path)
    assert "6 x 5 x 4 voxels of 0.8 x 0.9 x 2.5 mm, first at (-10.0, 20.0, -298.8) mm" in caught.value.found
    assert "first at (-10.0, 20.0, -300.0) mm" in caught.value.expected
    assert "--resample-labels" in caught.value.remedy


def test_resampling_takes_the_nearest_voxel_up_to_the_grid_s_border(tmp_path):
    volume = read_ct(write_nifti(tmp_path / "ct.nii", make_hounsfield()))
    # the labels' voxels are a third of the CT's, and they start 2 CT voxels later along the first axis
    fine = np.repeat(np.repeat(np.repeat(make_map()[2:], 3, 0), 3, 1), 3, 2)
    affine = AFFINE @ np.array(
        [[1 / 3, 0, 0, 2 - 1 / 3], [0, 1 / 3, 0, -1 / 3], [0, 0, 1 / 3, -1 / 3], [0, 0, 0, 1]]
    )
    labels = resample_labels(read_label_map(write_nifti(tmp_path / "a.nii", fine, affine), NAMES), volume)
    expected = make_map()
    expected[:2] = 0
    for value, name in NAMES.items():
        assert np.array_equal(labels.mask(name), expected == value)
    check_same_grid(labels, volume, tmp_path)
    assert labels.notes[-1].endswith("by nearest neighbour; they cover 67 % of it")
    # half a CT voxel coarser: the border voxels' outer halves count
    coarse = np.ones((3, 5, 2), np.uint8)
    affine = AFFINE @ np.array([[2, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 2, 0.5], [0, 0, 0, 1]])
    labels = resample_labels(read_label_map(write_nifti(tmp_path / "b.nii", coarse, affine), NAMES), volume)
    assert labels.mask("left_lung").all()


def test_labels_of_somewhere_else_are_not_resampled_to_nothing(tmp_path):
    volume = read_ct(write_nifti(tmp_path / "ct.nii", make_hounsfield()))
    far = AFFINE.copy()
    far[2, 3] += 400
    labels = read_label_map(write_nifti(tmp_path / "a.nii", make_map(), far), NAMES)
    with pytest.raises(MaskMismatchError, match="labels that overlap the CT's grid"):
        resample_labels(labels, volume)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"1": "left_lung", "2": "liver", "3": "heart", "0": "background"}'),
        ("a.json", '{"left_lung": 1, "liver": 2, "heart": 3}'),
        ("dataset.json", '{"labels": {"background": 0, "left_lung": 1, "liver": 2, "heart": 3}}'),
        ("a.json", '["left_lung", "liver", "heart"]'),
        ("a.json", '["background", "left_lung", "liver", "heart"]'),
        ("a.csv", "group,original_idx,structure,id\no,9,left_lung,1\no,8,liver,2\no,8,heart,3\n"),
        ("a.tsv", "index\tname\n1\tleft_lung\n2\tliver\n3\theart\n"),
        ("a.csv", "label,name\n1,left_lung\n2,liver\n3,heart\n"),
        ("a.csv", "\ufeffid,label\n1,left_lung\n2,liver\n3,heart\n"),
        ("a.csv", "1,left_lung\n2,liver\n3,heart\n"),
        ("a.csv", "left_lung,1\nliver,2\nheart,3\n"),
        (
            "a.label",
            '# ITK-SnAP\n0 0 0 0 0 0 0 "Clear Label"\n1 255 0 0 1 1 1 "left_lung"\n'
            '2 0 255 0 0.5 1 1 "liver"\n3 0 0 255 1 1 1 "heart"\n',
        ),
        (
            "a.ctbl",
            "# Colors\n0 background 0 0 0 0\n1 left_lung 9 9 9 255\n2 liver 9 9 9 255\n3 heart 1 2 3 4\n",
        ),
    ],
)
def test_tables_of_names_in_all_common_forms(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_label_names(tmp_path / name) == NAMES


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", '{"labels": {"whole": [1, 2]}}', "nnU-Net's regions"),
        ("a.json", '{"1": "../liver"}', "is no name for a structure"),
        ("a.json", '{"liver": 1, "lung": 1}', "value 1 is negative or has two names"),
        ("a.json", '{"0": "background"}', "no value with a name"),
        ("a.json", "{", "Expecting"),
        ("a.json", "7", "a int"),
        ("a.csv", "one,two\nliver,heart\n", "columns one, two"),
        ("a.csv", "", "no two columns"),
    ],
)
def test_tables_that_cannot_be_understood_say_why(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=words):
        read_label_names(tmp_path / name)
    with pytest.raises(UsageError, match="No such file"):
        read_label_names(tmp_path / "absent.json")


def test_a_table_is_found_beside_its_map_or_above(tmp_path):
    (tmp_path / "p").mkdir()
    path = tmp_path / "p" / "labels.nii.gz"
    assert find_label_table(path) is None
    (tmp_path / "labels.json").write_text(json.dumps({1: "above"}))
    assert find_label_table(path) == tmp_path / "labels.json"
    (tmp_path / "p" / "labels.csv").write_text("1,beside")
    assert find_label_table(path) == tmp_path / "p" / "labels.csv"


def test_real_label_maps_and_masks_are_read(shared_data):
    folder = shared_data / "ct_abdomen_pelvis"
    labels = read_label_map(folder / "example_seg.nii.gz")
    assert len(labels.structures) == 117
    assert np.count_nonzero(labels.voxel_counts()) == 41
    check_same_grid(labels, read_ct(folder / "example_ct_sm.nii.gz"), folder)
    spine = read_label_map(folder / "spine_report" / "example_ct_report" / "totalseg.nii.gz")
    counts = dict(zip(spine.structures, spine.voxel_counts().tolist(), strict=True))
    assert sorted(name for name, count in counts.items() if count) == sorted(
        ["vertebrae_S1", *(f"vertebrae_L{n}" for n in range(1, 6)), "vertebrae_T11", "vertebrae_T12"]
    )
    models = folder / "pulmonary_report" / "models"
    volume = read_ct(models / "ct_cropped.nii.gz")
    heart = read_structure_files({"heart": models / "heart.nii.gz"})
    with pytest.raises(MaskMismatchError, match="233 x 167 x 191"):
        check_same_grid(heart, volume, models)
    resampled = resample_labels(heart, volume)
    # blood with contrast medium, and muscle
    assert 300 < np.median(volume.hounsfield[resampled.mask("heart")]) < 600
    assert np.median(volume.hounsfield[~resampled.mask("heart")]) < 300
