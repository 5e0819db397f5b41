"""Planted identities: where they must not appear, with --strip-identity and without."""

import gzip
import importlib.util
import json
import stat
from pathlib import Path

import numpy as np
import pytest
from dicom_tools import validation_errors
from planted import DATE, HEADER, NAME, STRUCTURES, UID, write_planted_dicom, write_planted_folder
from pydicom import dcmread
from tiny_data import make_scene, save_dicom, save_png

from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import file_sha256, load_masks, read_manifest
from medi2i.data.outputs import read_provenance
from medi2i.io import read_radiograph
from medi2i.io.dicom_attributes import KEPT_ACQUISITION, KEPT_PATIENT_AND_STUDY
from tests.exporters.untrained import make_run

HAS_HIGHDICOM = importlib.util.find_spec("highdicom") is not None
IDENTITY = (HEADER, DATE, UID.rpartition(".")[2])


def content(path: Path) -> bytes:
    """Bytes of a file, and what they unzip to."""
    held = path.read_bytes()
    return held + gzip.decompress(held) if path.name.endswith(".gz") else held


def holds(path: Path, words: tuple[str, ...]) -> bool:
    return any(word.lower().encode() in content(path).lower() for word in words)


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    return write_planted_folder(tmp_path_factory.mktemp("planted") / "in")


@pytest.fixture
def stripped(planted, identity_run, tmp_path, run_cli):
    """The call that strips, its folder, its key and how it ended."""
    seg = ("--dicom-seg",) if HAS_HIGHDICOM else ()
    out, key = tmp_path / "out", tmp_path / "key.json"
    call = ("translate", identity_run, planted, "--out", out, "--strip-identity", "--key", key, *seg)
    return call, out, key, run_cli(*call, "--device", "cpu")


def test_no_planted_token_is_in_any_output(stripped):
    _, out, _, ended = stripped
    assert ended.code == 3  # the damaged one is skipped
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) > 15
    for path in files:
        assert not holds(path, (NAME, *IDENTITY)), path
    for word in (NAME, *IDENTITY):
        assert word.lower() not in (ended.out + ended.err).lower()
        assert not any(word.lower() in str(path.relative_to(out)).lower() for path in out.rglob("*"))
    names = sorted(path.name for path in (out / "images").iterdir())
    assert names == ["img-000001.dcm", "img-000002.dcm", "img-000003.nii.gz", "img-000004.png"]


def test_it_says_plainly_what_it_is_not_and_names_tools_that_are(stripped, run_cli):
    *_, ended = stripped
    assert "no de-identification" in ended.out
    assert "dicognito and deid" in ended.out
    assert "BurnedInAnnotation); look at the image (2 image(s))" in ended.out
    shown = " ".join(run_cli("translate", "--help").out.replace("│", " ").split())
    assert "NO de-identification" in shown
    assert "dicognito" in shown


def test_the_key_alone_leads_back_and_only_its_owner_reads_it(stripped, planted):
    _, out, key, _ = stripped
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    names = json.loads(key.read_text())["names"]
    assert names[f"images/{NAME}/{NAME}.film.dcm"] == "img-000002"
    assert names[f"images/{NAME}/{NAME}_bad.png"] == "img-000005"
    for old, new in names.items():
        written = [path for path in (out / "images").iterdir() if path.name.startswith(f"{new}.")]
        assert len(written) == (0 if old.endswith("_bad.png") else 1)
    before = read_radiograph(planted / "images" / NAME / f"{NAME}.film.dcm")
    assert np.array_equal(read_radiograph(out / "images" / "img-000002.dcm").pixels, before.pixels)
    # hashes can't be compared with those of the originals
    assert not {row.sha256 for row in read_manifest(out / "manifest.jsonl")} & {
        record["output_sha256"] for record in read_provenance(out)
    }
    assert json.loads((out / "skipped.jsonl").read_text())["file"] == "img-000005"


