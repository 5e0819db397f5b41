"""A whole evaluation, at the command line, of a run that changes nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_data import STRUCTURES, TARGET_SHAPE, make_masks, make_scene, save_png, write_patients

from medi2i import choose_config, import_weights
from medi2i.config import dump_config
from medi2i.errors import CheckpointError, ConfigError, InterruptedRunError, UsageError
from medi2i.io.masks import write_mask_folder
from medi2i.proof import EvaluateConfig, evaluate, examination
from medi2i.report.results import read_results
from tests.adaptation.published import Reference, save
from tests.segmentation.squares import tiny_config

SMALL = {
    "side_px": 64,
    "calibration_patients": 2,
    "tested_patients": 2,
    "content_images": 1,
    "hidden_images": 1,
    "worst": 2,
    "workers": 1,
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Path:
    """The smallest evaluation: four phantom patients, segmenters of six steps, two folds."""
    folder = tmp_path_factory.mktemp("settings")
    (folder / "segmenter.yaml").write_text(dump_config(tiny_config()))
    downstream = {"folds": 2, "segmenter": {"config": str(folder / "segmenter.yaml")}}
    path = folder / "small.yaml"
    path.write_text(json.dumps({"preservation": SMALL, "downstream": downstream}))
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """Six labelled films of six patients; the labels are the source's, under other names."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(6):
        name = f"test_{number}"
        save_png(folder / "images" / f"{name}.png", make_scene(100 + number, TARGET_SHAPE, film=True), bits=8)
        write_mask_folder(folder / "masks" / name, make_masks(TARGET_SHAPE), ("cardiac", "lung"))
    (folder / "dataset.json").write_text(json.dumps({"structures": ["cardiac", "lung"]}))
    write_patients(folder, [(f"test_{number}.png", f"tested-{number}") for number in range(6)])
    return folder


@pytest.fixture(scope="module")
def evaluated(identity_run, settings, films, tmp_path_factory) -> Path:
    """A run that was evaluated with labelled films."""
    run = Path(shutil.copytree(identity_run, tmp_path_factory.mktemp("evaluated") / "run"))
    config = EvaluateConfig.model_validate(json.loads(settings.read_text()))
    downstream = config.downstream.model_copy(update={"seeds": (0,), "structures": {"cardiac": ("heart",)}})
    evaluate(run, config.model_copy(update={"downstream": downstream}), target_labels=films, device="cpu")
    return run


@pytest.fixture
def judged(evaluated, identity_run, tmp_path) -> Path:
    """A run whose controls are there already: they don't depend on it, and are not computed again."""
    run = Path(shutil.copytree(identity_run, tmp_path / "run"))
    shutil.copytree(evaluated / "evaluation" / "controls", run / "evaluation" / "controls")
    return run


def test_the_results_begin_with_the_verdict_and_keep_what_adapt_measured(evaluated, identity_run):
    results = json.loads((evaluated / "results.json").read_text())
    assert list(results)[:3] == ["verdict", "valid", "gap_closed"]
    before = json.loads((identity_run / "results.json").read_text())
    assert {key: results[key] for key in before} == before
    assert {"controls", "preservation", "realism", "downstream"} <= set(results)
    # four phantom patients are too few to know what the instruments find
    assert results["controls"]["state"] == "underpowered"
    assert (results["verdict"]["name"], results["valid"]) == ("cannot tell", True)
    assert "2 patients for thresholds, 10 needed" in results["verdict"]["reason"]
    assert read_results(evaluated / "results.json").verdict.name == results["verdict"]["name"]


def test_published_weights_are_judged_like_a_run_of_our_own(evaluated, domains_folder, settings, tmp_path):
    there, back = (save(Reference(seed=seed), tmp_path / f"{seed}.pth") for seed in (1, 2))
    config = choose_config("imported", None, ["evaluation.feature_size=64", "data.working_size=40"], "cpu")
    folders = {"source": str(domains_folder / "src"), "target": str(domains_folder / "tgt")}
    run = tmp_path / "run"
    import_weights(there, config.model_copy(update=folders), out=run, back=back, device="cpu")
    # the controls don't depend on the run
    shutil.copytree(evaluated / "evaluation" / "controls", run / "evaluation" / "controls")
    evaluate(run, EvaluateConfig.model_validate(json.loads(settings.read_text())), device="cpu")
    results = read_results(run / "results.json")
    assert results.run.method == "imported"
    assert results.preservation is not None and results.preservation.n_images == 12
    # random weights keep nothing of an image
    assert all(structure.kept == 0 for structure in results.preservation.structures)
    assert "imported" in (run / "report.html").read_text()


