import errno
import json
import os
import re
import shutil
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from tiny_data import (
    SOURCE_SHAPE,
    make_masks,
    make_scene,
    save_png,
    write_patients,
    write_source,
    write_target,
)

from medi2i import adaptation
from medi2i.adapters.baselines import Identity
from medi2i.cli import installation
from medi2i.errors import InterruptedRunError
from medi2i.io.hold import hold_folder
from medi2i.io.masks import write_mask_nifti
from medi2i.report import describe
from tests.rendering import cts

ALIKE = ("--method", "histogram", "--set", "evaluation.feature_size=64", "--device", "cpu")


@pytest.fixture
def job(domains_folder, tmp_path):
    """Arguments of the fastest whole job into `tmp_path/run`."""
    return [
        "adapt",
        "--src",
        domains_folder / "src",
        "--tgt",
        domains_folder / "tgt",
        *ALIKE,
        "--out",
        tmp_path / "run",
    ]


@pytest.fixture
def own_domains(domains_folder, tmp_path) -> Path:
    return Path(shutil.copytree(domains_folder, tmp_path / "domains"))


def test_a_finished_job_ends_with_0_and_says_where_everything_is(run_cli, job, tmp_path):
    ended = run_cli(*job)
    assert ended.code == 0
    run = tmp_path / "run"
    assert ended.out.splitlines()[0] == f"run: {run}"
    for path in (run / "translated", run / "checkpoints", run / "results.json", run / "report.html"):
        assert str(path) in ended.out
        assert path.exists()
    results = json.loads((run / "results.json").read_text())
    assert f"identity {results['distance']['identity']:.3f}" in ended.out
    median = results["structure"]["translated"]["gradient_correlation"]["median"]
    assert f"median gradient correlation): {median:.3f}" in ended.out
    verdict, *_ = describe(results)
    paragraphs = ended.out.split("\n\n")
    assert len(paragraphs) == 5
    assert " ".join(paragraphs[1].split()) == verdict
    assert max(map(len, "\n".join(paragraphs[1:]).splitlines())) <= 100
    assert "nvImageCodec" not in ended.err


def test_progress_goes_to_stderr_in_plain_lines(run_cli, job):
    ended = run_cli(*job)
    assert "reading source: 12/12, 0 s left" in ended.err
    assert "translating: 12/12" in ended.err
    assert "\r" not in ended.err
    assert "/12" not in ended.out


def test_without_out_the_run_is_named_by_date_and_method_and_said_first(run_cli, job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = run_cli(*job[:-2])
    assert ended.code == 0
    first = ended.out.splitlines()[0]
    assert re.fullmatch(r"run: runs/\d{4}-\d\d-\d\d-histogram", first)
    assert (tmp_path / first.removeprefix("run: ") / "report.html").is_file()


def test_undefined_results_are_printed_too(run_cli, tmp_path):
    write_source(tmp_path / "src", images=3, patients=3)
    write_target(tmp_path / "tgt", images=3)
    ended = run_cli(
        "adapt", "--src", tmp_path / "src", "--tgt", tmp_path / "tgt", *ALIKE, "--out", tmp_path / "run"
    )
    assert ended.code == 0
    assert "warning: target: fewer than four patients" in ended.out


@pytest.mark.parametrize("arguments", [(), ("--help",), ("adapt", "--help"), ("translate", "--help")])
def test_help_documents_the_exit_codes(run_cli, arguments):
    ended = run_cli(*arguments)
    text = " ".join((ended.out + ended.err).split())
    for code in (
        "0 done",
        "2 wrong usage",
        "3 done with skipped inputs",
        "4 nothing",
        "5 interrupted",
        "1 other",
    ):
        assert code in text


def test_the_version_is_shown(run_cli):
    ended = run_cli("--version")
    assert (ended.code, ended.out) == (0, "medi2i 0.1.0\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("adept",),
        ("adapt", "--sorce", "x"),
        ("adapt", "--device", "tpu"),
        ("translate",),
        ("translate", "a", "b"),
    ],
)
def test_unknown_commands_options_and_choices_are_wrong_usage(run_cli, arguments):
    ended = run_cli(*arguments)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert "Usage" in ended.err