def test_what_is_written_is_a_data_set_folder_and_valid_dicom(stripped):
    _, out, _, _ = stripped
    folder = discover(out)
    assert folder.structures == STRUCTURES
    for item in folder.items:
        assert load_masks(item.mask, STRUCTURES, (24, 30)).sum(axis=(1, 2)).tolist() == [42, 255]
    assert folder.items[3].valid.name == "img-000004.png"
    images = sorted((out / "images").glob("*.dcm"))
    first, second = (dcmread(path) for path in images)
    # both were of one study and patient by their header
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.PatientID == second.PatientID == read_manifest(out / "manifest.jsonl")[0].patient
    assert first.SOPInstanceUID != second.SOPInstanceUID
    for path in (*images, *(out / "segmentations").glob("*.dcm")):
        assert validation_errors(path) == []


def test_calling_again_changes_nothing_and_lost_images_come_back_alike(stripped, run_cli):
    call, out, key, _ = stripped
    kept, study = key.read_bytes(), dcmread(out / "images" / "img-000001.dcm").StudyInstanceUID
    other = (out / "images" / "img-000002.dcm").read_bytes()
    (out / "images" / "img-000001.dcm").unlink()
    assert run_cli(*call, "--device", "cpu").code == 3
    assert key.read_bytes() == kept
    assert dcmread(out / "images" / "img-000001.dcm").StudyInstanceUID == study
    assert (out / "images" / "img-000002.dcm").read_bytes() == other


