"""Each format as the tool it is for reads it."""

import csv
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from tiny_data import SOURCE_SHAPE, STRUCTURES, load_png, make_masks

from medi2i.data.dataset_folder import discover
from medi2i.errors import ConfigError, UsageError
from medi2i.synthesis import SynthesizeConfig
from medi2i.synthesis.formats import WRITERS, make_writer
from medi2i.synthesis.formats.base import list_lines, object_lines
from medi2i.synthesis.formats.labels import hidden_pixels, label_map, priority_order
from medi2i.synthesis.formats.run_length import bounding_box, compress, run_lengths
from medi2i.synthesis.image import SyntheticImage
from medi2i.synthesis.settings import FormatName
from tests.dicom_tools import validation_errors
from tests.synthesis.sets import make_set, manifest

MASKS = make_masks(SOURCE_SHAPE)
HEART, LUNG = MASKS


@pytest.fixture(scope="module")
def source(domains_folder):
    return domains_folder / "src"


@pytest.fixture(scope="module")
def sets(styled_run, source, tmp_path_factory):
    """A set in each form, of the same draws."""
    folder = tmp_path_factory.mktemp("sets")
    forms = {
        "png": {"format": "png"},
        "binary": {"format": "nnunet", "overlap": "binary"},
        "priority": {"format": "nnunet", "overlap": "priority", "priority": ("lung",)},
        "planes": {"format": "decathlon"},
        "map": {"format": "decathlon", "overlap": "priority"},
        "coco": {"format": "coco"},
    }
    if importlib.util.find_spec("highdicom"):
        forms["dicom"] = {"format": "dicom"}
    for name, settings in forms.items():
        make_set(styled_run, source, folder / name, split=(0.5, 0.25, 0.25), **settings)
    return folder


def pixels(sets):
    """Codes of each image by its name, as the PNG set has them."""
    return {path.stem: load_png(path) for path in (sets / "png" / "images").iterdir()}


def read(path):
    image = SimpleITK.ReadImage(str(path))
    return image, SimpleITK.GetArrayFromImage(image)


# DICOM


@pytest.fixture
def objects(sets):
    """Image and segmentation of each draw, as pydicom and highdicom read them."""
    highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed (extra 'dicom')")
    pairs = {}
    for path in sorted((sets / "dicom" / "images").iterdir()):
        masks = highdicom.seg.segread(str(sets / "dicom" / "segmentations" / path.name))
        pairs[path.stem] = (pydicom.dcmread(path), masks)
    return pairs


def test_dicom_objects_have_the_codes_of_the_png_and_its_masks(sets, objects):
    assert set(objects) == set(pixels(sets))
    for name, (image, segmentation) in objects.items():
        assert (image.pixel_array == pixels(sets)[name]).all()
        numbers = range(1, segmentation.number_of_segments + 1)
        labels = [segmentation.get_segment_description(number).segment_label for number in numbers]
        assert labels == list(STRUCTURES)
        masks = segmentation.get_pixels_by_source_instance([image.SOPInstanceUID])[0]
        assert (np.moveaxis(masks, -1, 0) == MASKS).all()


def test_dicom_objects_are_of_patients_who_do_not_exist(sets, objects):
    listed = {row["id"]: row for row in manifest(sets / "dicom")}
    for name, (image, segmentation) in objects.items():
        assert (image.SyntheticData, image.ImageType[:2]) == ("YES", ["DERIVED", "SECONDARY"])
        assert str(image.PatientName).startswith("Synthetic^")
        assert image.PatientID.endswith(f"-{listed[name]['patient']}")
        assert listed[name]["run"]["weights_sha256"] in image.DerivationDescription
        assert segmentation.StudyInstanceUID == image.StudyInstanceUID
    images = [image for image, _ in objects.values()]
    assert len({image.SOPInstanceUID for image in images}) == len(images)
    # a study a patient of this set
    patients = {image.PatientID for image in images}
    assert len({image.StudyInstanceUID for image in images}) == len(patients) > 1
    table = (sets / "dicom" / "patients.csv").read_text().splitlines()
    assert table[0] == "file,patient,split"
    assert len(table) == len(images) + 1


