"""Decoding in child processes: the same images, and what a file does to its child stays there."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tiny_data import make_scene, save_dicom, save_png

from medi2i.errors import MaskMismatchError, UnreadableImageError, UnusableVolumeError
from medi2i.io import read_radiograph
from medi2i.io.acquisition import read_acquisition
from medi2i.io.ct import read_ct
from medi2i.io.decoder_pool import DecoderPool, decoders, read_ahead
from medi2i.io.label_volumes import read_label_map, read_structure_files
from medi2i.io.masks import write_mask_folder, write_mask_nifti

SHAPE = (40, 30)

# a child that answers once and then does what a test wants; `scene` names it
FALSE_CHILD = """
import json, os, signal, struct, sys, time
from medi2i.io.decoder import read_frame, write_frame
scene = sys.argv[1]
while request := read_frame(sys.stdin.buffer):
    if scene == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif scene == "hang":
        time.sleep(3600)
    elif scene == "garbage":
        sys.stdout.buffer.write(struct.pack("<I", 5) + b"maybe")
    elif scene == "half":
        write_frame(sys.stdout.buffer, {"facts": {}, "arrays": [["bool", [1, 9, 9]]], "last": False})
        sys.stdout.buffer.write(b"123")
        sys.stdout.buffer.flush()
        os._exit(3)
    elif scene == "huge":
        write_frame(sys.stdout.buffer, {"facts": {}, "arrays": [["bool", [1, 10**9, 10**9]]], "last": False})
    elif scene == "pickle":
        write_frame(sys.stdout.buffer, {"facts": {}, "arrays": [["object", [1, 1, 1]]], "last": False})
        sys.stdout.buffer.write(b"12345678")
    sys.stdout.buffer.flush()
