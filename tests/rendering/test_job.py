import errno
import json
import shutil
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import yaml

from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import load_masks, load_radiograph
from medi2i.drr.geometry import make_camera
from medi2i.drr.patients import find_patients, load_patient
from medi2i.drr.projection import prepare_patient, project_view
from medi2i.errors import (
    DiskFullError,
    InputError,
    InterruptedRunError,
    NothingUsableError,
    OutputExistsError,
    UsageError,
)
from medi2i.rendering import parse_shard, render_drrs
from tests.rendering.cts import SETTINGS, contents, make_config, write_patient, write_patients

STILL = {"pose": {"yaw_deg": 0, "pitch_deg": 0, "roll_deg": 0, "translation_mm": [0, 0, 0]}}


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    return write_patients(tmp_path_factory.mktemp("patients") / "ct")


@pytest.fixture(scope="module")
def whole(patients, tmp_path_factory):
    """All three patients, rendered in one go."""
    out = tmp_path_factory.mktemp("whole") / "drr"
    render_drrs(make_config(), patients, out=out)
    return contents(out)


def test_the_folder_is_a_data_set_that_other_commands_take(patients, tmp_path):
    result = render_drrs(make_config(**STILL), patients, out=tmp_path / "drr")
    assert (result.images, result.rendered, result.skipped) == (9, 9, ())
    folder = discover(tmp_path / "drr")
    assert folder.structures == ("heart", "lung")
    assert len({item.patient for item in folder.items}) == 3
    assert all(item.spacing_mm == (4.0, 4.0) and item.mask is not None for item in folder.items)

    files = next(each for each in find_patients(patients) if each.key == folder.items[0].patient)
    volume, labels = load_patient(files)
    camera = make_camera(make_config().geometry, "PA", isocenter_mm=volume.center_mm)
    expected = project_view(prepare_patient(volume, labels), camera)
    codes = load_radiograph(folder.items[0]).pixels
    assert codes * 12.0 / 65535 == pytest.approx(expected.line_integral, abs=12.0 / 65535)
    masks = load_masks(folder.items[0].mask, ("heart", "lung"), codes.shape)
    assert (masks == (expected.path_mm > 1.0)).all()
    # the patient's right lung is on the image's left
    assert np.argwhere(masks[1])[:, 1].max() < 16 < np.argwhere(masks[0])[:, 1].max()


def test_views_json_says_where_everything_was(patients, tmp_path):
    config = make_config(view=["PA", "lateral"], seed=7)
    render_drrs(config, patients / "jane-doe-0", out=tmp_path / "drr")
    views = json.loads((tmp_path / "drr" / "views.json").read_text())
    assert [view["view"] for view in views["views"]] == ["PA", "left lateral", "PA"]
    view = views["views"][1]
    point = np.array([*view["isocenter_mm"], 1.0])
    column, row, depth = np.array(view["K"]) @ np.array(view["Rt"]) @ point
    shift = np.array(view["pose"]["translation_mm"])
    # a left lateral: the patient's front moves left in the image, and the depth is along right to left
    assert depth == pytest.approx(1000.0 - shift[0])
    assert column / depth == pytest.approx(15.5 - shift[1] * 1200 / depth / 4.0)
    assert row / depth == pytest.approx(11.5 - shift[2] * 1200 / depth / 4.0)
    assert view["isocenter_spacing_mm"] == pytest.approx([4.0 / 1.2, 4.0 / 1.2])
    assert views["attenuation"]["water_per_mm"] == 0.0192


def test_no_identity_is_written(patients, tmp_path):
    render_drrs(make_config(), patients, out=tmp_path / "drr")
    for name, content in contents(tmp_path / "drr").items():
        assert "jane" not in name
        assert b"jane" not in content


def test_interrupted_and_resumed_is_the_same_as_one_go(patients, whole, tmp_path, monkeypatch):
    done = []

    def write_and_stop(*arguments, **options):
        if len(done) == 4:
            raise InterruptedRunError("here", found="a stop", expected="to finish", remedy="run again")
        done.append(write_view(*arguments, **options))
        return done[-1]

    from medi2i.rendering.patient import write_view

    with monkeypatch.context() as patch:
        patch.setattr("medi2i.rendering.patient.write_view", write_and_stop)
        with pytest.raises(InterruptedRunError):
            render_drrs(make_config(), patients, out=tmp_path / "drr")
    # what is there is a data set already
    assert len(discover(tmp_path / "drr").items) == 4
    result = render_drrs(make_config(), patients, out=tmp_path / "drr")
    assert (result.images, result.rendered) == (9, 5)
    assert contents(tmp_path / "drr") == whole