def test_the_certificate_has_a_row_for_each_image_and_structure(evaluated):
    rows = [json.loads(line) for line in (evaluated / "certificate.jsonl").read_text().splitlines()]
    ids = [f"source-{number:04d}" for number in range(12)]
    assert [(row["id"], row["structure"]) for row in rows] == [(i, s) for i in ids for s in STRUCTURES]
    assert not [row for row in rows if row["preserved"] is False]  # nothing was changed


def test_the_page_and_tables_are_written_and_name_no_file_or_patient(evaluated):
    page = (evaluated / "report.html").read_text()
    assert "Exploratory" in page
    tables = {path.name for path in (evaluated / "tables").iterdir()}
    assert tables == {"controls.csv", "downstream.csv", "preservation.csv"}
    for path in (evaluated / "report.html", evaluated / "results.json", evaluated / "certificate.jsonl"):
        text = path.read_text()
        assert "tested-1" not in text
        assert "test_1" not in text


def test_an_evaluation_without_films_says_what_cannot_be_known(judged, settings, run_cli):
    ended = run_cli("evaluate", judged, "--config", settings, "--device", "cpu")
    assert ended.code == 0
    assert "verdict: cannot tell" in ended.out
    results = json.loads((judged / "results.json").read_text())
    assert results["downstream"] is None
    assert results["gap_closed"] is None
    assert np.isfinite(results["realism"]["rows"]["translated"]["energy"])


def test_an_interrupted_evaluation_leaves_the_results_as_they_were(judged, settings, monkeypatch):
    before = (judged / "results.json").read_bytes()

    def interrupt(*arguments, **others):
        raise InterruptedRunError("run", found="a request to stop", expected="to finish", remedy="again")

    monkeypatch.setattr(examination, "measure_realism", interrupt)
    with pytest.raises(InterruptedRunError):
        evaluate(judged, EvaluateConfig.model_validate(json.loads(settings.read_text())), device="cpu")
    assert (judged / "results.json").read_bytes() == before
    assert not (judged / "tables").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--target-labels", ".", "--few-shot", "0,many"], "--few-shot 0,many: something that is no number"),
        (["--target-labels", ".", "--map", "cardiac"], "--map cardiac: no LABEL=STRUCTURE"),
        (["--map", "cardiac=heart", "--seeds", "1"], "--seeds, --map: no --target-labels"),
        (["--shard", "1/2"], "--shard: no --target-labels"),
        (["--target-labels", ".", "--shard", "3/2"], "--shard 3/2"),
        (["--target-labels", "nowhere"], "nowhere: no such file or folder"),
        (["--set", "downstream.fold=3"], "did you mean 'folds'"),
    ],
)
def test_wrong_options_are_named(identity_run, run_cli, options, error):
    ended = run_cli("evaluate", identity_run, *options)
    assert ended.code == 2
    assert error in ended.error


def test_results_on_films_are_not_lost_by_an_evaluation_without_them(evaluated, settings, run_cli):
    before = (evaluated / "results.json").read_bytes()
    ended = run_cli("evaluate", evaluated, "--config", settings)
    assert ended.code == 2
    assert "no --target-labels now" in ended.error
    assert (evaluated / "results.json").read_bytes() == before


def test_no_film_and_no_source_image_stays_in_the_working_folder(evaluated):
    assert not (evaluated / "evaluation" / "data").exists()


def test_what_an_evaluation_examined_is_not_examined_again(judged, settings, monkeypatch):
    config = EvaluateConfig.model_validate(json.loads(settings.read_text()))
    first = evaluate(judged, config, device="cpu").results

    def never(*arguments, **others):
        raise AssertionError("examined again")

    monkeypatch.setattr(examination, "measure_preservation", never)
    assert evaluate(judged, config, device="cpu").results == first


