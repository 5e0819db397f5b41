import datetime
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tiny_data import (
    SOURCE_SHAPE,
    TARGET_SHAPE,
    make_masks,
    make_scene,
    save_dicom,
    save_png,
    write_patients,
    write_source,
    write_target,
)

from medi2i import adapt, choose_config, describe_job, load_run_config
from medi2i import config as config_module
from medi2i.adaptation import AdaptConfig, default_run_folder
from medi2i.config import load_config
from medi2i.data.manifest import read_manifest
from medi2i.data.outputs import read_provenance
from medi2i.errors import (
    CheckpointError,
    ConfigError,
    MaskMismatchError,
    NothingUsableError,
    OutputExistsError,
    SameDomainError,
    SplitLeakError,
    UsageError,
)
from medi2i.io.masks import write_mask_nifti

RESULT_KEYS = {
    "format",
    "medi2i",
    "run",
    "data",
    "warnings",
    "distance",
    "distance_groups",
    "distance_held_out_source",
    "floor",
    "structure",
    "edge_unit",
    "truth",
    "masks",
    "flags",
    "images",
    "worst",
}
METHODS = {"identity", "histogram", "translated"}
GROUPS = {"all", "intensity", "gradient", "spectrum"}


def histogram(folder: Path, **values: object) -> AdaptConfig:
    """The fastest whole job: `folder` holds `src` and `tgt`."""
    settings = choose_config("histogram", None, ["evaluation.feature_size=64"], "cpu").model_dump()
    domains = {"source": str(folder / "src"), "target": str(folder / "tgt")}
    return AdaptConfig.model_validate(settings | domains | values)


def tiny(folder: Path, *overrides: str, **values: object) -> AdaptConfig:
    settings = load_config(folder / "tiny.yaml", AdaptConfig, overrides).model_dump()
    domains = {"source": str(folder / "src"), "target": str(folder / "tgt")}
    return AdaptConfig.model_validate(settings | domains | values)


@pytest.fixture
def own_domains(domains_folder, tmp_path) -> Path:
    """A copy of the domains that a test may change."""
    return Path(shutil.copytree(domains_folder, tmp_path / "domains"))


@pytest.fixture(scope="module")
def results(finished_run):
    return json.loads((finished_run / "results.json").read_text())


def test_a_run_holds_what_the_house_plan_lists(finished_run):
    for name in (
        "config.yaml",
        "manifest.jsonl",
        "log.jsonl",
        "results.json",
        "report.html",
        "skipped.jsonl",
    ):
        assert (finished_run / name).is_file()
    assert (finished_run / "skipped.jsonl").read_text() == ""
    checkpoints = finished_run / "checkpoints"
    best = checkpoints / (checkpoints / "BEST").read_text()
    assert (best / "networks.safetensors").is_file()
    assert {path.suffix for path in best.iterdir()} == {".safetensors", ".json"}
    assert len(list((finished_run / "translated" / "images").iterdir())) == 12
    assert len(list((finished_run / "translated" / "masks").iterdir())) == 12
    assert (finished_run / "previews" / "step-0000004.png").is_file()
    assert (finished_run / "worst" / "worst-1.png").is_file()


def test_results_have_the_documented_keys(results):
    assert set(results) == RESULT_KEYS
    assert set(results["distance"]) == {"floor", *METHODS}
    assert set(results["distance_groups"]) == {"floor", *METHODS}
    assert all(set(values) == GROUPS for values in results["distance_groups"].values())
    assert set(results["distance_held_out_source"]) == set(results["structure"]) == METHODS
    assert set(results["flags"]) == {"constant", "inverted", "empty", "nonfinite"}
    assert results["masks"] == {"in_source": 12, "carried": 12, "identical": 12}
    assert results["truth"] is None
    assert len(results["images"]) == 12
    assert len(results["worst"]) == 2
    assert results["distance"]["identity"] == results["distance_groups"]["identity"]["all"]
    assert results["run"]["method"] == "cyclegan"
    assert results["run"]["steps"] == 4