def test_two_shards_are_the_same_as_one_machine(patients, whole, tmp_path):
    shares = [
        render_drrs(make_config(), patients, out=tmp_path / "drr", shard=parse_shard(shard)).rendered
        for shard in ("2/2", "1/2")
    ]
    assert shares == [3, 6]
    assert contents(tmp_path / "drr") == whole


def test_two_processes_are_the_same_as_one(patients, whole, tmp_path):
    result = render_drrs(make_config(), patients, out=tmp_path / "drr", workers=2)
    assert result.rendered == 9
    assert contents(tmp_path / "drr") == whole


def test_nothing_is_rendered_twice(patients, tmp_path, monkeypatch):
    render_drrs(make_config(), patients, out=tmp_path / "drr")
    monkeypatch.setattr("medi2i.rendering.patient.load_patient", None)  # not even read
    monkeypatch.setattr("medi2i.rendering.job.output_structures", lambda *_: ("heart", "lung"))
    assert render_drrs(make_config(), patients, out=tmp_path / "drr").rendered == 0


def test_more_views_go_on_with_the_same_set(patients, whole, tmp_path):
    render_drrs(make_config(views=2), patients, out=tmp_path / "drr")
    assert render_drrs(make_config(), patients, out=tmp_path / "drr").rendered == 3
    assert contents(tmp_path / "drr") == whole


def test_another_configuration_is_not_mixed_in(patients, tmp_path):
    render_drrs(make_config(), patients / "jane-doe-0", out=tmp_path / "drr")
    with pytest.raises(OutputExistsError, match="another configuration"):
        render_drrs(make_config(seed=1), patients / "jane-doe-0", out=tmp_path / "drr")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="something else"):
        render_drrs(make_config(), patients / "jane-doe-0", out=tmp_path / "other")


def test_a_full_disk_leaves_no_half_file_and_can_be_gone_on_with(patients, whole, tmp_path, monkeypatch):
    flushed = []

    def flush_until_full(path):
        flushed.append(path)
        if len(flushed) == 14:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("medi2i.io.atomic._flush", flush_until_full)
        with pytest.raises(DiskFullError, match="bytes free"):
            render_drrs(make_config(), patients, out=tmp_path / "drr")
    left = contents(tmp_path / "drr")
    assert not any("unfinished" in name for name in left)
    images = [name for name in left if name.startswith("images/")]
    assert 0 < len(images) < 9
    assert all(left[name] == whole[name] for name in images)
    render_drrs(make_config(), patients, out=tmp_path / "drr")
    assert contents(tmp_path / "drr") == whole


def test_a_broken_patient_is_skipped_and_listed_until_it_is_mended(tmp_path):
    folder = write_patients(tmp_path / "ct")
    broken = folder / "jane-doe-0" / "ct.nii.gz"  # also the first one, whose labels name the structures
    good = broken.read_bytes()
    broken.write_bytes(good[:200])
    result = render_drrs(make_config(), folder, out=tmp_path / "drr")
    assert result.images == 6
    assert [path for path, _ in result.skipped] == [broken]
    assert len((tmp_path / "drr" / "skipped.jsonl").read_text().splitlines()) == 1
    broken.write_bytes(good)
    assert render_drrs(make_config(), folder, out=tmp_path / "drr").images == 9
    assert not (tmp_path / "drr" / "skipped.jsonl").exists()


def test_a_patient_without_a_structure_of_the_set_is_skipped(tmp_path):
    folder = tmp_path / "ct"
    write_patient(folder / "a")
    write_patient(folder / "b", radius_mm=21.0, structures=("lung",))
    result = render_drrs(make_config(), folder, out=tmp_path / "drr")
    assert result.images == 3
    assert "heart" in result.skipped[0][1]