"""


def false_pool(scene: str, **limits: float) -> DecoderPool:
    return DecoderPool((sys.executable, "-c", FALSE_CHILD, scene), **limits)


@pytest.fixture
def pool():
    pool = DecoderPool()
    yield pool
    pool.allow(0)


@pytest.fixture
def film(tmp_path) -> Path:
    codes = np.rint(make_scene(1, SHAPE) * 4095).astype(np.uint16)
    return save_dicom(tmp_path / "film.dcm", codes, inverted=True)


def test_a_radiograph_is_the_one_that_is_read_here(pool, film):
    found, acquisition = pool.read_radiograph(film, acquisition=True)
    wanted = read_radiograph(film)
    np.testing.assert_array_equal(found.pixels, wanted.pixels)
    np.testing.assert_array_equal(found.valid, wanted.valid)
    assert (found.header, found.patient_id) == (wanted.header, wanted.patient_id)
    assert acquisition == read_acquisition(film) != {}
    assert found.pixels.flags.writeable


def test_masks_are_those_of_either_form(pool, tmp_path):
    masks = np.random.default_rng(0).random((2, *SHAPE)) > 0.5
    write_mask_folder(tmp_path / "a", masks, ("heart", "lung"))
    write_mask_nifti(tmp_path / "a.nii.gz", masks, spacing_mm=None)
    for path in (tmp_path / "a", tmp_path / "a.nii.gz"):
        np.testing.assert_array_equal(pool.read_masks(path, ("heart", "lung")), masks)
    with pytest.raises(MaskMismatchError, match="a PNG for each of heart, liver"):
        pool.read_masks(tmp_path / "a", ("heart", "liver"))


def test_an_error_is_the_one_that_is_raised_here(pool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("damaged.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 40)
    with pytest.raises(UnreadableImageError) as here:
        read_radiograph(Path("damaged.dcm"))
    with pytest.raises(UnreadableImageError) as there:
        pool.read_radiograph(Path("damaged.dcm"))
    assert str(there.value) == str(here.value)


@pytest.mark.parametrize(
    ("scene", "said"),
    [
        ("crash", "ended the process that decoded it (SIGSEGV)"),
        ("hang", "did not end within 1 s"),
        ("garbage", "ended the process"),
        ("half", "(exit code 3)"),
        ("huge", "ended the process"),
        ("pickle", "ended the process"),
    ],
)
def test_what_a_file_does_to_its_child_is_one_error(scene, said, tmp_path):
    path = tmp_path / "a.nii"
    pool = false_pool(scene, seconds=1.0 if scene == "hang" else 600)
    before = time.monotonic()
    for _ in range(2):  # the next one gets a new child
        with pytest.raises(UnreadableImageError) as caught:
            pool.read_masks(path, ("heart",))
        assert said in str(caught.value)
        assert str(path) in str(caught.value)
    assert time.monotonic() - before < 60
    pool.allow(0)


def test_a_child_that_was_killed_while_it_waited_is_no_fault_of_the_next_file(pool, film):
    pool.read_radiograph(film)
    (number,) = pool.children()
    os.kill(number, signal.SIGKILL)
    os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)
    assert pool.read_radiograph(film)[0].pixels.shape == SHAPE
    assert pool.children() != [number]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is the system's")
def test_memory_is_bounded(tmp_path):
    image = np.zeros((4000, 4000), dtype=np.uint16)
    image[1000:3000, 1000:3000] = 30000
    path = tmp_path / "large.npy"
    np.save(path, image)
    pool = DecoderPool(memory_bytes=64 << 20)
    with pytest.raises(UnreadableImageError, match="MemoryError"):
        pool.read_radiograph(path)
    pool.allow(0)
    assert read_radiograph(path).pixels.shape == image.shape


def test_a_child_leaves_nothing_and_ends_with_its_pool(film, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    pool = DecoderPool()
    pool.read_radiograph(film)
    (child,) = pool._idle
    (own,) = folder.iterdir()
    (own / "left.dcm").write_bytes(b"an image")
    pool.allow(0)
    assert child._process.returncode == 0
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_parent_that_is_killed_in_the_middle_leaves_no_folder_behind(tmp_path):
    image = np.random.default_rng(0).integers(0, 60000, (3000, 3000)).astype(np.uint16)
    np.save(tmp_path / "large.npy", image)
    script = (
        "import tempfile, threading, os, signal, time\nfrom pathlib import Path\n"
        f"tempfile.tempdir = {str(tmp_path / 'temporary')!r}\n"
        "from medi2i.io.decoder_pool import decoders\n"
        f"small, large = (Path({str(tmp_path)!r}) / name for name in ('small.npy', 'large.npy'))\n"
        "decoders().read_radiograph(small)\n"
        "threading.Timer(0.15, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()\n"
        "while True:\n    decoders().read_radiograph(large)\n"
    )
    np.save(tmp_path / "small.npy", image[:40, :30])
    (tmp_path / "temporary").mkdir()
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -signal.SIGKILL
    for _ in range(200):
        if not list((tmp_path / "temporary").iterdir()):
            return
        time.sleep(0.05)
    pytest.fail("its temporary folder is left")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_is_not_for_children_and_a_killed_parent_takes_them_along(film):
    script = (
        "import sys, os, signal, time\nfrom pathlib import Path\n"
        "from medi2i.io.decoder_pool import decoders\n"
        f"decoders().read_radiograph(Path({str(film)!r}))\n"
        "child = decoders()._idle[0]._process.pid\nos.kill(child, signal.SIGINT)\n"
        f"decoders().read_radiograph(Path({str(film)!r}))\nassert decoders()._idle[0]._process.pid == child\n"
        "print(child, flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    outlived = Path(f"/proc/{pid}/exe")
    end = time.monotonic() + 10
    while outlived.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not outlived.exists()


def test_reading_ahead_keeps_the_order_and_ends_early(tmp_path):
    def read(number: int) -> int:
        time.sleep(0.02 * (number % 3))
        if number == 30:
            raise ValueError("the thirtieth")
        return number

    found = read_ahead(list(range(250)), read)
    assert [next(found) for _ in range(30)] == list(range(30))
    with pytest.raises(ValueError, match="the thirtieth"):
        next(found)
    seen = []
    found = read_ahead(list(range(1000)), lambda number: seen.append(number) or number)
    next(found)
    found.close()
    assert len(seen) < 20  # a stop does not wait for the rest


def test_threads_share_the_children_that_are_allowed(film):
    pool = DecoderPool()
    pool.allow(2)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(pool.read_radiograph(film)[0].header.rows))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [SHAPE[0]] * 8
    assert 1 <= len(pool._idle) <= 2
    pool.allow(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_children_of_its_own(film):
    decoders().read_radiograph(film)
    inherited = decoders()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        fine = decoders() is not inherited and decoders().read_radiograph(film)[0].pixels.shape == SHAPE
        decoders().allow(0)
        os.write(writing, b"y" if fine else b"n")
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 1) == b"y"
    assert decoders().read_radiograph(film)[0].pixels.shape == SHAPE


def test_damaged_files_in_a_folder_are_skipped_each_with_its_reason(tmp_path):
    from medi2i.data.dataset_folder import discover
    from medi2i.data.manifest import inspect_folder
    from medi2i.image import IntensityConfig

    for number in range(6):
        save_png(tmp_path / f"{number}.png", make_scene(number, SHAPE))
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:60])
    rows, skipped = inspect_folder(discover(tmp_path), "target", IntensityConfig(), salt=b"s" * 16)
    assert [row.file for row in rows] == ["0.png", "1.png", "2.png", "4.png", "5.png"]
    assert [(one.file, "cannot be decoded" in one.reason) for one in skipped] == [("3.png", True)]


def test_a_ct_and_its_labels_are_those_that_are_read_here(pool, tmp_path):
    rng = np.random.default_rng(3)
    cosine, sine = np.cos(0.04), np.sin(0.04)
    affine = np.array(
        [[-1.5, 0, 0, 10], [0, 2 * cosine, -3 * sine, -7], [0, 2 * sine, 3 * cosine, 1 / 3], [0, 0, 0, 1]]
    )

    def save(name: str, values: np.ndarray) -> Path:
        nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / name)
        return tmp_path / name

    hounsfield = rng.integers(-1000, 1500, (12, 10, 8)).astype(np.int16)
    ct = save("ct.nii.gz", hounsfield)
    label_map = save("labels.nii.gz", rng.integers(0, 4, (12, 10, 8)).astype(np.uint8))
    masks = {name: (rng.random((12, 10, 8)) > 0.5).astype(np.uint8) for name in ("heart", "lung")}
    files = {name: save(f"{name}.nii.gz", mask) for name, mask in masks.items()}
    found, wanted = pool.read_ct(ct), read_ct(ct)
    np.testing.assert_array_equal(found.hounsfield, wanted.hounsfield)
    np.testing.assert_array_equal(found.affine, wanted.affine)
    assert (found.padding, found.notes, found.patient_id) == (None, wanted.notes, None)
    names = {1: "heart", 2: "lung", 3: "liver"}
    pairs = [
        (pool.read_label_map(label_map, names), read_label_map(label_map, names)),
        (
            pool.read_label_map(label_map, None, default_names=names),
            read_label_map(label_map, None, default_names=names),
        ),
        (pool.read_structure_files(tmp_path, files), read_structure_files(files)),
    ]
    for labels, expected in pairs:
        np.testing.assert_array_equal(labels.codes, expected.codes)
        np.testing.assert_array_equal(labels.membership, expected.membership)
        np.testing.assert_array_equal(labels.affine, expected.affine)
        assert (labels.structures, labels.notes) == (expected.structures, expected.notes)
    save("ct.nii.gz", hounsfield.clip(0, 1))
    with pytest.raises(UnusableVolumeError) as here:
        read_ct(ct)
    with pytest.raises(UnusableVolumeError) as there:
        pool.read_ct(ct)
    assert str(there.value) == str(here.value)


def test_padding_of_a_scanner_comes_along(pool, tmp_path):
    hounsfield = np.full((10, 10, 8), 40, dtype=np.int16)
    hounsfield[:2], hounsfield[2:4] = -2000, -1000
    path = tmp_path / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(hounsfield, np.diag([-1.0, 1, 2, 1])), path)
    found, wanted = pool.read_ct(path), read_ct(path)
    assert wanted.padding is not None
    np.testing.assert_array_equal(found.padding, wanted.padding)
    np.testing.assert_array_equal(found.hounsfield, wanted.hounsfield)