def test_results_name_no_file_no_patient_and_no_undefined_number(finished_run, results):
    text = (finished_run / "results.json").read_text()
    for word in ("drr_", "film_", 'source-0"', 'target-0"', str(finished_run.parent), "NaN", "Infinity"):
        assert word not in text
    assert {row["id"] for row in results["images"]} == {f"source-{n:04d}" for n in range(12)}


def test_the_first_outputs_of_a_residual_network_keep_their_structure(results):
    # four steps from the identity: the images must still be the source's
    assert results["structure"]["translated"]["gradient_correlation"]["median"] > 0.9
    assert results["flags"] == {"constant": 0, "inverted": 0, "empty": 0, "nonfinite": 0}


def test_the_identity_is_measured_as_the_identity_baseline(identity_run):
    results = json.loads((identity_run / "results.json").read_text())
    groups = results["distance_groups"]
    # 16-bit quantisation is all that lies between them; a gradient on a bin's edge may fall over it
    for name in ("all", "intensity", "spectrum"):
        assert groups["translated"][name] == pytest.approx(groups["identity"][name], rel=0.01)
    assert results["structure"]["translated"]["gradient_correlation"]["median"] == pytest.approx(
        1.0, abs=1e-4
    )


def test_running_a_runs_config_again_gives_the_same_run(finished_run, tmp_path):
    adapt(load_run_config(finished_run), out=tmp_path / "again", device="cpu")
    first, second = (read_manifest(run / "manifest.jsonl") for run in (finished_run, tmp_path / "again"))
    assert [row.split for row in first] == [row.split for row in second]
    hashes = [
        [record["output_sha256"] for record in read_provenance(run / "translated")]
        for run in (finished_run, tmp_path / "again")
    ]
    assert hashes[0] == hashes[1]


def test_splits_follow_patients_and_salts_differ_between_runs(finished_run, identity_run):
    runs = [read_manifest(run / "manifest.jsonl") for run in (finished_run, identity_run)]
    for rows in runs:
        sides: dict[str, set[str]] = {}
        for row in rows:
            sides.setdefault(row.patient, set()).add(row.split)
        assert len(sides) == 6 + 12
        assert all(len(side) == 1 for side in sides.values())
    assert not {row.patient for row in runs[0]} & {row.patient for row in runs[1]}


def test_no_identity_is_anywhere_in_a_run(tmp_path):
    write_source(tmp_path / "src", images=4, patients=4)
    write_patients(tmp_path / "src", [(f"drr_{n:02d}.png", f"token-7{n}") for n in range(4)])
    for number in range(4):
        codes = np.rint(make_scene(number, TARGET_SHAPE, film=True) * 4095)
        save_dicom(tmp_path / "tgt" / f"{number}.dcm", codes, PatientID=f"token-7{number}")
    (tmp_path / "tgt" / "broken.dcm").write_bytes(bytes(128) + b"DICM" + b"token-7")
    out = tmp_path / "run"
    result = adapt(histogram(tmp_path), out=out, device="cpu")
    assert len(result.skipped) == 1
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) > 15
    guilty = [path for path in files if b"token" in path.read_bytes().lower() or "token" in path.name]
    assert guilty == []


def test_a_source_of_dicom_files_keeps_the_patient_in_the_dicom_files_alone(own_domains, tmp_path):
    shutil.rmtree(own_domains / "src")
    for number in range(3):
        codes = np.rint(make_scene(number, SOURCE_SHAPE) * 4095)
        save_dicom(own_domains / "src" / f"1.2.{number}", codes, inverted=True)
    out = tmp_path / "run"
    adapt(histogram(own_domains), out=out, device="cpu")
    assert {path.name for path in (out / "translated" / "images").iterdir()} == {
        f"1.2.{n}.dcm" for n in range(3)
    }
    files = [path for path in out.rglob("*") if path.is_file()]
    guilty = {path.parent.name for path in files if b"token" in path.read_bytes().lower()}
    assert guilty == {"images"}


