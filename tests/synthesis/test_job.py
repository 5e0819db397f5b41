"""A set as a whole: what is in it, that any way of making it gives the same bytes, and what goes wrong."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_data import SOURCE_SHAPE, STRUCTURES, load_png, make_masks, write_source

from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import load_masks, load_radiograph
from medi2i.errors import (
    DiskFullError,
    EnvironmentProblemError,
    InputError,
    InterruptedRunError,
    NothingUsableError,
    OutputExistsError,
    UsageError,
)
from medi2i.evaluation import read_results, write_results
from medi2i.io.hold import hold_folder
from medi2i.io.masks import write_mask_nifti
from medi2i.synthesis import SynthesizeConfig, synthesize
from medi2i.synthesis.making import Maker
from medi2i.synthesis.records import UNFINISHED
from tests.synthesis.sets import contents, controls_section, make_set, manifest


@pytest.fixture(scope="module")
def source(domains_folder):
    return domains_folder / "src"


@pytest.fixture(scope="module")
def whole(styled_run, source, tmp_path_factory):
    """Twenty draws of films, made in one go."""
    out = tmp_path_factory.mktemp("whole") / "set"
    make_set(styled_run, source, out, count=20, randomise={})
    return out


def test_the_set_is_a_data_set_folder_with_the_sources_masks_and_spacing(evaluated_run, source, tmp_path):
    result = make_set(evaluated_run, source, tmp_path / "set", split=(0.5, 0.25, 0.25))
    assert (result.complete, result.drawn, result.made, result.accepted) == (True, 12, 12, 12)
    folder = discover(tmp_path / "set")
    assert folder.structures == STRUCTURES
    assert [item.spacing_mm for item in folder.items] == [(2.0, 3.0)] * 12
    assert {item.split for item in folder.items} == {"train", "validation", "test"}
    rows = {row["files"][0]: row for row in manifest(tmp_path / "set")}
    assert {row["source"]["file"] for row in rows.values()} == {f"images/drr_{n:02d}.png" for n in range(12)}
    for item in folder.items:
        image = load_radiograph(item)
        masks = load_masks(item.mask, STRUCTURES, image.pixels.shape)
        assert (masks == make_masks(image.pixels.shape)).all()
        # the identity: what the intensity map did not clip is what the source holds, to rounding
        origin = load_png(source / rows[f"images/{item.relative}"]["source"]["file"])
        low, high = np.percentile(origin, [0.5, 99.5])
        assert image.pixels == pytest.approx(np.clip(origin, low, high), abs=1.5)


def test_a_patient_is_on_one_side_and_named_by_a_number(whole):
    rows = manifest(whole)
    sides = {}
    for row in rows:
        assert sides.setdefault(row["patient"], row["split"]) == row["split"]
    assert len(sides) == 6
    assert "source-" not in "".join(path.read_text() for path in whole.glob("*.*"))
    # two images of one patient of the sources share a number
    of_source = {row["source"]["file"]: row["patient"] for row in rows}
    assert of_source["images/drr_00.png"] == of_source["images/drr_06.png"]


def test_each_image_says_where_it_is_from(whole, styled_run, source):
    rows = manifest(whole)
    assert [row["id"] for row in rows] == [f"synthetic-{n:07d}" for n in range(20)]
    assert len({row["pixels_sha256"] for row in rows}) == 20  # a source that comes again looks different
    assert len({row["look"]["draw"] for row in rows}) == 20
    for row in rows:
        assert row["run"]["folder"] == "films"
        assert len(row["run"]["weights_sha256"]) == len(row["source"]["sha256"]) == 64
        assert row["structure_px"] == {"heart": 12 * 16, "lung": 14 * 18}
        assert row["overlapping_px"] == {"heart": 6 * 8, "lung": 6 * 8}
        assert row["gate"] is None


def test_the_card_says_that_there_was_no_gate_and_how_it_was_made(whole):
    card = (whole / "DATASET_CARD.md").read_text()
    assert "**No gate.**" in card
    assert "| images in the set | 20 |" in card
    assert "| licence | not stated |" in card
    assert "Not for diagnosis" in card
    assert "randomisation" in card
    # 48 of 192 pixels of hearts, 48 of 252 of lungs
    assert "| heart | 20 | 25.0% |" in card
    assert "| lung | 20 | 19.0% |" in card
    assert "6 of the 12 source images were training images of a run" in card


def test_shares_and_processes_give_the_same_bytes(whole, styled_run, source, tmp_path):
    out = tmp_path / "set"
    first = make_set(styled_run, source, out, count=20, randomise={}, shard=(1, 2))
    assert (first.complete, first.made, first.accepted) == (False, 10, None)
    assert (out / UNFINISHED).is_file()
    second = make_set(styled_run, source, out, count=20, randomise={}, shard=(2, 2), processes=2)
    assert (second.made, second.drawn) == (10, 20)
    last = make_set(styled_run, source, out, count=20, randomise={})
    assert (last.complete, last.made, last.accepted) == (True, 0, 20)
    assert contents(out) == contents(whole)


def test_another_seed_gives_another_set(whole, styled_run, source, tmp_path):
    make_set(styled_run, source, tmp_path / "set", count=20, randomise={}, seed=1)
    ours, others = manifest(tmp_path / "set"), manifest(whole)
    assert not {row["pixels_sha256"] for row in ours} & {row["pixels_sha256"] for row in others}


def test_the_same_run_is_not_mixed_with_itself(styled_run, source, tmp_path):
    again = styled_run / ".." / styled_run.name
    with pytest.raises(UsageError, match="the same run twice"):
        synthesize([styled_run, again], source, out=tmp_path / "set", device="cpu")
    assert not (tmp_path / "set").exists()


def test_a_folder_that_another_call_is_writing_is_refused(styled_run, source, tmp_path):
    out = tmp_path / "set"
    with hold_folder(out, alone=False):
        with pytest.raises(OutputExistsError, match=f"process {os.getpid()} that is writing there now"):
            make_set(styled_run, source, out, count=3)
        make_set(styled_run, source, out, count=3, shard=(1, 2))  # shares work beside each other
    assert make_set(styled_run, source, out, count=3).complete


@pytest.mark.parametrize("format_", ["png", "nnunet", "decathlon", "coco", "dicom"])
def test_a_set_killed_at_any_image_and_gone_on_with_is_the_same(
    format_, styled_run, source, tmp_path, monkeypatch
):
    if format_ == "dicom":
        pytest.importorskip("highdicom", reason="highdicom is not installed (extra 'dicom')")
    settings = {"count": 9, "format": format_, "overlap": "binary" if format_ == "nnunet" else None}
    make_set(styled_run, source, tmp_path / "whole", **settings)
    made, write = Maker.make, Maker._write

    def fail(self, draw, *rest):
        record = write(self, draw, *rest)
        if draw.number == chosen:
            raise MemoryError  # after the files and before the record, as a kill may come
        return record

    monkeypatch.setattr(Maker, "_write", fail)
    order = [4, 0, 8]
    for chosen in order:
        with pytest.raises(MemoryError):
            make_set(styled_run, source, tmp_path / "set", **settings)
        assert (tmp_path / "set" / UNFINISHED).is_file()
        if chosen == order[0]:  # half a record, and a file that was being written
            log = next((tmp_path / "set" / ".progress").iterdir())
            log.write_bytes(log.read_bytes() + b'{"number": 4, "fil')
            (tmp_path / "set" / ".medi2i-unfinished-0123abcd-x.png").write_bytes(b"half")
            monkeypatch.setattr(Maker, "_write", write)
            assert make_set(styled_run, source, tmp_path / "set", **settings).made == 5
            break
    monkeypatch.setattr(Maker, "make", made)
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def test_a_process_killed_in_the_middle_leaves_a_set_that_is_gone_on_with(
    styled_run, source, whole, tmp_path
):
    out = tmp_path / "set"
    command = [sys.executable, "-m", "medi2i", "synthesize", styled_run, "--from", source, "--out", out]
    command += ["--count", "20", "--randomise", "--no-gate", "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        _wait_for(lambda: any(out.glob(".progress/*.jsonl")), process)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert (out / UNFINISHED).is_file()
    assert not (out / "manifest.jsonl").exists()
    result = make_set(styled_run, source, out, count=20, randomise={})
    assert 0 < result.made < 20
    assert contents(out) == contents(whole)


def test_a_request_to_stop_is_followed_after_the_image_it_is_at(
    styled_run, source, whole, tmp_path, monkeypatch
):
    make, out = Maker.make, tmp_path / "set"

    def ask(self, number):
        if number == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return make(self, number)

    monkeypatch.setattr(Maker, "make", ask)
    with pytest.raises(InterruptedRunError, match="run the same command again"):
        make_set(styled_run, source, out, count=20, randomise={})
    monkeypatch.setattr(Maker, "make", make)
    assert make_set(styled_run, source, out, count=20, randomise={}).made == 16
    assert contents(out) == contents(whole)


def test_what_a_call_leaves_that_was_killed_at_its_start_is_no_content(styled_run, source, whole, tmp_path):
    out = tmp_path / "set"
    out.mkdir()
    (out / UNFINISHED).write_text("half")
    (out / ".medi2i-unfinished-0123abcd-synthesis.json").write_text("{")
    make_set(styled_run, source, out, count=20, randomise={})
    assert contents(out) == contents(whole)


def _wait_for(condition, process, seconds=60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.02)


def test_a_finished_set_is_left_as_it_is(whole, styled_run, source, tmp_path):
    out = Path(shutil.copytree(whole, tmp_path / "set"))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    result = make_set(styled_run, source, out, count=20, randomise={})
    assert (result.complete, result.drawn, result.made, result.accepted) == (True, 20, 0, 20)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize(
    "changed", [{"seed": 3}, {"count": 19}, {"randomise": None}, {"licence": "CC BY 4.0"}, {"format": "coco"}]
)
def test_a_set_of_other_settings_is_refused(changed, whole, styled_run, source):
    before = contents(whole)
    with pytest.raises(OutputExistsError, match="other settings, sources or runs"):
        make_set(styled_run, source, whole, **({"count": 20, "randomise": {}} | changed))
    assert contents(whole) == before


def test_a_folder_that_holds_something_is_refused_and_kept(styled_run, source, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("ten years of work")
    with pytest.raises(OutputExistsError, match="holds something"):
        make_set(styled_run, source, tmp_path / "set")
    assert contents(tmp_path / "set") == {"thesis.txt": b"ten years of work"}
    with pytest.raises(OutputExistsError, match="a file"):
        make_set(styled_run, source, tmp_path / "set" / "thesis.txt")


def test_a_full_disk_keeps_what_is_finished_and_marks_the_set(styled_run, source, tmp_path, monkeypatch):
    from medi2i.io import atomic

    out, flush, written = tmp_path / "set", atomic._flush, []

    def full(path):
        if path.suffix == ".png":
            written.append(path)
            if len(written) > 10:
                raise OSError(errno.ENOSPC, "No space left on device")
        flush(path)

    make_set(styled_run, source, tmp_path / "whole")
    monkeypatch.setattr(atomic, "_flush", full)
    with pytest.raises(DiskFullError, match="run the same command again"):
        make_set(styled_run, source, out)
    monkeypatch.setattr(atomic, "_flush", flush)
    assert (out / UNFINISHED).is_file()
    assert not (out / "manifest.jsonl").exists()
    result = make_set(styled_run, source, out)
    assert result.made == 12 - 3  # an image and two masks each: three were whole
    assert contents(out) == contents(tmp_path / "whole")


def test_a_full_disk_at_the_record_keeps_the_records_before(styled_run, source, tmp_path, monkeypatch):
    from medi2i.synthesis import records

    append, calls = records.append_line, []

    def full(path, line):
        calls.append(line)
        if len(calls) == 3:
            with path.open("a") as stream:
                stream.write(line[:20])
            raise DiskFullError(path, found="full", expected="room", remedy="make room")
        append(path, line)

    monkeypatch.setattr(records, "append_line", full)
    with pytest.raises(DiskFullError):
        make_set(styled_run, source, tmp_path / "set")
    monkeypatch.setattr(records, "append_line", append)
    assert make_set(styled_run, source, tmp_path / "set").made == 10


def test_a_folder_that_may_not_be_written_to_is_one_clear_error(styled_run, source, tmp_path, monkeypatch):
    def refuse(self, *arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", refuse)
        with pytest.raises(EnvironmentProblemError, match="cannot be written"):
            make_set(styled_run, source, tmp_path / "set")
    assert make_set(styled_run, source, tmp_path / "set").complete


def test_a_source_that_changes_meanwhile_is_refused(styled_run, tmp_path, monkeypatch):
    source = write_source(tmp_path / "src")
    make = Maker.make

    def change(self, number):
        if number == 2:
            for image in (source / "images").iterdir():
                image.write_bytes((source / "images" / "drr_00.png").read_bytes() + b" ")
        return make(self, number)

    monkeypatch.setattr(Maker, "make", change)
    with pytest.raises(InputError, match="other content"):
        make_set(styled_run, source, tmp_path / "set")


def test_without_masks_there_is_nothing_to_label(styled_run, tmp_path):
    source = write_source(tmp_path / "src", masks="none")
    with pytest.raises(UsageError, match="images without masks"):
        make_set(styled_run, source, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_unusable_sources_are_skipped_and_listed(styled_run, tmp_path):
    source = write_source(tmp_path / "src")
    (source / "images" / "drr_03.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    result = make_set(styled_run, source, tmp_path / "set")
    assert [item.file for item in result.skipped] == ["images/drr_03.png"]
    assert result.accepted == 11
    assert "drr_03" in (tmp_path / "set" / "skipped.jsonl").read_text()


def test_several_runs_are_mixed_evenly(styled_run, evaluated_run, source, tmp_path):
    config = SynthesizeConfig(gate=False, styles=2)
    out = tmp_path / "set"
    result = synthesize([styled_run, evaluated_run], source, out=out, config=config, device="cpu")
    assert result.accepted == 12 * (2 + 1)
    runs = [row["run"]["folder"] for row in manifest(out)]
    assert (runs.count("films"), runs.count("identity")) == (24, 12)


def test_a_gate_needs_an_evaluated_run(styled_run, evaluated_run, source, tmp_path):
    with pytest.raises(UsageError, match=r"medi2i evaluate .* or ask for --no-gate"):
        make_set(styled_run, source, tmp_path / "set", gate=True)
    assert not (tmp_path / "set").exists()
    run = Path(shutil.copytree(evaluated_run, tmp_path / "run"))
    results = read_results(run / "results.json")
    weak = controls_section(state="underpowered", reasons=["4 patients for thresholds, 10 needed"])
    write_results(run / "results.json", results | {"controls": weak})
    with pytest.raises(UsageError, match="underpowered: 4 patients"):
        make_set(run, source, tmp_path / "set", gate=True)


def test_what_the_gate_rejects_is_left_out_counted_and_kept_on_request(
    evaluated_run, source, tmp_path, monkeypatch
):
    from medi2i.translation import Translator

    translate, turned = Translator.translate, []

    def invert_some(self, image, valid, *rest, **options):
        turned.append(len(turned) % 4 == 0)
        if turned[-1]:
            return -image, {}
        return translate(self, image, valid, *rest, **options)

    monkeypatch.setattr(Translator, "translate", invert_some)
    out = tmp_path / "set"
    result = make_set(evaluated_run, source, out, gate=True, keep_rejected=True, count=8)
    assert (result.accepted, result.rejected) == (6, {"image sanity: inverted": 2})
    rejected = [row for row in manifest(out) if not row["accepted"]]
    assert [row["gate"]["flags"] for row in rejected] == [["inverted"]] * 2
    assert sorted(path.name for path in (out / "rejected").iterdir()) == [
        f"{row['id']}.png" for row in rejected
    ]
    assert len(discover(out).items) == 6
    card = (out / "DATASET_CARD.md").read_text()
    assert "| image sanity: inverted | 2 |" in card
    assert "| images rejected | 2 |" in card
    assert "No gate" not in card


def test_a_set_of_which_nothing_passes_is_no_set(evaluated_run, source, tmp_path, monkeypatch):
    from medi2i.translation import Translator

    monkeypatch.setattr(Translator, "translate", lambda self, image, *rest, **options: (-image, {}))
    with pytest.raises(NothingUsableError, match=r"all of 2 images rejected .* inverted \(2\)"):
        make_set(evaluated_run, source, tmp_path / "set", gate=True, count=2)
    assert (tmp_path / "set" / UNFINISHED).is_file()


def test_gated_random_looks_are_let_through(evaluated_run, source, tmp_path):
    out = tmp_path / "set"
    result = make_set(evaluated_run, source, out, gate=True, randomise={}, count=4)
    assert result.accepted == 4
    assert {row["gate"]["passed"] for row in manifest(out)} == {True}
    assert len({row["appearance_seed"] for row in manifest(out)}) == 4
    assert json.loads((out / "synthesis.json").read_text())["runs"][0]["gate"]["side_px"] == 64


@pytest.mark.parametrize("changed", ["mask", "spacing"])
def test_a_set_is_not_gone_on_with_from_sources_that_were_changed(changed, styled_run, source, tmp_path):
    own = shutil.copytree(source, tmp_path / "src")
    make_set(styled_run, own, tmp_path / "set", count=6, shard=(1, 2))
    if changed == "mask":
        for path in (own / "masks").iterdir():
            shape = tuple(load_masks(path, STRUCTURES, SOURCE_SHAPE).shape)
            path.unlink() if path.is_file() else shutil.rmtree(path)
            write_mask_nifti(path, np.zeros(shape, dtype=bool), spacing_mm=None)
    else:
        text = (own / "dataset.json").read_text()
        assert "spacing_mm" in text
        facts = json.loads(text) | {"spacing_mm": [1.0, 1.5]}
        (own / "dataset.json").write_text(json.dumps(facts))
    with pytest.raises(OutputExistsError, match="a set of other settings, sources or runs"):
        make_set(styled_run, own, tmp_path / "set", count=6)
