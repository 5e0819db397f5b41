"""Methods that train: the same run folder, a resume that changes nothing, and both ways."""

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_data import make_scene, save_png, write_source, write_target

from medi2i import adapt, load_run_config, translate
from medi2i.adaptation import AdaptConfig, stages
from medi2i.data.outputs import read_provenance
from medi2i.errors import InterruptedRunError, UsageError

GENERATOR = {"width": 2, "blocks": 1}
PYRAMID = {"width": 2, "layers": 1, "scales": 2}
SMALL = {"width": 2, "layers": 1, "norm": "none"}
ADAPTERS: dict[str, dict[str, Any]] = {
    "munit": {
        "generator": GENERATOR | {"style_size": 3, "mlp_width": 4},
        "discriminator": PYRAMID,
        "augmentation": {},
    },
    "unit": {"generator": GENERATOR, "discriminator": PYRAMID, "augmentation": {}},
    "opgan": {
        "generator": GENERATOR,
        "discriminator": SMALL,
        "siamese": {"width": 2, "blocks": 1},
        "pool_size": 2,
    },
    "tone": {
        "predictor": {"width": 2, "seen_px": 16},
        "discriminator": SMALL,
        "tone_discriminator": SMALL,
        "window_px": 16,
        "tone_factor": 1,
    },
    "matchgan": {
        "generator": GENERATOR,
        "discriminator": {"width": 2, "layers": 2},
        "critic_steps": 1,
    },
}
BOTH_WAYS = ("matchgan", "munit", "opgan", "unit")
STEPS, STOP_AT = 4, 3
TIMES = re.compile(r"step-\d+")


def config(method: str, domains: Path) -> AdaptConfig:
    return AdaptConfig.model_validate(
        {
            "source": str(domains / "src"),
            "target": str(domains / "tgt"),
            "adapter": {"name": method} | ADAPTERS[method],
            "data": {"working_size": 32, "crop_size": 32},
            "training": {
                "steps": STEPS,
                "batch_size": 4 if method == "matchgan" else 1,  # fewer make no pairs
                "validate_every": 2,
                "preview_every": STOP_AT,
                "log_every": 1,
                "average": 0.9,
            },
            "evaluation": {"feature_size": 64, "floor_repeats": 10, "worst": 1},
        }
    )


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    write_source(folder / "src", images=4, patients=4)
    write_target(folder / "tgt", images=4)
    return folder


@pytest.fixture(scope="module")
def runs(domains: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Finished runs, made when they are asked for."""
    made: dict[str, Path] = {}

    def run(method: str) -> Path:
        if method not in made:
            made[method] = tmp_path_factory.mktemp("runs") / method
            adapt(config(method, domains), out=made[method], device="cpu")
        return made[method]

    return run


def files_of(run: Path) -> set[str]:
    return {TIMES.sub("step", path.relative_to(run).as_posix()) for path in run.rglob("*") if path.is_file()}


def stop_at(step: int) -> Callable[..., Any]:
    """A preview that asks for the end of the job, as `kill` does, and draws nothing."""

    def preview(adapter: object, now: int) -> None:
        if now == step:
            signal.raise_signal(signal.SIGTERM)

    return lambda *args, **options: preview


@pytest.mark.parametrize("method", ADAPTERS)
def test_a_job_that_was_stopped_and_resumed_equals_one_that_was_not(
    method: str,
    domains: Path,
    runs: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    whole, out = runs(method), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(stages, "preview_writer", stop_at(STOP_AT))
        with pytest.raises(InterruptedRunError, match=f"continue at step {STOP_AT} with --resume"):
            adapt(config(method, domains), out=out, device="cpu")
    assert not (out / "translated").exists()
    adapt(load_run_config(out), out=out, resume=True, device="cpu")
    last = Path("checkpoints") / f"step-{STEPS:07d}"
    names = {path.name for path in (whole / last).glob("*.safetensors")}
    assert names == {f"{part}.safetensors" for part in ("networks", "average", "optimizers", "rank-0")}
    for name in names:
        assert (out / last / name).read_bytes() == (whole / last / name).read_bytes(), name
    images = sorted((whole / "translated" / "images").iterdir())
    assert len(images) == 4
    for image in images:
        assert (out / "translated" / "images" / image.name).read_bytes() == image.read_bytes()


def test_the_run_folder_of_every_method_holds_the_same_files(runs: Callable[[str], Path]):
    folders = [files_of(runs(method)) for method in ADAPTERS]
    assert {"report.html", "results.json", "log.jsonl", "checkpoints/step/rank-0.safetensors"} <= folders[0]
    assert all(files == folders[0] for files in folders)


@pytest.mark.parametrize("method", ADAPTERS)
def test_a_method_translates_both_ways_if_it_can(method: str, runs: Callable[[str], Path], tmp_path: Path):
    image = save_png(tmp_path / "one.png", make_scene(9, (32, 40)))
    run = runs(method)
    written = {}
    for direction in ("source-to-target", "target-to-source"):
        if direction == "target-to-source" and method not in BOTH_WAYS:
            with pytest.raises(UsageError, match="learns one way only"):
                translate(run, image, out=tmp_path / direction, direction=direction, device="cpu")
            continue
        assert translate(run, image, out=tmp_path / direction, direction=direction, device="cpu") == []
        (record,) = read_provenance(tmp_path / direction)
        assert (record["direction"], record["method"]) == (direction, method)
        written[direction] = (tmp_path / direction / "images" / "one.png").read_bytes()
    assert len(set(written.values())) == (2 if method in BOTH_WAYS else 1)


def test_draws_and_references_at_the_command_line(
    run_cli: Any, runs: Callable[[str], Path], domains: Path, tmp_path: Path
):
    image, film = domains / "src" / "images" / "drr_00.png", domains / "tgt" / "film_00.png"
    run = runs("munit")
    ended = run_cli("translate", run, image, "--out", tmp_path / "draws", "--draws", 2, "--device", "cpu")
    assert ended.code == 0
    one, other = ((tmp_path / "draws" / "images" / f"drr_00_s0{n}.png").read_bytes() for n in (0, 1))
    assert one != other
    # the main job wrote draw 0 of each image
    assert one == (run / "translated" / "images" / "drr_00.png").read_bytes()
    options = ("--style", "reference", "--reference", film, "--device", "cpu")
    assert run_cli("translate", run, image, "--out", tmp_path / "like", *options).code == 0
    (record,) = read_provenance(tmp_path / "like")
    assert (record["style"], len(record["references"]), len(record["code"])) == ("reference", 1, 3)
    refused = run_cli("translate", runs("tone"), image, "--out", tmp_path / "no", *options)
    assert refused.code == 2
    assert "no style encoder" in refused.error
    assert not (tmp_path / "no").exists()
    refused = run_cli("translate", runs("unit"), image, "--out", tmp_path / "no", "--attribute", "view=PA")
    assert refused.code == 2
    assert "--attribute: method 'unit', which knows no attributes" in refused.error
