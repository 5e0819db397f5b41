from pathlib import Path

from medi2i.errors import ExitCode
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