def test_a_validator_finds_no_error_in_dicom_objects(sets, objects):
    name = min(objects)
    for folder in ("images", "segmentations"):
        assert validation_errors(sets / "dicom" / folder / f"{name}.dcm") == []


def test_another_set_of_the_same_sources_is_another_study(sets, objects, styled_run, source, tmp_path):
    make_set(styled_run, source, tmp_path / "set", split=(0.5, 0.25, 0.25), format="dicom", seed=5, count=4)
    ours = {image.PatientID: image.StudyInstanceUID for image, _ in objects.values()}
    for path in (tmp_path / "set" / "images").iterdir():
        other = pydicom.dcmread(path)
        assert other.PatientID in ours
        assert other.StudyInstanceUID not in ours.values()


def test_the_registry_and_the_settings_name_the_same_formats():
    assert tuple(WRITERS) == FormatName.__args__


# nnU-Net


def test_nnunet_images_are_2d_with_spacing_and_the_codes_of_the_png(sets):
    expected = pixels(sets)
    for folder in ("Dataset501_medi2i_heart", "Dataset502_medi2i_lung"):
        files = sorted((sets / "binary" / folder).glob("images*/*.nii.gz"))
        assert len(files) == 12
        for file in files:
            image, codes = read(file)
            assert (image.GetDimension(), image.GetSpacing()) == (2, (3.0, 2.0))  # column, row
            assert image.GetDirection() == (1.0, 0.0, 0.0, 1.0)
            assert (codes == expected[file.name.removesuffix("_0000.nii.gz")]).all()


def test_nnunet_binary_data_sets_keep_overlap(sets):
    for number, (name, mask) in enumerate(zip(STRUCTURES, MASKS, strict=True)):
        folder = sets / "binary" / f"Dataset{501 + number}_medi2i_{name}"
        described = json.loads((folder / "dataset.json").read_text())
        assert described["labels"] == {"background": 0, name: 1}
        assert described["numTraining"] == len(list((folder / "labelsTr").iterdir()))
        for file in folder.glob("labels*/*.nii.gz"):
            image, labels = read(file)
            assert (labels == mask).all()
            assert image.GetSpacing() == (3.0, 2.0)


def test_nnunet_label_map_gives_overlap_to_the_first_and_reports_what_is_hidden(sets):
    folder = sets / "priority" / "Dataset501_medi2i"
    for file in folder.glob("labels*/*.nii.gz"):
        labels = read(file)[1]
        assert (labels == np.where(LUNG, 2, np.where(HEART, 1, 0))).all()
    assert {str(row["hidden_px"]) for row in manifest(sets / "priority")} == {"{'heart': 48}"}
    card = (sets / "priority" / "DATASET_CARD.md").read_text()
    # 48 of a heart's 192 pixels
    assert "| heart | 12 | 25.0% | 25.0% |" in card
    assert "| lung | 12 | 19.0% | 0.0% |" in card
    assert "Who wins, in this order: lung, heart." in card


def test_nnunet_sides_are_by_patient(sets):
    folder = sets / "binary" / "Dataset501_medi2i_heart"
    rows = {row["id"]: row for row in manifest(sets / "binary")}
    fold = json.loads((folder / "splits_final.json").read_text())
    assert len(fold) == 1
    sides = {"train": fold[0]["train"], "validation": fold[0]["val"]}
    sides["test"] = [path.name.removesuffix(".nii.gz") for path in (folder / "labelsTs").iterdir()]
    patients = {side: {rows[name]["patient"] for name in names} for side, names in sides.items()}
    assert {name: rows[name]["split"] for side in sides.values() for name in side} == {
        name: row["split"] for name, row in rows.items()
    }
    assert {side: len(found) for side, found in patients.items()} == {"train": 3, "validation": 2, "test": 1}
    assert not set.intersection(*patients.values())
    training = {path.name.removesuffix(".nii.gz") for path in (folder / "labelsTr").iterdir()}
    assert training == set(sides["train"]) | set(sides["validation"])