def test_a_single_ct_that_is_broken_is_the_error_itself(tmp_path):
    (tmp_path / "ct.nii.gz").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"ct\.nii\.gz"):
        render_drrs(make_config(), tmp_path / "ct.nii.gz", out=tmp_path / "drr")
    folder = write_patients(tmp_path / "all", 2)
    for path in folder.glob("*/ct.nii.gz"):
        path.write_bytes(b"no image")
    with pytest.raises((InputError, NothingUsableError)):
        render_drrs(make_config(), folder, out=tmp_path / "none")


def test_a_view_beside_the_patient_is_never_written(tmp_path):
    folder = write_patient(tmp_path / "ct")
    far = {**STILL["pose"], "translation_mm": [0, 0, 0]}
    config = make_config(
        pose=far,
        framing={"height_mm": [20, 20], "down_mm": [300, 300]},
        convention={"convention": "projected"},
    )
    with pytest.raises(InputError, match="no ray"):
        render_drrs(config, folder, out=tmp_path / "drr")
    assert not (tmp_path / "drr" / "images").exists()


def test_a_shard_must_be_one_of_its_count():
    assert parse_shard("2/3") == (2, 3)
    for wrong in ("3/2", "0/2", "1", "a/b"):
        with pytest.raises(UsageError, match="--shard"):
            parse_shard(wrong)


@pytest.mark.parametrize(("format_name", "suffix"), [("dicom", ".dcm"), ("nifti", ".nii.gz")])
def test_other_formats_hold_the_same_pixels(format_name, suffix, patients, whole, tmp_path):
    render_drrs(make_config(format=format_name), patients / "jane-doe-0", out=tmp_path / "drr")
    render_drrs(make_config(), patients / "jane-doe-0", out=tmp_path / "png")
    pairs = zip(discover(tmp_path / "drr").items, discover(tmp_path / "png").items, strict=True)
    for item, png in pairs:
        assert item.path.name.endswith(suffix)
        radiograph = load_radiograph(item)
        assert (radiograph.pixels == load_radiograph(png).pixels).all()
        assert radiograph.header.spacing_mm == pytest.approx((4.0, 4.0))


def test_path_lengths_and_valid_areas_are_written_where_asked_and_needed(tmp_path):
    import nibabel

    write_patient(tmp_path / "ct", radius_mm=60.0)  # larger than the CT: cut on all sides
    result = render_drrs(make_config(path_lengths=True), tmp_path / "ct", out=tmp_path / "drr")
    item = discover(tmp_path / "drr").items[0]
    valid = load_radiograph(item).valid
    assert 0 < valid.mean() < 1
    paths = np.asarray(nibabel.load(tmp_path / "drr" / "path_mm" / f"{result_name(item)}.nii.gz").dataobj)
    assert paths.shape == (32, 24, 2)
    masks = load_masks(item.mask, ("heart", "lung"), (24, 32))
    assert (masks == (paths.transpose(2, 1, 0) > 1.0)).all()
    assert result.images == 3


def result_name(item):
    return item.path.name.removesuffix(".png")


def test_the_isocenter_can_be_a_structure(tmp_path):
    write_patient(tmp_path / "ct")
    render_drrs(make_config(isocenter=["lung"], **STILL), tmp_path / "ct", out=tmp_path / "drr")
    view = json.loads((tmp_path / "drr" / "views.json").read_text())["views"][0]
    # the lung's voxels have centres from 7.5 to 22.5 mm on the right
    assert view["isocenter_mm"] == pytest.approx([15.0, 0.0, 0.0])
    masks = load_masks(discover(tmp_path / "drr").items[0].mask, ("heart", "lung"), (24, 32))
    assert np.argwhere(masks[1]).mean(axis=0) == pytest.approx([11.5, 15.5], abs=0.6)


def test_a_patient_without_labels_is_skipped_where_others_have_them(tmp_path):
    folder = tmp_path / "ct"
    write_patient(folder / "a")
    for mask in (folder / "a" / "segmentations").iterdir():
        mask.unlink()
    (folder / "a" / "segmentations").rmdir()
    write_patient(folder / "b", radius_mm=21.0)
    result = render_drrs(make_config(), folder, out=tmp_path / "drr")
    assert result.images == 3
    assert discover(tmp_path / "drr").structures == ("heart", "lung")
    assert "no labels" in result.skipped[0][1]