def check_ending(ended, code: int, *words: str) -> None:
    assert ended.code == code, ended.err
    for word in words:
        assert word in ended.error, ended.error


def test_a_missing_domain_is_named(run_cli, domains_folder, tmp_path):
    check_ending(run_cli("adapt", "--tgt", domains_folder / "tgt"), 2, "--src: nothing", "give it")
    arguments = ("adapt", "--src", tmp_path / "nowhere", "--tgt", domains_folder / "tgt", *ALIKE)
    check_ending(
        run_cli(*arguments, "--out", tmp_path / "run"), 2, str(tmp_path / "nowhere"), "no such file or folder"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there_is_named(run_cli, job):
    job[job.index("cpu")] = "cuda"
    check_ending(run_cli(*job), 2, "--device cuda: no such device", "cpu")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "data.crop_sise=32"), ("data.crop_sise: unknown key", "did you mean 'crop_size'")),
        (("--set", "seed"), ("--set seed: no 'key=value'",)),
        (("--set", "seed=-1"), ("seed: Input should be greater than or equal to 0",)),
        (("--config", "identitiy"), ("identitiy: no such preset", "did you mean 'identity'")),
        (("--config", "identity"), ("method 'identity'", "expected method 'histogram'")),
        (("--config", "missing.yaml"), ("missing.yaml: no such preset or YAML file",)),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_read(run_cli, job, tmp_path, arguments, words):
    check_ending(run_cli(*job, *arguments), 2, *words)
    assert not (tmp_path / "run").exists()


def test_an_unknown_method_suggests_the_nearest(run_cli):
    check_ending(run_cli("adapt", "--method", "histogramm"), 2, "did you mean 'histogram'")