def test_nnunet_gets_no_fold_that_it_can_not_train(styled_run, domains_folder, tmp_path):
    out = tmp_path / "set"
    make_set(
        styled_run, domains_folder / "src", out, format="nnunet", overlap="priority", count=4, split=(1, 0, 0)
    )
    assert (out / "Dataset501_medi2i" / "dataset.json").is_file()
    assert not list(out.rglob("splits_final.json"))


def test_copies_of_an_image_in_binary_data_sets_take_no_room(sets):
    first, second = (
        next((sets / "binary" / folder / "imagesTs").iterdir())
        for folder in ("Dataset501_medi2i_heart", "Dataset502_medi2i_lung")
    )
    assert first.read_bytes() == (second.parent / first.name).read_bytes()
    assert first.stat().st_nlink == 2


def test_nnunets_own_check_accepts_the_set(sets, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(sets / "binary"))
    check = pytest.importorskip(
        "nnunetv2.experiment_planning.verify_dataset_integrity",
        reason="nnunetv2 is not installed: it reaches torchvision, so it is no dependency of the tests",
        exc_type=ImportError,
    ).verify_dataset_integrity
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    folders = [*(sets / "binary").glob("Dataset*"), *(sets / "priority").glob("Dataset*")]
    assert len(folders) == 3
    for folder in folders:
        check(str(folder), num_processes=1)
        image = next((folder / "imagesTr").iterdir())
        codes, properties = SimpleITKIO().read_images([str(image)])
        assert codes.shape == (1, 1, *SOURCE_SHAPE)
        assert tuple(properties["spacing"][1:]) == (2.0, 3.0)


def test_nnunets_own_check_would_refuse_a_label_that_is_not_named(sets, tmp_path, capsys):
    module = pytest.importorskip(
        "nnunetv2.experiment_planning.verify_dataset_integrity",
        reason="nnunetv2 is not installed: it reaches torchvision, so it is no dependency of the tests",
        exc_type=ImportError,
    )
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    label = next((sets / "priority").glob("Dataset*/labelsTr/*"))
    assert module.verify_labels(str(label), SimpleITKIO, [0, 1, 2])
    assert not module.verify_labels(str(label), SimpleITKIO, [0, 1])


# Decathlon and MONAI


def test_monai_reads_the_datalist_with_overlap(sets):
    from monai.data import CacheDataset, load_decathlon_datalist
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

    expected = pixels(sets)
    pipeline = Compose(
        [
            LoadImaged(["image", "label"], reader="NibabelReader"),
            EnsureChannelFirstd("image", channel_dim="no_channel"),
            EnsureChannelFirstd("label", channel_dim=-1),
        ]
    )
    counts = {}
    for key in ("training", "validation", "test"):
        items = load_decathlon_datalist(str(sets / "planes" / "datalist.json"), data_list_key=key)
        counts[key] = len(items)
        for item, sample in zip(items, CacheDataset(items, pipeline, progress=False), strict=True):
            name = item["image"].rsplit("/", 1)[-1].removesuffix(".nii.gz")
            # MONAI's axes are (column, row)
            assert (expected[name] == np.asarray(sample["image"])[0].T).all()
            assert (np.asarray(sample["label"]).transpose(0, 2, 1) == MASKS).all()
            assert sample["image"].pixdim.tolist()[:2] == [3.0, 2.0]
            assert item["patient"].startswith("p")
    assert sum(counts.values()) == 12
    assert min(counts.values()) >= 2


def test_monai_reads_the_datalist_with_one_label_map(sets):
    from monai.data import load_decathlon_datalist
    from monai.transforms import LoadImage

    described = json.loads((sets / "map" / "datalist.json").read_text())
    assert described["labels"] == {"0": "background", "1": "heart", "2": "lung"}
    assert described["numTraining"] + described["numTest"] == 12
    items = load_decathlon_datalist(str(sets / "map" / "datalist.json"))
    labels = np.asarray(LoadImage(reader="NibabelReader")(items[0]["label"])).T
    assert (labels == np.where(HEART, 1, np.where(LUNG, 2, 0))).all()


