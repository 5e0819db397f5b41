import json
from pathlib import Path

from medi2i.config import load_config
from medi2i.errors import ExitCode
from medi2i.segmentation import SegmenterConfig
from tests.segmentation.squares import write_squares

TINY = (
    "widths=[4, 8]",
    "data.working_size=32",
    "data.crop_size=32",
    "training.steps=2",
    "training.batch_size=2",
)


def test_a_segmenter_is_trained_and_used_from_the_command_line(run_cli, tmp_path: Path):
    data, model = write_squares(tmp_path / "data", images=6), tmp_path / "model"
    settings = [word for setting in TINY for word in ("--set", setting)]
    ended = run_cli("segment", "train", data, "--out", model, "--device", "cpu", *settings)
    assert ended.code == 0
    assert "validation image(s): inner " in ended.out
    assert f"model: {model}" in ended.out
    again = run_cli("segment", "train", data, "--out", model, "--device", "cpu", *settings)
    assert again.code == ExitCode.USAGE
    assert "--resume" in again.error
    # with its own config.yaml: no setting has to be said again, and none can be changed
    resumed = run_cli("segment", "train", data, "--out", model, "--device", "cpu", "--resume")
    assert resumed.code == 0
    changed = run_cli("segment", "train", data, "--out", model, "--resume", *settings)
    assert changed.code == ExitCode.USAGE
    assert "settings beside it" in changed.error
    found = run_cli(
        "segment", "predict", model, data / "images", "--out", tmp_path / "out", "--device", "cpu"
    )
    assert found.code == 0
    assert len(list((tmp_path / "out" / "masks").glob("scene_*/inner.png"))) == 6


def test_a_model_that_is_none_is_one_clear_line(run_cli, tmp_path: Path):
    data = write_squares(tmp_path / "data", images=1)
    ended = run_cli("segment", "predict", tmp_path, data, "--out", tmp_path / "out")
    assert ended.code == ExitCode.FAILED
    assert "no finished segmenter" in ended.error


def test_an_unknown_preset_names_those_there_are(run_cli, tmp_path: Path):
    ended = run_cli("segment", "train", tmp_path, "--out", tmp_path / "m", "--config", "labtop")
    assert ended.code == ExitCode.USAGE
    assert "did you mean 'laptop'?" in ended.error


def test_films_and_a_framing_are_options_of_the_command(run_cli, tmp_path: Path):
    data, model = write_squares(tmp_path / "data", images=6), tmp_path / "model"
    films, framing = write_squares(tmp_path / "films", images=3, first=50), tmp_path / "augmentation.yaml"
    framing.write_text("framing: {zoom: [1.0, 1.25]}\n")
    settings = [word for setting in (*TINY, "self_training.begin=0") for word in ("--set", setting)]
    options = ("--adapt-to", films, "--framing", "use", framing, "--device", "cpu")
    ended = run_cli("segment", "train", data, "--out", model, *options, *settings)
    assert ended.code == 0
    assert "note: framing of crops from augmentation.yaml" in ended.out
    assert load_config(model / "config.yaml", SegmenterConfig).data.framing.zoom_range == (1, 1.25)
    assert json.loads((model / "model.json").read_text())["adapted_to"]["films"] == 3
    wrong = run_cli("segment", "train", data, "--out", tmp_path / "m", "--framing", "guess", films)
    assert wrong.code == ExitCode.USAGE