def test_three_images_a_side_are_enough_and_say_what_is_undefined(tmp_path):
    write_source(tmp_path / "src", images=3, patients=3, masks="none")
    write_target(tmp_path / "tgt", images=3)
    results = adapt(histogram(tmp_path), out=tmp_path / "run", device="cpu").results
    assert results["distance"] == {"floor": None, "identity": None, "histogram": None, "translated": None}
    assert any("fewer than four patients held out" in warning for warning in results["warnings"])
    assert results["masks"] == {"in_source": 0, "carried": 0, "identical": 0}
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_single_patient_gets_a_warning_and_no_interval(own_domains, tmp_path):
    write_patients(own_domains / "src", [(f"drr_{n:02d}.png", "one") for n in range(12)])
    results = adapt(histogram(own_domains), out=tmp_path / "run", device="cpu").results
    assert any("1 patient(s) in 12 images: split by image" in warning for warning in results["warnings"])
    mean = results["structure"]["translated"]["gradient_correlation"]["mean"]
    assert (mean["low"], mean["high"], mean["n_patients"]) == (None, None, 1)
    assert results["distance"]["identity"] is not None


def test_unknown_patients_are_marked_in_every_interval(own_domains, tmp_path):
    (own_domains / "src" / "patients.csv").unlink()
    results = adapt(histogram(own_domains), out=tmp_path / "run", device="cpu").results
    assert results["data"]["source"]["patients_unknown"] is True
    assert results["structure"]["translated"]["ssim"]["mean"]["patients_unknown"] is True


def test_the_users_split_is_the_runs_split(own_domains, tmp_path):
    wanted = ["test", "validation", "train"] * 4
    rows = [(f"film_{n:02d}.png", f"p{n}", split) for n, split in enumerate(wanted)]
    write_patients(own_domains / "tgt", rows, "file,patient,split")
    adapt(histogram(own_domains), out=tmp_path / "run", device="cpu")
    manifest = read_manifest(tmp_path / "run" / "manifest.jsonl")
    assert [row.split for row in manifest if row.domain == "target"] == wanted


def expect_error(kind, config: AdaptConfig, out: Path, match: str) -> None:
    """The job fails before anything is written."""
    with pytest.raises(kind, match=match):
        adapt(config, out=out, device="cpu")
    assert not out.exists()


def test_a_patient_on_both_sides_is_an_error_before_anything_is_written(own_domains, tmp_path):
    rows = [(f"film_{n:02d}.png", "p", ("test", "validation", "train")[n % 3]) for n in range(12)]
    write_patients(own_domains / "tgt", rows, "file,patient,split")
    expect_error(SplitLeakError, histogram(own_domains), tmp_path / "run", "one patient in")


def test_masks_of_the_wrong_size_are_an_error_before_anything_is_written(own_domains, tmp_path):
    mask = own_domains / "src" / "masks" / "drr_07.nii.gz"
    write_mask_nifti(mask, make_masks((32, 32)), spacing_mm=None)
    expect_error(MaskMismatchError, histogram(own_domains), tmp_path / "run", r"drr_07\.nii\.gz.*32 x 40")


def test_the_same_files_on_both_sides_are_an_error(own_domains, tmp_path):
    shutil.copy(own_domains / "src" / "images" / "drr_00.png", own_domains / "tgt" / "another_name.png")
    expect_error(SameDomainError, histogram(own_domains), tmp_path / "run", r"1 image\(s\) with the same")


def test_too_few_images_are_an_error(own_domains, tmp_path):
    for path in sorted((own_domains / "tgt").glob("*.png"))[2:]:
        path.unlink()
    expect_error(
        NothingUsableError, histogram(own_domains), tmp_path / "run", "the target domain: 2 different"
    )


def test_a_method_that_trains_needs_a_training_section(own_domains, tmp_path):
    config = tiny(own_domains).model_copy(update={"training": None})
    expect_error(ConfigError, config, tmp_path / "run", "'training' with 'steps' or 'epochs'")