def test_errors_tell_no_name_either(planted, identity_run, tmp_path, run_cli):
    root = write_planted_folder(tmp_path / "in")
    mask = root / "masks" / NAME / f"{NAME}.film.dcm" / "heart.png"
    (root / "masks" / NAME / f"{NAME}.png" / "lung.png").replace(mask.with_name("other.png"))
    key = ("--strip-identity", "--key", tmp_path / "key.json", "--device", "cpu")
    ended = run_cli("translate", identity_run, root, "--out", tmp_path / "out", *key)
    assert ended.code == 1
    assert NAME not in ended.out + ended.err
    assert "img-000004" in ended.error
    mask.parent.rename(root / "masks" / NAME / "elsewhere")
    ended = run_cli("translate", identity_run, root, "--out", tmp_path / "out", *key)
    assert ended.code == 1
    assert NAME not in ended.out + ended.err
    assert "masks that the images don't match" in ended.error
    assert "without --strip-identity" in ended.error
    assert not (tmp_path / "key.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--strip-identity"], "no --key"),
        (["--key", "key.json"], "no --strip-identity"),
        (["--strip-identity", "--key", "out/key.json"], "a file in --out"),
        (["--strip-identity", "--key", "nowhere/key.json"], "a folder that isn't there"),
        (["--strip-identity", "--key", "text.json"], "no readable key"),
        (["--strip-identity", "--key", "other.json"], "the key of other images"),
    ],
)
def test_wrong_keys_are_wrong_usage(planted, identity_run, tmp_path, run_cli, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    Path("text.json").write_text("a letter")
    Path("other.json").write_text(json.dumps({"secret": "00" * 32, "names": {"a": "img-000001"}}))
    ended = run_cli("translate", identity_run, planted, "--out", "out", *arguments, "--device", "cpu")
    assert ended.code == 2
    assert words in ended.error
    assert not Path("out").exists()
    assert Path("text.json").read_text() == "a letter"


def test_another_secret_is_another_translation(stripped, run_cli):
    call, _, key, _ = stripped
    key.unlink()
    ended = run_cli(*call, "--device", "cpu")
    assert ended.code == 2
    assert "another translation" in ended.error
    assert not key.exists()


def test_without_it_identities_stay_in_dicom_and_names_where_files_are_named(
    planted, identity_run, tmp_path, run_cli
):
    out = tmp_path / "out"
    seg = ("--dicom-seg",) if HAS_HIGHDICOM else ()
    ended = run_cli("translate", identity_run, planted, "--out", out, *seg, "--device", "cpu")
    assert ended.code == 3
    derived = dcmread(out / "images" / NAME / f"{NAME}.film.dcm")
    source = dcmread(planted / "images" / NAME / f"{NAME}.film.dcm")
    assert derived.PatientID == source.PatientID == HEADER
    assert derived.StudyInstanceUID == source.StudyInstanceUID
    assert [element for element in derived if element.tag.is_private] == []
    allowed = {*KEPT_PATIENT_AND_STUDY, *KEPT_ACQUISITION}
    told = {element.keyword for element in derived if HEADER in str(element.value)}
    assert "PatientName" in told <= allowed  # of some 3,000 attributes that held it
    assert "no de-identification" not in ended.out
    for word in IDENTITY:
        assert word not in ended.out + ended.err
    # tables name outputs by their names; the input's own files are copied as they are
    told = {"manifest.jsonl", "skipped.jsonl", "provenance.jsonl", "patients.csv", "dataset.json"}
    for path in (path for path in out.rglob("*") if path.is_file()):
        if path.suffix == ".dcm":
            continue
        if "masks" not in path.parts and "valid" not in path.parts and not path.name.endswith(".nii.gz"):
            assert not holds(path, IDENTITY), path
        if path.parent == out:
            assert path.name in told
        else:
            assert not holds(path, (NAME,)), path


def test_a_drr_of_another_program_is_never_put_into_its_patient(identity_run, tmp_path, run_cli):
    write_planted_dicom(tmp_path / "in" / "drr.dcm", ImageType=["DERIVED", "SECONDARY", "DRR"])
    run = ("translate", identity_run, tmp_path / "in", "--out", tmp_path / "out", "--device", "cpu")
    assert run_cli(*run).code == 0
    path = tmp_path / "out" / "images" / "drr.dcm"
    assert not holds(path, (HEADER, DATE))
    derived = dcmread(path)
    assert derived.PatientID == read_manifest(tmp_path / "out" / "manifest.jsonl")[0].patient
    assert derived.StudyInstanceUID != dcmread(tmp_path / "in" / "drr.dcm").StudyInstanceUID
    path.unlink()
    assert run_cli(*run).code == 0
    assert dcmread(path).PatientID == derived.PatientID  # though the salt was another


def test_the_spacing_of_a_calibrated_film_stays(identity_run, tmp_path, run_cli):
    codes = np.arange(24 * 30, dtype=np.uint16).reshape(24, 30)
    facts = {"PixelSpacing": [0.1, 0.12], "PixelSpacingCalibrationType": "GEOMETRY"}
    film = save_dicom(tmp_path / "film.dcm", codes, **facts)
    before = read_radiograph(film).header.spacing_mm
    assert before == (0.1, 0.12)  # and not ImagerPixelSpacing's
    given = ("--strip-identity", "--key", tmp_path / "key.json", "--device", "cpu")
    assert run_cli("translate", identity_run, film, "--out", tmp_path / "out", *given).code == 0
    assert read_radiograph(tmp_path / "out" / "images" / "img-000001.dcm").header.spacing_mm == before


def test_references_are_named_by_keyed_hashes(tmp_path, run_cli):
    run = make_run(tmp_path / "run", "munit")
    folder = tmp_path / "films"
    for number in range(2):
        save_png(folder / f"doe_{number}.png", make_scene(number, (40, 40)))
    given = ("--strip-identity", "--key", tmp_path / "key.json", "--device", "cpu", "--out", tmp_path / "out")
    style = ("--style", "reference", "--reference", folder / "doe_0.png")
    ended = run_cli("translate", run, folder, *style, *given)
    assert ended.code == 0, ended.err
    records = read_provenance(tmp_path / "out")
    assert {len(record["references"]) for record in records} == {1}
    plain = file_sha256(folder / "doe_0.png")
    assert not any(plain in path.read_text("utf-8") for path in (tmp_path / "out").glob("*.json*"))
    # keyed alike: the input that is its own reference can be told within this translation, and nowhere else
    assert records[0]["references"][0] in {record["input_sha256"] for record in records}
