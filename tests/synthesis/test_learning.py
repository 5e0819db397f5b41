"""A segmenter learns the same from a set in any form that keeps overlap, whoever's reader brought it back."""

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK

from medi2i.io.masks import write_mask_folder
from medi2i.segmentation import train_segmenter
from tests.segmentation.squares import NAMES, SIDE, tiny_config, write_squares
from tests.synthesis.sets import make_set

# same pixels, same masks and same seed: the same arithmetic, so nothing is left to tolerate but its printing
TOLERANCE = 1e-4


def from_nnunet(made: Path, folder: Path) -> None:
    """Images and one mask a data set, read by SimpleITK as nnU-Net does."""
    first = made / f"Dataset501_medi2i_{NAMES[0]}"
    for image in first.glob("images*/*.nii.gz"):
        name = image.name.removesuffix("_0000.nii.gz")
        (folder / "images").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, folder / "images" / f"{name}.nii.gz")
        planes = []
        for number, structure in enumerate(NAMES):
            data_set = f"Dataset{501 + number}_medi2i_{structure}"
            label = next((made / data_set).glob(f"labels*/{name}.nii.gz"))
            planes.append(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(label))) == 1)
        write_mask_folder(folder / "masks" / name, np.stack(planes), NAMES)


def from_decathlon(made: Path, folder: Path) -> None:
    """Files as the datalist names them."""
    listed = json.loads((made / "datalist.json").read_text())
    for item in (item for key in ("training", "validation", "test") for item in listed[key]):
        for kind, place in (("image", "images"), ("label", "masks")):
            (folder / place).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made / item[kind], folder / place / Path(item[kind]).name)


def from_coco(made: Path, folder: Path) -> None:
    """Masks from run-length codes, by a short transcription of pycocotools' decoder."""
    shutil.copytree(made / "images", folder / "images")
    for split in ("train", "validation", "test"):
        coco = json.loads((made / "annotations" / f"{split}.json").read_text())
        planes = {image["id"]: np.zeros((len(NAMES), SIDE, SIDE), dtype=bool) for image in coco["images"]}
        for one in coco["annotations"]:
            code = one["segmentation"]
            planes[one["image_id"]][one["category_id"] - 1] = decode(code["counts"], code["size"])
        for image in coco["images"]:
            write_mask_folder(folder / "masks" / Path(image["file_name"]).stem, planes[image["id"]], NAMES)


def from_dicom(made: Path, folder: Path) -> None:
    """Masks from segmentation objects, by highdicom."""
    highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed (extra 'dicom')")
    shutil.copytree(made / "images", folder / "images")
    for path in (made / "images").iterdir():
        instance = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
        read = highdicom.seg.segread(str(made / "segmentations" / path.name))
        planes = np.moveaxis(read.get_pixels_by_source_instance([instance])[0], -1, 0) == 1
        write_mask_folder(folder / "masks" / path.stem, planes, NAMES)


def decode(counts: str, size: list[int]) -> np.ndarray:
    """rleFrString and rleDecode of maskApi.c."""
    lengths: list[int] = []
    place = 0
    while place < len(counts):
        value, shift, more = 0, 0, True
        while more:
            letter = ord(counts[place]) - 48
            value |= (letter & 0x1F) << shift
            more = bool(letter & 0x20)
            place, shift = place + 1, shift + 5
            if not more and letter & 0x10:
                value |= -1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(size, order="F")


@pytest.fixture(scope="module")
def squares(tmp_path_factory) -> Path:
    return write_squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="module")
def own(evaluated_run, squares, tmp_path_factory) -> tuple[Path, dict]:
    """Our own form, and what a segmenter reaches on it."""
    out = tmp_path_factory.mktemp("own") / "set"
    make_set(evaluated_run, squares, out, split=(0.5, 0.25, 0.25))
    return out, reached(out, out.parent / "model")


def reached(folder: Path, model: Path) -> dict:
    """What a segmenter reaches on held-out images."""
    training = tiny_config().training.model_copy(update={"steps": 30, "validate_every": 15})
    config = tiny_config(training=training.model_dump())
    train_segmenter(config, [folder], out=model, device="cpu", seed=3)
    return json.loads((model / "model.json").read_text())


@pytest.mark.parametrize(
    ("settings", "bring_back"),
    [
        ({"format": "nnunet", "overlap": "binary"}, from_nnunet),
        ({"format": "decathlon"}, from_decathlon),
        ({"format": "coco"}, from_coco),
        ({"format": "dicom"}, from_dicom),
    ],
    ids=["nnunet", "decathlon", "coco", "dicom"],
)
def test_a_segmenter_reaches_the_same_dice(settings, bring_back, evaluated_run, squares, own, tmp_path):
    ours, expected = own
    make_set(evaluated_run, squares, tmp_path / "made", split=(0.5, 0.25, 0.25), **settings)
    folder = tmp_path / "folder"
    bring_back(tmp_path / "made", folder)
    suffix = {"coco": ".png", "dicom": ".dcm"}.get(settings["format"], ".nii.gz")
    table = (ours / "patients.csv").read_text().replace(".png", suffix)
    (folder / "patients.csv").write_text(table)
    (folder / "dataset.json").write_text(json.dumps({"structures": NAMES}))
    found = reached(folder, tmp_path / "model")
    assert found["images"] == expected["images"]
    for side in ("validation", "test"):
        dice = found["held_out"][side]["dice"]
        assert dice == pytest.approx(expected["held_out"][side]["dice"], abs=TOLERANCE)
    assert max(dice.values()) > 0.5  # something was learned
