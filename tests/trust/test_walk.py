"""A folder as a stranger might hand it over: everything odd in it is named in one line, the rest is right."""

import gzip
import json
import os
import pickle
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tiny_data import make_scene, save_dicom, save_png, write_tiny_config

from medi2i.data.manifest import read_manifest
from medi2i.io import read_radiograph
from tests.trust.mutants import png_bomb

GOOD, SHAPE = 50, (36, 36)


class Command:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.mark}",)


@pytest.fixture
def strangers(tmp_path) -> Path:
    """50 good films, 10 damaged, a bomb, hostile weights, a CT, a lateral, loops of links, a locked file."""
    folder = tmp_path / "films"
    films = [np.rint(make_scene(n, SHAPE, film=True) * 4095).astype(np.uint16) for n in range(GOOD + 1)]
    for number, codes in enumerate(films[:GOOD]):
        if number % 2:
            save_dicom(folder / f"good_{number:02d}.dcm", codes, inverted=number % 4 == 1)
        else:
            save_png(folder / f"good_{number:02d}.png", codes / 65535)
    whole = {kind: (folder / f"good_0{n}.{kind}").read_bytes() for n, kind in enumerate(("png", "dcm"))}
    for number in range(10):
        kind = ("png", "dcm")[number % 2]
        held = bytearray(whole[kind])
        if number < 4:
            del held[len(held) * (number + 2) // 8 :]
        elif number < 8:
            held[:64] = bytes(64)
            held[128:140] = b"\xff" * 12
        else:
            held.clear()
        (folder / f"damaged_{number}.{kind}").write_bytes(held)
    (folder / "bomb.png").write_bytes(png_bomb(np.random.default_rng(0))[1])
    (folder / "model.pt").write_bytes(pickle.dumps(Command(tmp_path / "executed")))
    (folder / "hidden.png").write_bytes(pickle.dumps(Command(tmp_path / "executed")))
    volume = nibabel.Nifti1Image(np.zeros((8, 8, 8), dtype=np.int16), np.eye(4))
    (folder / "ct.nii.gz").write_bytes(gzip.compress(volume.to_bytes()))
    save_dicom(folder / "lateral.dcm", films[GOOD], ViewPosition="LL")
    (folder / "loop").symlink_to(folder)
    (folder / "self.png").symlink_to(folder / "self.png")
    locked = folder / "locked.png"
    shutil.copy(folder / "good_00.png", locked)
    locked.chmod(0)
    return folder


def check_named(ended, locked: bool) -> None:
    """One line each, and no more of them than there are oddities."""
    odd = [f"damaged_{n}.{('png', 'dcm')[n % 2]}" for n in range(10)]
    odd += ["bomb.png", "hidden.png", "ct.nii.gz"]
    odd += ["locked.png"] if locked else []
    assert ended.code == 3, ended.err
    assert f"skipped: {len(odd)} image(s)" in ended.out
    assert "Traceback" not in ended.out + ended.err
    assert "passed by: 2 file(s) that are no images: model.pt, self.png\n" in ended.err


def test_adapt_and_translate_finish_and_name_each_oddity(
    strangers, domains_folder, identity_run, tmp_path, run_cli
):
    locked = os.geteuid() != 0  # the system's administrator reads all files
    write_tiny_config(tmp_path / "tiny.yaml")
    given = ("--config", tmp_path / "tiny.yaml", "--device", "cpu", "--out", tmp_path / "run")
    ended = run_cli("adapt", "--src", domains_folder / "src", "--tgt", strangers, *given)
    check_named(ended, locked)
    assert "target: a lateral view, by its header (1 image(s))" in ended.out
    rows = [row for row in read_manifest(tmp_path / "run" / "manifest.jsonl") if row.domain == "target"]
    assert len(rows) == GOOD + 1 + (not locked)
    ended = run_cli(
        "translate",
        identity_run,
        strangers,
        "--direction",
        "target-to-source",
        "--out",
        tmp_path / "out",
        "--device",
        "cpu",
    )
    check_named(ended, locked)
    listed = [json.loads(line) for line in (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()]
    for one in listed:
        assert f"  {one['file']}: {one['reason']}" in ended.out
        assert "\n" not in one["reason"]
    reasons = {one["file"]: one["reason"] for one in listed}
    assert "volume" in reasons["ct.nii.gz"]
    assert "pixels" in reasons["bomb.png"]
    for number in range(GOOD):  # the identity gives back what it reads, whatever the file's polarity
        name = f"good_{number:02d}.{('png', 'dcm')[number % 2]}"
        before = read_radiograph(strangers / name)
        after = read_radiograph(tmp_path / "out" / "images" / name)
        assert after.header.bits_stored == before.header.bits_stored
        inner = before.valid
        assert np.corrcoef(before.pixels[inner], after.pixels[inner])[0, 1] > 0.98
    assert not (tmp_path / "executed").exists()