def test_a_domain_that_is_not_given_is_named(tmp_path):
    expect_error(UsageError, AdaptConfig(source="somewhere"), tmp_path / "run", "--tgt: nothing")


def put_truth(folder: Path, names: list[str], shape: tuple[int, int] = SOURCE_SHAPE) -> str:
    for number, name in enumerate(names):
        save_png(folder / name, make_scene(number, shape, film=True), bits=8)
    return str(folder)


def test_truth_is_measured_beside_identity_and_histogram(domains_folder, tmp_path):
    # another suffix than the source's, and one image that has no source
    truth = put_truth(tmp_path / "truth", [f"drr_{n:02d}.tif" for n in range(12)] + ["other.tif"])
    results = adapt(histogram(domains_folder, truth=truth), out=tmp_path / "run", device="cpu").results
    assert results["truth"]["n_images"] == results["data"]["source"]["splits"]["test"]
    errors = {name: results["truth"][name]["mean_absolute_error"]["median"] for name in METHODS}
    assert errors["histogram"] < errors["identity"]
    assert errors["translated"] == pytest.approx(errors["histogram"], abs=0.01)


def test_truth_that_fits_nothing_is_an_error_before_anything_is_written(domains_folder, tmp_path):
    truth = put_truth(tmp_path / "truth", ["view_1.png"])
    expect_error(
        UsageError,
        histogram(domains_folder, truth=truth),
        tmp_path / "run",
        "no image with the name of a source",
    )
    truth = put_truth(tmp_path / "other", [f"drr_{n:02d}.png" for n in range(12)], (40, 32))
    expect_error(
        MaskMismatchError,
        histogram(domains_folder, truth=truth),
        tmp_path / "run",
        "40 x 32 pixels; expected",
    )
    expect_error(UsageError, histogram(domains_folder, truth="nowhere"), tmp_path / "run", "no such file")


def test_truth_of_training_images_alone_is_said_and_not_measured(domains_folder, finished_run, tmp_path):
    rows = read_manifest(finished_run / "manifest.jsonl")
    train = [row.output for row in rows if row.domain == "source" and row.split == "train"]
    truth = put_truth(tmp_path / "truth", train)
    results = adapt(histogram(domains_folder, truth=truth), out=tmp_path / "run", device="cpu").results
    assert results["truth"] is None
    assert any(warning.startswith("truth: no true image") for warning in results["warnings"])


def test_weights_of_another_run_are_where_training_starts(domains_folder, finished_run, tmp_path):
    out = tmp_path / "run"
    config = tiny(domains_folder, "training.steps=1", "training.average=null", init_from=str(finished_run))
    small = {"learning_rate": 1e-12}
    adapter = config.adapter.model_copy(
        update={"optimizer": config.adapter.optimizer.model_copy(update=small)}
    )
    adapt(config.model_copy(update={"adapter": adapter}), out=out, device="cpu")
    from safetensors.torch import load_file

    best = finished_run / "checkpoints" / (finished_run / "checkpoints" / "BEST").read_text()
    started = load_file(best / "networks.safetensors") | load_file(best / "average.safetensors")
    ended = load_file(out / "checkpoints" / "step-0000001" / "networks.safetensors")
    for key in ended:
        if key.startswith(("source_to_target", "target_to_source")):
            torch.testing.assert_close(ended[key], started[key], atol=1e-9, rtol=0)


def test_weights_that_do_not_fit_are_an_error_before_anything_is_written(
    domains_folder, finished_run, identity_run, tmp_path
):
    other_method = tiny(domains_folder, init_from=str(identity_run))
    expect_error(CheckpointError, other_method, tmp_path / "run", "a checkpoint of method 'identity'")
    other_size = tiny(domains_folder, "adapter.generator.width=6", init_from=str(finished_run))
    expect_error(CheckpointError, other_size, tmp_path / "run", "weights of another network")
    nothing = tiny(domains_folder, init_from=str(tmp_path / "nowhere"))
    expect_error(CheckpointError, nothing, tmp_path / "run", "no checkpoint 'BEST'")