def test_what_another_evaluation_finished_is_taken_over(
    evaluated, identity_run, settings, films, tmp_path, monkeypatch
):
    run = Path(shutil.copytree(identity_run, tmp_path / "run"))

    def never(*arguments, **others):
        raise AssertionError("made again")

    monkeypatch.setattr("medi2i.downstream.trainings.train_on", never)
    monkeypatch.setattr("medi2i.preservation.controls.phantom_pairs", never)
    config = EvaluateConfig.model_validate(json.loads(settings.read_text()))
    downstream = config.downstream.model_copy(update={"seeds": (0,), "structures": {"cardiac": ("heart",)}})
    config = config.model_copy(update={"downstream": downstream})
    results = evaluate(run, config, target_labels=films, like=evaluated, device="cpu").results
    theirs = json.loads((evaluated / "results.json").read_text())
    assert results["downstream"] == theirs["downstream"]
    assert results["controls"] == theirs["controls"]


def test_a_run_that_was_not_evaluated_lends_nothing(identity_run, settings, tmp_path):
    run = Path(shutil.copytree(identity_run, tmp_path / "run"))
    config = EvaluateConfig.model_validate(json.loads(settings.read_text()))
    with pytest.raises(UsageError, match="no evaluation/ in it"):
        evaluate(run, config, like=identity_run, device="cpu")


def test_shares_at_the_command_line(judged, settings, films, run_cli):
    asked = ("evaluate", judged, "--target-labels", films, "--map", "cardiac=heart", "--seeds", "1")
    options = (*asked, "--config", settings, "--device", "cpu")
    for word in ("run them again", "run it without --shard"):
        for share in ("1/2", "2/2"):
            ended = run_cli(*options, "--shard", share)
            assert (ended.code, word in " ".join(ended.out.split())) == (0, True), ended
    assert "verdict" not in json.loads((judged / "results.json").read_text())
    ended = run_cli(*options, "--jobs", "1")
    assert ended.code == 0
    assert "verdict: cannot tell" in ended.out


def test_several_processes_come_to_the_same_results(evaluated, judged, settings, films):
    """Thread counts may change a sum's last digits, and three steps of training make little of it."""
    config = EvaluateConfig.model_validate(json.loads(settings.read_text()))
    downstream = config.downstream.model_copy(update={"seeds": (0,), "structures": {"cardiac": ("heart",)}})
    config = config.model_copy(update={"downstream": downstream})
    results = evaluate(judged, config, target_labels=films, device="cpu", jobs=2).results
    theirs = json.loads((evaluated / "results.json").read_text())
    ours = {row["name"]: row["mean"]["dice"]["estimate"] for row in results["downstream"]["rows"]}
    for row in theirs["downstream"]["rows"]:
        assert ours[row["name"]] == pytest.approx(row["mean"]["dice"]["estimate"], abs=1e-3), row["name"]
    assert results["preservation"] == theirs["preservation"]
    logs = {path.name for path in (judged / "evaluation").glob("*.log")}
    assert logs == {"examination.log", "share-1-of-2.log", "share-2-of-2.log"}
    assert "trained and scored" in (judged / "evaluation" / "share-2-of-2.log").read_text()


def test_what_a_process_refuses_is_said_by_the_caller(judged, settings, films):
    config = EvaluateConfig.model_validate(json.loads(settings.read_text()))
    segmenter = {"config": "laptop", "set": ["training.steps=0"]}
    downstream = config.downstream.model_validate(
        {"segmenter": segmenter, "seeds": [0], "structures": {"cardiac": ["heart"]}}
    )
    config = config.model_copy(update={"downstream": downstream})
    with pytest.raises(ConfigError, match="steps"):
        evaluate(judged, config, target_labels=films, device="cpu", jobs=2)


def test_a_run_that_is_not_there_is_wrong_usage(tmp_path, run_cli):
    ended = run_cli("evaluate", tmp_path / "nowhere")
    assert ended.code == 2
    assert "nowhere: no such folder" in ended.error


def test_a_run_that_did_not_end_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no readable results"):
        evaluate(tmp_path, device="cpu")