def test_a_list_of_nothing_is_left_out_since_monai_fails_on_it(styled_run, source, tmp_path):
    make_set(styled_run, source, tmp_path / "set", format="decathlon", split=(1, 0, 0))
    described = json.loads((tmp_path / "set" / "datalist.json").read_text())
    assert len(described["training"]) == described["numTraining"] == 12
    assert "test" not in described
    assert "validation" not in described


# COCO


def test_coco_annotations_say_what_the_masks_are(sets):
    found = {}
    for split in ("train", "validation", "test"):
        coco = json.loads((sets / "coco" / "annotations" / f"{split}.json").read_text())
        assert [category["name"] for category in coco["categories"]] == list(STRUCTURES)
        found |= {image["file_name"]: image for image in coco["images"]}
        assert len(coco["annotations"]) == 2 * len(coco["images"])
        for one in coco["annotations"]:
            # heart: rows 4 to 15, columns 4 to 19; lung: rows 10 to 23, columns 12 to 29
            box, area = {1: ([4, 4, 16, 12], 192), 2: ([12, 10, 18, 14], 252)}[one["category_id"]]
            assert (one["bbox"], one["area"]) == (box, area)
    assert len(found) == 12
    for name, image in found.items():
        assert (image["height"], image["width"], image["spacing_mm"]) == (*SOURCE_SHAPE, [2.0, 3.0])
        assert (load_png(sets / "coco" / name) == pixels(sets)[name[7:-4]]).all()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_the_file_and_its_masks_equal_ours(sets, capsys):
    coco_module = pytest.importorskip(
        "pycocotools.coco", reason="pycocotools is not installed: it is a reader, and no dependency"
    )
    for split in ("train", "validation", "test"):
        coco = coco_module.COCO(str(sets / "coco" / "annotations" / f"{split}.json"))
        assert coco.getImgIds()
        for number in coco.getImgIds():
            for one in coco.loadAnns(coco.getAnnIds(imgIds=number)):
                assert (coco.annToMask(one) == MASKS[one["category_id"] - 1]).all()


def test_run_lengths_of_small_masks_by_hand():
    mask = np.array([[0, 1], [1, 1]], dtype=bool)  # down the columns: 0 1 1 1
    assert run_lengths(mask) == [1, 3]
    assert compress([1, 3]) == "13"
    assert run_lengths(~mask) == [0, 1, 3]
    # 31 needs two groups, because the highest bit of the last is a sign: 11111 and more, then 0
    assert compress([31]) == "o0"
    # the fourth is less the second: 2 - 5 = -3, in five bits 11101
    assert compress([1, 5, 1, 2]) == "151M"
    assert run_lengths(np.zeros((2, 3), dtype=bool)) == [6]
    assert bounding_box(mask) == [0, 0, 2, 2]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_run_length_codes_are_those_of_pycocotools():
    codes = pytest.importorskip(
        "pycocotools.mask", reason="pycocotools is not installed: it is a reader, and no dependency"
    )
    rng = np.random.default_rng(0)
    shapes = [(1, 1), (3, 5), (64, 48), (700, 900)]
    for shape in shapes:
        for share in (0.0, 0.001, 0.1, 0.5, 0.9, 1.0):
            mask = rng.random(shape) < share
            theirs = codes.encode(np.asfortranarray(mask.astype(np.uint8)))
            assert compress(run_lengths(mask)).encode() == theirs["counts"]
            if mask.any():
                assert bounding_box(mask) == codes.toBbox(theirs).tolist()


# what formats share


def test_a_label_map_gives_each_pixel_to_the_first_that_has_it():
    masks = np.array([[[1, 1, 0, 0]], [[0, 1, 1, 0]], [[0, 1, 1, 0]]], dtype=bool)
    labels = label_map(masks, (2, 0, 1))
    assert labels.tolist() == [[1, 3, 3, 0]]
    assert hidden_pixels(masks, labels, ("a", "b", "c")) == {"a": 1, "b": 2}
    many = np.zeros((300, 1, 300), dtype=bool)
    many[np.arange(300), 0, np.arange(300)] = True
    assert label_map(many, range(300)).tolist() == [list(range(1, 301))]


