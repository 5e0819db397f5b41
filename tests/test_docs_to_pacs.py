"""The commands of docs/to-pacs.md, run as they stand on made DICOM films."""

import importlib.util
import json
import re
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
from dicom_tools import need
from pydicom import dcmread
from tiny_data import STRUCTURES, make_masks, make_scene, save_dicom

from medi2i.io import read_radiograph
from medi2i.io.masks import write_mask_folder

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "to-pacs.md").read_text("utf-8")
SHAPE = (32, 40)
needs_highdicom = pytest.mark.skipif(
    importlib.util.find_spec("highdicom") is None, reason="highdicom is not installed (extra 'dicom')"
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[list[str]]:
    lines = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    return [words for words in lines if words[0] == program]


@pytest.fixture
def desk(identity_run, tmp_path, monkeypatch) -> Path:
    """A working directory with `runs/chest` and `films`."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "chest").symlink_to(identity_run)
    for number in (1, 2):
        codes = np.rint(make_scene(number, SHAPE) * 4095)
        film = tmp_path / "films" / "images" / f"{number:04d}.dcm"
        save_dicom(film, codes, BodyPartExamined="CHEST", BurnedInAnnotation="NO")
        write_mask_folder(tmp_path / "films" / "masks" / film.stem, make_masks(SHAPE), STRUCTURES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@needs_highdicom
def test_the_commands_write_what_the_page_says(desk, run_cli):
    first, second = commands("medi2i")
    ended = run_cli(*first[1:], "--device", "cpu")
    assert ended.code == 0, ended.err
    assert sorted(path.name for path in Path("pacs/segmentations").iterdir()) == ["0001.dcm", "0002.dcm"]
    for name in ("0001.dcm", "0002.dcm"):
        before = read_radiograph(Path("films/images") / name)
        assert np.array_equal(read_radiograph(Path("pacs/images") / name).pixels, before.pixels)
        assert dcmread(f"pacs/images/{name}").file_meta.TransferSyntaxUID.name == "RLE Lossless"
    values: dict = {}
    exec(blocks("python")[0], values)  # noqa: S102 (the page's own example)
    assert tuple(values["structures"]) == STRUCTURES
    assert np.array_equal(values["masks"].transpose(2, 0, 1), make_masks(SHAPE))

    ended = run_cli(*second[1:], "--device", "cpu")
    assert ended.code == 0, ended.err
    assert sorted(path.name for path in Path("shared/images").iterdir()) == [
        "img-000001.dcm",
        "img-000002.dcm",
    ]
    assert stat.S_IMODE(Path("films.key.json").stat().st_mode) == 0o600
    assert json.loads(Path("films.key.json").read_text())["names"]["images/0001.dcm"] == "img-000001"


@needs_highdicom
def test_the_tools_of_the_page_take_the_files(desk, run_cli):
    for program, package in (("dcmdump", "dcmtk"), ("dcmj2pnm", "dcmtk"), ("dciodvfy", "dicom3tools")):
        need(program, package)
    assert run_cli(*commands("medi2i")[0][1:], "--device", "cpu").code == 0
    run = [*commands("dcmdump"), *commands("dcmj2pnm"), *commands("dciodvfy")]
    assert len(run) == 4
    for words in run:
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, (words, ended.stderr)
    assert Path("0001.png").is_file()


def test_calling_again_does_nothing_and_a_lost_segmentation_comes_back(desk, run_cli):
    pytest.importorskip("highdicom", reason="highdicom is not installed (extra 'dicom')")
    call = (*commands("medi2i")[0][1:], "--device", "cpu")
    assert run_cli(*call).code == 0
    kept = {path: path.read_bytes() for path in Path("pacs").rglob("*.dcm")}
    assert run_cli(*call).code == 0
    assert {path: path.read_bytes() for path in Path("pacs").rglob("*.dcm")} == kept
    Path("pacs/segmentations/0001.dcm").unlink()
    assert run_cli(*call).code == 0
    image, segmentation = (dcmread(f"pacs/{kind}/0001.dcm") for kind in ("images", "segmentations"))
    referred = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    assert referred.ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert Path("pacs/images/0002.dcm").read_bytes() == kept[Path("pacs/images/0002.dcm")]
    ended = run_cli(*call, "--compress", "none")
    assert ended.code == 2
    assert "another translation" in ended.error


def test_segmentations_need_masks_and_highdicom(desk, run_cli, monkeypatch):
    call = (*commands("medi2i")[0][1:], "--device", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr("medi2i.io.dicom_segmentation.importlib.util.find_spec", lambda name: None)
        ended = run_cli(*call)
    assert ended.code == 1
    assert "pip install 'medi2i[dicom]'" in ended.error
    shutil.rmtree("films/masks")
    ended = run_cli(*call)
    assert ended.code == 2
    assert "no DICOM image with masks" in ended.error
    assert not Path("pacs").exists()


def test_compression_needs_dicom(desk, run_cli, identity_run, domains_folder):
    call = ("translate", identity_run, domains_folder / "src", "--out", "plain", "--device", "cpu")
    ended = run_cli(*call, "--compress", "rle")
    assert ended.code == 2
    assert "no DICOM image" in ended.error
    assert not Path("plain").exists()


def test_the_page_names_every_new_option_and_the_tools_that_do_de_identify():
    for word in ("--compress", "--dicom-seg", "--strip-identity", "--key", "dicognito", "deid"):
        assert word in PAGE
    assert "This is no de-identification" in PAGE
