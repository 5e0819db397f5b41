import json

import pytest
import torch
from tiny_data import write_patients, write_source, write_target

from medi2i import adapt, load_run_config
from medi2i.adaptation.results import keep_added
from medi2i.data.manifest import read_manifest
from medi2i.data.outputs import read_provenance
from tests.adaptation.jobs import histogram

RESULT_KEYS = {
    "format",
    "medi2i",
    "versions",
    "run",
    "data",
    "warnings",
    "distance",
    "distance_groups",
    "distance_held_out_source",
    "floors",
    "n_undefined_features",
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


@pytest.fixture(scope="module")
def results(finished_run):
    return json.loads((finished_run / "results.json").read_text())


def test_results_have_the_documented_keys(results):
    assert set(results) == RESULT_KEYS
    assert set(results["distance"]) == {"floor", *METHODS}
    assert set(results["distance_groups"]) == {"floor", *METHODS}
    assert all(set(values) == GROUPS for values in results["distance_groups"].values())
    assert set(results["distance_held_out_source"]) == set(results["structure"]) == METHODS
    assert set(results["floors"]) == GROUPS
    for group, floor in results["floors"].items():
        assert floor["mean"] == results["distance_groups"]["floor"][group]
        assert floor["sd"] > 0 and floor["repeats"] == 10
    assert results["n_undefined_features"] == dict.fromkeys(METHODS, 0)
    assert results["versions"]["torch"] == torch.__version__
    assert set(results["versions"]) == {"python", "torch", "monai", "numpy"}
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


def timeless(results: dict) -> dict:
    """Results without what a clock says."""
    return results | {"run": results["run"] | {"seconds": None, "finished": None}}


def test_running_a_runs_config_again_gives_the_same_run(finished_run, results, tmp_path):
    again = adapt(load_run_config(finished_run), out=tmp_path / "again", device="cpu").results
    assert timeless(again) == timeless(results)
    first, second = (read_manifest(run / "manifest.jsonl") for run in (finished_run, tmp_path / "again"))
    assert [row.split for row in first] == [row.split for row in second]
    hashes = [
        [record["output_sha256"] for record in read_provenance(run / "translated")]
        for run in (finished_run, tmp_path / "again")
    ]
    assert hashes[0] == hashes[1]


def test_a_finished_run_is_not_trained_again_when_resumed(copied_run):
    checkpoint = copied_run / "checkpoints" / "step-0000004" / "networks.safetensors"
    image = copied_run / "translated" / "images" / "drr_00.png"
    before = (checkpoint.stat().st_mtime_ns, image.stat().st_mtime_ns)
    first = json.loads((copied_run / "results.json").read_text())
    (copied_run / "results.json").unlink()
    (copied_run / "report.html").unlink()
    again = adapt(load_run_config(copied_run), out=copied_run, resume=True, device="cpu").results
    assert (checkpoint.stat().st_mtime_ns, image.stat().st_mtime_ns) == before
    assert timeless(again) == timeless(first)
    assert (copied_run / "report.html").is_file()


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


def test_measuring_again_keeps_what_other_commands_added_unless_the_weights_changed(results, tmp_path):
    path = tmp_path / "results.json"
    added = {"reader_study": {"trials": 4}, "valid": True, "verdict": {"name": "use"}}
    assert keep_added(path, results) == results
    path.write_text(json.dumps(results | added))
    assert keep_added(path, results) == results | added
    other = results | {"run": results["run"] | {"weights_sha256": "of other weights"}}
    assert keep_added(path, other) == other


def test_results_that_cannot_be_read_are_replaced_and_do_not_end_the_job(results, tmp_path):
    (tmp_path / "results.json").write_text("{")
    assert keep_added(tmp_path / "results.json", results) == results
