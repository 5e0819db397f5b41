import shutil

import numpy as np
import pytest
import torch
from tiny_data import SOURCE_SHAPE, TARGET_SHAPE, make_scene, save_dicom, write_patients, write_source

from medi2i import adapt
from medi2i.adaptation import AdaptConfig
from medi2i.adaptation.stages import check_settings
from medi2i.errors import CheckpointError, ConfigError, OutputExistsError, UsageError
from tests.adaptation.jobs import check_error, histogram, tiny


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


@pytest.mark.parametrize(
    ("adapter", "data", "message"),
    [
        ("tone", {"working_size": 64, "crop_size": 32}, "trains on whole images; set data.crop_size=64"),
        ("tone", {"working_size": None, "crop_size": 32}, "working_size null.*; set data.working_size=32"),
        ("cyclegan", {"working_size": 32, "crop_size": 64}, "64, larger than data.working_size, 32"),
    ],
)
def test_crops_that_do_not_fit_the_method_or_the_images_are_refused(
    domains_folder, tmp_path, adapter, data, message
):
    job = tiny(domains_folder, adapter={"name": adapter}, data=data)
    check_error(ConfigError, job, tmp_path / "run", message)


def test_a_method_that_learns_nothing_has_no_crops(domains_folder):
    job = histogram(domains_folder, data={"working_size": 32})
    assert check_settings(job, domains_folder).players == ()


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


def test_a_method_that_trains_needs_a_training_section(own_domains, tmp_path):
    config = tiny(own_domains).model_copy(update={"training": None})
    check_error(ConfigError, config, tmp_path / "run", "'training' with 'steps' or 'epochs'")


def test_a_domain_that_is_not_given_is_named(tmp_path):
    check_error(UsageError, AdaptConfig(source="somewhere"), tmp_path / "run", "--tgt: nothing")


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
    check_error(CheckpointError, other_method, tmp_path / "run", "a checkpoint of method 'identity'")
    other_size = tiny(domains_folder, "adapter.generator.width=6", init_from=str(finished_run))
    check_error(CheckpointError, other_size, tmp_path / "run", "weights of another network")
    nothing = tiny(domains_folder, init_from=str(tmp_path / "nowhere"))
    check_error(CheckpointError, nothing, tmp_path / "run", "no checkpoint 'BEST'")


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