@pytest.mark.parametrize(
    "wish",
    [{"path_lengths": True}, {"convention": {"convention": "film"}}, {"structures": {"names": ["lung"]}}],
)
def test_who_asks_for_what_takes_labels_is_told_that_there_are_none(wish, patients, tmp_path):
    ct = patients / "jane-doe-0" / "ct.nii.gz"
    with pytest.raises(UsageError, match="no labels"):
        render_drrs(make_config(**wish), ct, out=tmp_path / "drr")
    assert render_drrs(make_config(), ct, out=tmp_path / "plain").images == 3  # images alone are fine


def test_members_of_a_group_that_nobody_labelled_are_left_out_with_a_note(patients, tmp_path):
    structures = {
        "names": ["chest", "spine"],
        "absent": "drop",
        "groups": {"chest": ["lung", "trachea"], "spine": ["t1"]},
    }
    result = render_drrs(make_config(structures=structures), patients / "jane-doe-0", out=tmp_path / "drr")
    assert discover(tmp_path / "drr").structures == ("chest",)
    assert any("without trachea" in note for note in result.notes)


def test_a_structure_that_one_patient_has_no_label_of_is_no_empty_mask(tmp_path):
    folder = tmp_path / "ct"
    write_patient(folder / "a")
    write_patient(folder / "b", radius_mm=21.0, structures=("lung",))
    structures = {"names": ["lung", "heart"], "absent": "drop"}
    result = render_drrs(make_config(structures=structures), folder, out=tmp_path / "drr")
    assert (result.images, len(result.skipped)) == (3, 1)
    structures["absent"] = "empty"
    assert render_drrs(make_config(structures=structures), folder, out=tmp_path / "empty").images == 6


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_ct_twice_is_one_patient_and_said(workers, tmp_path):
    folder = write_patients(tmp_path / "ct", 1)
    shutil.copytree(folder / "jane-doe-0", folder / "jane-doe-9")
    result = render_drrs(make_config(), folder, out=tmp_path / "drr", workers=workers)
    assert result.images == 3
    assert len(result.skipped) == 1
    assert "the same CT as" in result.skipped[0][1]


def test_a_rendering_that_failed_before_its_first_view_does_not_keep_its_folder(patients, tmp_path):
    ct = patients / "jane-doe-0"
    beside = {"framing": {"height_mm": [20, 20], "down_mm": [300, 300]}}
    with pytest.raises(InputError):
        render_drrs(make_config(**beside), ct, out=tmp_path / "drr")
    assert render_drrs(make_config(), ct, out=tmp_path / "drr").images == 3
    assert not (tmp_path / "drr" / "skipped.jsonl").exists()


def test_clipping_is_noted(patients, tmp_path):
    result = render_drrs(make_config(full_scale=0.3), patients / "jane-doe-0", out=tmp_path / "drr")
    assert any("above full_scale 0.3" in note for note in result.notes)
    assert not render_drrs(make_config(), patients / "jane-doe-0", out=tmp_path / "fine").notes


def test_a_source_inside_the_patient_and_a_missing_device_are_refused(patients, tmp_path):
    inside = {**make_config().geometry.model_dump(), "source_to_isocenter_mm": 5.0}
    with pytest.raises(UsageError, match="inside the patient"):
        render_drrs(make_config(geometry=inside, **STILL), patients / "jane-doe-0", out=tmp_path / "drr")
    with pytest.raises(UsageError, match="--device mps"):
        render_drrs(make_config(), patients / "jane-doe-0", out=tmp_path / "mps", device="mps")


def test_workers_end_when_their_parent_is_killed(patients, tmp_path):
    """`kill -9` of the first process: no other goes on writing."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**SETTINGS, "views": 500}))
    command = ["-m", "medi2i", "drr", patients, "--config", tmp_path / "tiny.yaml", "--out", tmp_path / "drr"]
    first = subprocess.Popen(
        [sys.executable, *map(str, command), "--workers", "2", "--device", "cpu"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    views = tmp_path / "drr" / "views"
    wait_until(lambda: views.is_dir() and any(views.iterdir()), seconds=120)
    children = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.wait()
    assert len(children) >= 2
    assert psutil.wait_procs(children, timeout=20)[1] == []


def wait_until(happened, *, seconds):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
