import json
from pathlib import Path

import pytest

from medi2i.training.progress import Progress, TrainingLog


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_a_resumed_log_drops_what_came_after_its_checkpoint_and_a_line_cut_off(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    log = TrainingLog(path)
    for step in (1, 2, 3, 4):
        log.write(step=step, losses={"g/cycle": 0.5})
    with path.open("a") as stream:
        stream.write('{"step": 2, "los')
    TrainingLog(path, resume_step=2).write(step=3)
    assert steps(path) == [1, 2, 3]


def test_a_new_run_starts_a_new_log(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    TrainingLog(path).write(step=1)
    TrainingLog(path)
    assert path.read_text() == ""


def test_without_a_terminal_the_last_unit_is_said_in_a_plain_line(capsys: pytest.CaptureFixture[str]):
    progress = Progress("training", 3, initial=1)
    progress.advance()
    assert capsys.readouterr().err == ""
    progress.advance("loss 0.5")
    progress.close()
    assert capsys.readouterr().err == "training: 3/3, 0 s left, loss 0.5\n"


def test_other_processes_are_silent(capsys: pytest.CaptureFixture[str]):
    Progress("training", 1, rank=1).advance()
    assert capsys.readouterr().err == ""
