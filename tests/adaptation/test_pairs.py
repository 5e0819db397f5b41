"""Pairs found by name, on one side of the split; a whole job of pix2pix."""

import shutil
from pathlib import Path

import pytest

from medi2i import adapt
from medi2i.adaptation.pairs import order_pairs, pair_splits
from medi2i.data.manifest import ManifestRow, read_manifest
from medi2i.errors import MaskMismatchError, UsageError
from medi2i.image import IntensityMap
from tests.adaptation.jobs import check_error, tiny
from tests.tiny_data import SOURCE_SHAPE, make_scene, save_png, write_patients, write_source

PIX2PIX = {
    "name": "pix2pix",
    "generator": {"width": 2, "levels": 3},
    "discriminator": {"width": 2, "layers": 1},
}


def row(domain: str, output: str, split: str = "", rows: int = 8) -> ManifestRow:
    mapping = IntensityMap.from_dict({"low": 0.0, "high": 1.0})
    return ManifestRow(
        f"{domain}-{output}", domain, output, output, output, rows, 9, mapping, 1.0, split=split
    )


def test_a_target_image_has_the_split_and_the_place_of_its_source_image():
    source = [row("source", "a/1.png", "train"), row("source", "b.dcm", "test")]
    target = [row("target", "b.png", "train"), row("target", "a/1.tif")]
    assert [r.split for r in pair_splits(source, target)] == ["test", "train"]
    assert [r.output for r in order_pairs(source, target)] == ["a/1.tif", "b.png"]


def test_images_that_are_no_pairs_are_refused():
    source = [row("source", "a.png"), row("source", "b.png")]
    with pytest.raises(UsageError, match=r"b\.png: 1 source image\(s\) without a target image"):
        pair_splits(source, [row("target", "a.png")])
    with pytest.raises(UsageError, match=r"c\.png: 1 target image\(s\) without a source image"):
        pair_splits(source, [row("target", f"{name}.png") for name in "abc"])
    with pytest.raises(UsageError, match=r"a\.tif: a second target image of this name"):
        pair_splits(source[:1], [row("target", "a.png"), row("target", "a.tif")])
    with pytest.raises(MaskMismatchError, match="7 x 9 pixels; expected its source image's 8 x 9"):
        pair_splits(source[:1], [row("target", "a.png", rows=7)])


@pytest.fixture
def paired(tmp_path: Path) -> Path:
    write_source(tmp_path / "src", images=8, patients=4)
    for number in range(8):
        scene = make_scene(number, SOURCE_SHAPE, film=True)
        save_png(tmp_path / "tgt" / f"drr_{number:02d}.png", scene, bits=8)
    write_patients(tmp_path / "tgt", [(f"drr_{n:02d}.png", f"source-{n % 4}") for n in range(8)])
    return tmp_path


def test_pix2pix_runs_the_whole_job_on_pairs(paired: Path, domains_folder: Path, tmp_path: Path):
    shutil.copy(domains_folder / "tiny.yaml", paired / "tiny.yaml")
    adapt(tiny(paired, adapter=PIX2PIX), out=tmp_path / "run", device="cpu")
    rows = read_manifest(tmp_path / "run" / "manifest.jsonl")
    splits = [{Path(r.output).stem: r.split for r in rows if r.domain == d} for d in ("source", "target")]
    assert splits[0] == splits[1]
    assert set(splits[0].values()) == {"train", "validation", "test"}
    assert len(list((tmp_path / "run" / "translated" / "images").iterdir())) == 8


def test_unpaired_folders_are_refused_before_anything_is_written(domains_folder: Path, tmp_path: Path):
    config = tiny(domains_folder, adapter=PIX2PIX)
    check_error(UsageError, config, tmp_path / "run", "without a target image of the same name")