def test_an_output_folder_that_is_no_run_is_left_alone(run_cli, job, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    check_ending(run_cli(*job), 2, "a folder that is no run of medi2i", "choose another --out")
    check_ending(run_cli("adapt", "--resume", "--out", tmp_path / "run"), 2, "no run", "config.yaml")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_an_output_folder_that_is_a_run_asks_for_resume(run_cli, job, finished_run):
    before = (finished_run / "results.json").stat().st_mtime_ns
    check_ending(run_cli(*job[:-1], finished_run), 2, "a run", "continue it with --resume")
    assert (finished_run / "results.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "settings", [("--method", "cyclegan"), ("--set", "seed=1"), ("--config", "identity"), ("--truth", "x")]
)
def test_resume_takes_no_settings(run_cli, finished_run, settings):
    check_ending(
        run_cli("adapt", "--resume", "--out", finished_run, *settings), 2, "--resume: settings beside it"
    )


def test_resume_needs_a_run(run_cli, tmp_path):
    check_ending(run_cli("adapt", "--resume"), 2, "--resume: no --out")
    check_ending(run_cli("adapt", "--resume", "--out", tmp_path / "nowhere"), 2, "no run")


def test_resume_finishes_what_is_missing(run_cli, copied_run):
    (copied_run / "results.json").unlink()
    shutil.rmtree(copied_run / "translated")
    ended = run_cli("adapt", "--resume", "--out", copied_run, "--device", "cpu")
    assert ended.code == 0
    assert len(list((copied_run / "translated" / "images").iterdir())) == 12
    assert (copied_run / "results.json").is_file()


def test_the_same_domain_twice_is_an_error(run_cli, job, domains_folder):
    job[job.index(domains_folder / "tgt")] = domains_folder / "src"
    check_ending(run_cli(*job), 2, "12 image(s) with the same content", "check --src and --tgt")


def test_one_broken_image_is_skipped_counted_and_listed(run_cli, own_domains, tmp_path):
    (own_domains / "src" / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    shutil.rmtree(own_domains / "src" / "masks")
    (own_domains / "src" / "notes.txt").write_text("not counted")
    domains = ("--src", own_domains / "src", "--tgt", own_domains / "tgt")
    ended = run_cli("adapt", *domains, *ALIKE, "--out", tmp_path / "run")
    assert ended.code == 3
    assert f"skipped: 1 image(s), listed in {tmp_path / 'run' / 'skipped.jsonl'}" in ended.out
    listed = [json.loads(line) for line in (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()]
    assert [(one["domain"], one["file"]) for one in listed] == [("source", "images/broken.png")]
    assert json.loads((tmp_path / "run" / "results.json").read_text())["data"]["source"]["n_skipped"] == 1


def test_translate_names_what_it_skipped(run_cli, identity_run, tmp_path):
    save_png(tmp_path / "in" / "good.png", make_scene(0, SOURCE_SHAPE))
    (tmp_path / "in" / "broken.dcm").write_bytes(b"nothing")
    ended = run_cli("translate", identity_run, tmp_path / "in", "--out", tmp_path / "out", "--device", "cpu")
    assert ended.code == 3
    assert "  broken.dcm: " in ended.out
    assert (tmp_path / "out" / "images" / "good.png").is_file()


def test_an_empty_folder_has_nothing_usable(run_cli, job, domains_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    job[job.index(domains_folder / "src")] = tmp_path / "empty"
    check_ending(run_cli(*job), 4, str(tmp_path / "empty"), "no image", "DICOM")
    assert not (tmp_path / "run").exists()


def test_a_folder_of_broken_images_has_nothing_usable(run_cli, job, identity_run, domains_folder, tmp_path):
    for number in range(3):
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / f"{number}.dcm").write_bytes(b"nothing")
    job[job.index(domains_folder / "src")] = tmp_path / "bad"
    check_ending(run_cli(*job), 4, "3 image(s), none usable; the first: 0.dcm")
    arguments = ("translate", identity_run, tmp_path / "bad", "--out", tmp_path / "out", "--device", "cpu")
    check_ending(run_cli(*arguments), 4, "3 image(s), none usable")
    assert not (tmp_path / "run").exists() and not (tmp_path / "out").exists()


def failing(error: BaseException):
    def fail(*arguments: object, **options: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        InterruptedRunError("run", found="a request", expected="to finish", remedy="--resume"),
    ],
)
def test_an_interruption_has_its_own_code(run_cli, job, monkeypatch, error):
    monkeypatch.setattr(adaptation, "adapt", failing(error))
    ended = run_cli(*job)
    assert ended.code == 5
    assert ended.error


def test_what_nobody_foresaw_is_one_line_without_its_words(run_cli, job, monkeypatch):
    monkeypatch.setattr(adaptation, "adapt", failing(TypeError("Doe^Jane is no number")))
    ended = run_cli(*job)
    check_ending(ended, 1, "TypeError at ", "--debug")
    assert "Doe" not in ended.out + ended.err
    ended = run_cli("--debug", *job)
    assert ended.code == 1
    assert "Traceback (most recent call last)" in ended.err
    assert "Doe^Jane is no number" in ended.err
    check_ending(run_cli(*job), 1, "TypeError")  # and not the next time


def test_debug_shows_where_a_foreseen_error_is_from_too(run_cli, job, tmp_path):
    (tmp_path / "file").touch()
    given = ("adapt", "--src", tmp_path / "nowhere", "--tgt", tmp_path / "file")
    assert "Traceback" not in run_cli(*given).err
    ended = run_cli("--debug", *given)
    assert "Traceback" in ended.err
    assert ended.code == 2


def test_libraries_below_their_floor_are_refused_at_the_start(run_cli, job, monkeypatch):
    there = {"torch": "2.6.0", "pydicom": "3.0.1"}
    real = installation.version
    monkeypatch.setattr(installation, "version", lambda name: there.get(name) or real(name))
    ended = run_cli(*job)
    check_ending(ended, 1, "torch 2.6.0", "pydicom 3.0.1", "pip install 'pydicom>=3.0.2'")
    assert run_cli("--help").code == 0
    there.clear()

    def absent(name: str) -> str:
        if name == "nibabel":
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(installation, "version", absent)
    check_ending(run_cli(*job), 1, "nibabel none")


@pytest.mark.parametrize(
    "wanted", ["torch>=2.10", "monai>=1.6", "pydicom>=3.0.2", "jinja2>=3.1.6", "pillow>=11.3"]
)
def test_the_floors_are_free_of_the_holes_that_are_known(wanted):
    """CVE-2025-32434 and CVE-2026-24747; GHSA-89gg; CVE-2026-32711; CVE-2025-27516; CVE-2025-48379."""
    needed = Requirement(wanted)
    (stated,) = [r for r in map(Requirement, requires("medi2i")) if r.name == needed.name and not r.marker]
    (floor,) = [part.version for part in stated.specifier if part.operator == ">="]
    assert needed.specifier.contains(floor)


def test_a_full_disk_is_one_line(run_cli, job, monkeypatch):
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/log.jsonl")
    monkeypatch.setattr(adaptation, "adapt", failing(error))
    check_ending(run_cli(*job), 1, "run/log.jsonl: No space left on device")


def test_masks_that_do_not_fit_are_one_line(run_cli, own_domains, tmp_path):
    write_mask_nifti(
        own_domains / "src" / "masks" / "drr_03.nii.gz", make_masks((8, 8 + 24)), spacing_mm=None
    )
    domains = ("--src", own_domains / "src", "--tgt", own_domains / "tgt")
    ended = run_cli("adapt", *domains, *ALIKE, "--out", tmp_path / "run")
    check_ending(ended, 1, "drr_03.nii.gz", "8 rows x 32 columns", "the image's 32 x 40", "resample")
    assert not (tmp_path / "run").exists()


def test_a_patient_on_two_sides_is_one_line(run_cli, own_domains, tmp_path):
    rows = [(f"drr_{n:02d}.png", "p", ("test", "validation", "train")[n % 3]) for n in range(12)]
    write_patients(own_domains / "src", rows, "file,patient,split")
    domains = ("--src", own_domains / "src", "--tgt", own_domains / "tgt")
    ended = run_cli("adapt", *domains, *ALIKE, "--out", tmp_path / "run")
    check_ending(ended, 1, "one patient in 'test' and in 'validation'", "patients.csv")


def test_a_damaged_checkpoint_is_one_line(run_cli, copied_run, domains_folder, tmp_path):
    best = copied_run / "checkpoints" / (copied_run / "checkpoints" / "BEST").read_text()
    (best / "networks.safetensors").write_bytes(b"damaged")
    arguments = (
        "translate",
        copied_run,
        domains_folder / "src",
        "--out",
        tmp_path / "out",
        "--device",
        "cpu",
    )
    check_ending(run_cli(*arguments), 1, best.name, "a damaged checkpoint")


def test_a_folder_that_is_no_run_is_one_line(run_cli, domains_folder, tmp_path):
    arguments = ("translate", tmp_path, domains_folder / "src", "--out", tmp_path / "out", "--device", "cpu")
    check_ending(run_cli(*arguments), 1, "no checkpoint 'BEST'", "expected a run folder")
    check_ending(run_cli("report", tmp_path), 1, "results.json")


def test_a_run_folder_that_is_not_there_is_wrong_usage(run_cli, domains_folder, tmp_path):
    arguments = ("translate", tmp_path / "none", domains_folder / "src", "--out", tmp_path / "out")
    check_ending(run_cli(*arguments, "--device", "cpu"), 2, "none: no such folder", "a run of medi2i adapt")
    assert not (tmp_path / "out").exists()


def test_a_way_back_that_is_not_learned_leaves_nothing(
    run_cli, identity_run, domains_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(Identity, "bidirectional", False)
    arguments = ("translate", identity_run, domains_folder / "tgt", "--out", tmp_path / "out")
    ended = run_cli(*arguments, "--device", "cpu", "--direction", "target-to-source")
    check_ending(ended, 2, "--direction target-to-source", "method 'identity'", "it learns one way only")
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(run_cli, domains_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    domains = ("--src", domains_folder / "src", "--tgt", domains_folder / "tgt")
    ended = run_cli(
        "adapt", *domains, "--config", domains_folder / "tiny.yaml", "--device", "cpu", "--dry-run"
    )
    assert ended.code == 0
    for word in (
        "reads:",
        "trains:",
        "writes:",
        "method: cyclegan",
        "steps: 4",
        "estimated_minutes",
        "images: 12",
    ):
        assert word in ended.out
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_a_resumed_run_says_what_is_left(run_cli, copied_run):
    (copied_run / "results.json").unlink()
    ended = run_cli("adapt", "--resume", "--dry-run", "--out", copied_run, "--device", "cpu")
    assert ended.code == 0
    left = "left:\n  training_steps: 0\n  images_to_translate: 0\n"
    assert left in ended.out
    assert not (copied_run / "results.json").exists()


def test_a_dry_run_finds_the_same_errors(run_cli, job, domains_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    job[job.index(domains_folder / "src")] = tmp_path / "empty"
    check_ending(run_cli(*job, "--dry-run"), 4, "no image")


def test_settings_on_the_command_line_are_in_the_runs_config(run_cli, job, domains_folder, tmp_path):
    ended = run_cli(*job, "--set", "seed=5", "--set", "evaluation.worst=1")
    assert ended.code == 0
    config = adaptation.load_run_config(tmp_path / "run")
    assert (config.seed, config.evaluation.worst, config.evaluation.feature_size) == (5, 1, 64)
    assert config.source == str((domains_folder / "src").resolve())
    assert [path.name for path in (tmp_path / "run" / "worst").iterdir()] == ["worst-1.png"]


def test_truth_is_an_option(run_cli, job, tmp_path):
    for number in range(12):
        save_png(tmp_path / "truth" / f"drr_{number:02d}.png", make_scene(number, SOURCE_SHAPE, film=True))
    assert run_cli(*job, "--truth", tmp_path / "truth").code == 0
    assert json.loads((tmp_path / "run" / "results.json").read_text())["truth"]["n_images"] == 4


def test_the_way_back_is_an_option(run_cli, finished_run, domains_folder, tmp_path):
    arguments = (
        "translate",
        finished_run,
        domains_folder / "tgt",
        "--out",
        tmp_path / "out",
        "--device",
        "cpu",
    )
    ended = run_cli(*arguments, "--direction", "target-to-source")
    assert ended.code == 0
    assert f"provenance: {tmp_path / 'out' / 'provenance.jsonl'}" in ended.out
    first = json.loads((tmp_path / "out" / "provenance.jsonl").read_text().splitlines()[0])
    assert first["direction"] == "target-to-source"


def test_a_report_is_written_anew(run_cli, copied_run):
    (copied_run / "report.html").unlink()
    ended = run_cli("report", copied_run)
    assert (ended.code, ended.out) == (0, f"report: {copied_run / 'report.html'}\n")
    assert (copied_run / "report.html").is_file()


def test_the_phantom_is_made_where_nothing_is(run_cli, tmp_path):
    few = ("--set", "source_patients=1", "--set", "target_patients=1", "--set", "geometry.rows=24")
    arguments = ("phantom", "--out", tmp_path / "data", *few, "--set", "geometry.columns=24")
    assert run_cli(*arguments).code == 0
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"drr", "xray", "truth"}
    check_ending(run_cli(*arguments), 2, str(tmp_path / "data"))


def test_a_folder_that_another_call_writes_to_is_refused_by_every_long_command(
    run_cli, domains_folder, identity_run, tmp_path
):
    source, target, out, evaluated = (
        domains_folder / "src",
        domains_folder / "tgt",
        tmp_path / "out",
        tmp_path / "run",
    )
    shutil.copytree(identity_run, evaluated)
    config = ["--config", domains_folder / "tiny.yaml"]
    cts.write_patients(tmp_path / "ct", 1)
    calls = [
        (out, "adapt", "--src", source, "--tgt", target, *config, "--out", out),
        (out, "translate", identity_run, source, "--out", out),
        (out, "segment", "train", source, "--config", "laptop", "--out", out),
        (out, "drr", tmp_path / "ct", "--out", out),
        (out, "synthesize", identity_run, "--from", source, "--no-gate", "--out", out),
        (out, "benchmark", "phantom_structure", "--out", out),
        (evaluated, "evaluate", evaluated),
    ]
    for folder, *arguments in calls:
        with hold_folder(folder):
            ended = run_cli(*arguments, "--device", "cpu")
        assert ended.code == 2, arguments
        assert f"process {os.getpid()} that is writing there now" in ended.error, arguments