def test_priority_names_some_and_the_others_follow():
    assert priority_order(("a", "b", "c"), ("c",)) == (2, 0, 1)
    with pytest.raises(UsageError, match="'d', which is no structure"):
        priority_order(("a", "b", "c"), ("d",))


def test_json_that_is_written_piece_by_piece_is_json():
    assert json.loads("".join(list_lines(iter([])))) == []
    written = "".join(object_lines([("a", {"b": 1}), ("c", iter([1, {"d": "ö"}])), ("e", iter([]))]))
    assert json.loads(written) == {"a": {"b": 1}, "c": [1, {"d": "ö"}], "e": []}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "nnunet"}, "no --overlap"),
        ({"format": "coco", "overlap": "priority"}, "--overlap priority: found|--format coco"),
        ({"format": "png", "priority": ("heart",)}, "overlap kept"),
        ({"format": "nnunet", "overlap": "priority", "priority": ("liver",)}, "'liver'"),
        (
            {"format": "nnunet", "overlap": "binary", "nnunet": {"dataset_id": 999}},
            "2 data sets up to number 1000",
        ),
    ],
)
def test_what_a_format_cannot_write_is_told_before_any_work(settings, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        make_writer(SynthesizeConfig.model_validate(settings), tmp_path / "set", STRUCTURES, None)


def test_names_that_a_format_cannot_hold_are_refused(tmp_path):
    nnunet = SynthesizeConfig(format="nnunet", overlap="priority")
    with pytest.raises(UsageError, match="'ignore'"):
        make_writer(nnunet, tmp_path, ("heart", "ignore"), None)
    with pytest.raises(UsageError, match=r"'\.\./heart'"):
        make_writer(SynthesizeConfig(), tmp_path, ("../heart",), None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": (0.8, 0.1, 0.2)}, "shares of 1"),
        ({"split": (0, 0.5, 0.5)}, "some of it for training"),
        ({"priority": ("a", "a")}, "named twice"),
        ({"gate": False, "keep_rejected": True}, "without a gate"),
        ({"format": "tiff"}, "format"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    from medi2i.config import validate_config

    with pytest.raises(ConfigError, match=message):
        validate_config(settings, SynthesizeConfig, "a test")


def test_unknown_spacing_is_1_mm_in_nifti_and_nothing_elsewhere(tmp_path):
    image = SyntheticImage(
        number=0,
        name="one",
        codes=np.zeros(SOURCE_SHAPE, np.uint16),
        masks=MASKS,
        valid=np.ones(SOURCE_SHAPE, bool),
        spacing_mm=None,
        split="train",
        patient="p1",
        view=None,
        method="histogram",
        weights_sha256="0" * 64,
    )
    for name, overlap in (("png", None), ("nnunet", "priority")):
        config = SynthesizeConfig(format=name, overlap=overlap)
        writer = make_writer(config, tmp_path / name, STRUCTURES, "film")
        entry = writer.write(image).entry
        writer.finish(lambda entry=entry: iter([entry]))
    assert not (tmp_path / "png" / "views.json").exists()
    assert json.loads((tmp_path / "png" / "dataset.json").read_text())["convention"] == "film"
    file = next((tmp_path / "nnunet").glob("*/imagesTr/*"))
    assert read(file)[0].GetSpacing() == (1.0, 1.0)


def test_views_with_commas_and_quotes_are_read_again(styled_run, domains_folder, tmp_path):
    source = shutil.copytree(domains_folder / "src", tmp_path / "src")
    names = sorted(path.name for path in (source / "images").iterdir())
    views = {name: 'AP, "supine"' if number % 2 else "PA" for number, name in enumerate(names)}
    with (source / "attributes.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "view"), *views.items()])
    make_set(styled_run, source, tmp_path / "set")
    rows = {row["files"][0]: row for row in manifest(tmp_path / "set")}
    found = {f"images/{item.relative}": item.attributes["view"] for item in discover(tmp_path / "set").items}
    assert set(found.values()) == {"PA", 'AP, "supine"'}
    for name, view in found.items():
        assert view == views[Path(rows[name]["source"]["file"]).name]