def test_a_finished_run_is_not_trained_again_when_resumed(copied_run):
    checkpoint = copied_run / "checkpoints" / "step-0000004" / "networks.safetensors"
    image = copied_run / "translated" / "images" / "drr_00.png"
    before = (checkpoint.stat().st_mtime_ns, image.stat().st_mtime_ns)
    first = json.loads((copied_run / "results.json").read_text())
    (copied_run / "results.json").unlink()
    (copied_run / "report.html").unlink()
    again = adapt(load_run_config(copied_run), out=copied_run, resume=True, device="cpu").results
    assert (checkpoint.stat().st_mtime_ns, image.stat().st_mtime_ns) == before
    volatile = {"seconds": None, "finished": None}
    assert again | {"run": again["run"] | volatile} == first | {"run": first["run"] | volatile}
    assert (copied_run / "report.html").is_file()


def test_an_existing_folder_is_never_mixed_with_a_new_run(domains_folder, finished_run, tmp_path):
    (tmp_path / "thesis.txt").touch()
    for out, found in (
        (tmp_path, "no run of medi2i"),
        (tmp_path / "thesis.txt", "a file"),
        (finished_run, "a run"),
    ):
        with pytest.raises(OutputExistsError, match=found):
            adapt(histogram(domains_folder), out=out, device="cpu")
    with pytest.raises(OutputExistsError, match="no run of medi2i"):
        adapt(histogram(domains_folder), out=tmp_path, resume=True, device="cpu")


def test_a_plan_says_what_would_be_done_and_writes_nothing(domains_folder, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    plan = describe_job(tiny(domains_folder), out=tmp_path / "run", device="cpu")
    assert plan["reads"]["source"]["n_images"] == plan["reads"]["target"]["n_images"] == 12
    assert plan["trains"]["method"] == "cyclegan"
    assert (plan["trains"]["steps"], plan["trains"]["crop_size"], plan["trains"]["device"]) == (4, 32, "cpu")
    config = tiny(domains_folder).adapter
    assert plan["trains"]["parameters"] == sum(p.numel() for p in config.build(seed=0).parameters())
    assert plan["trains"]["estimated_minutes"] >= 0
    assert plan["trains"]["peak_memory_mib"] > 50
    assert plan["writes"]["images"] == 12
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def presets(monkeypatch, tmp_path):
    for name, seed in (("cyclegan", 1), ("cyclegan_laptop", 2), ("identity", 3)):
        content = {"seed": seed, "adapter": {"name": name.split("_")[0]}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(config_module, "preset_folder", lambda command: tmp_path)


@pytest.mark.usefixtures("presets")
@pytest.mark.parametrize(
    ("method", "config", "device", "gpu", "seed"),
    [
        (None, None, "cpu", False, 2),
        (None, None, "cpu", True, 2),
        (None, None, "auto", False, 2),
        (None, None, "auto", True, 1),
        ("cyclegan", None, "cuda", True, 1),
        ("cyclegan", "cyclegan", "cpu", False, 1),
        ("identity", None, "cpu", False, 3),
        ("identity", None, "auto", True, 3),
    ],
)
def test_the_preset_follows_method_and_device(monkeypatch, method, config, device, gpu, seed):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert choose_config(method, config, [], device).seed == seed


@pytest.mark.usefixtures("presets")
def test_a_config_of_another_method_is_an_error():
    with pytest.raises(ConfigError, match="method 'cyclegan'; expected method 'identity'"):
        choose_config("identity", "cyclegan", [], "cpu")
    with pytest.raises(ConfigError, match="did you mean 'cyclegan'"):
        choose_config("cycelgan", None, [], "cpu")


def test_default_run_folders_are_numbered(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    day = datetime.datetime(2031, 2, 3)
    assert default_run_folder("munit", day) == Path("runs/2031-02-03-munit")
    for name in ("2031-02-03-munit", "2031-02-03-munit-2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert default_run_folder("munit", day) == Path("runs/2031-02-03-munit-3")
