"""A step that does not fit: advice, or, if that was asked for, fewer images at a time."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from medi2i.adapters import Batch
from medi2i.config import dump_config
from medi2i.errors import EnvironmentProblemError
from medi2i.training.settings import TrainingConfig
from tests.training.toys import Numbers, run_training

CONFIG = TrainingConfig(steps=6, validate_every=2, log_every=1, batch_size=4)
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
]


def full_at(step: int, error: RuntimeError, *, room_for: int = 2) -> Numbers:
    """A device that has room for so many images from a step on."""

    def spoil(batch: Batch, loss: Tensor) -> Tensor:
        if batch.step >= step and len(batch.source) > room_for:
            loss.backward(retain_graph=True)  # a step that fails late has left gradients
            raise error
        return loss

    return Numbers(spoil=spoil)


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "cpu"])
def test_without_asking_there_is_advice_in_one_line(tmp_path: Path, error: RuntimeError):
    with pytest.raises(EnvironmentProblemError) as raised:
        run_training(full_at(3, error), tmp_path, CONFIG)
    assert raised.value.found == "not enough memory for a step of 4 image(s) at a time"
    assert "--set training.batch_size=2 --set training.accumulate=2" in raised.value.remedy
    assert "data.crop_size" in raised.value.remedy
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("step", [0, 3])
def test_halving_goes_on_from_the_last_checkpoint_and_is_logged(tmp_path: Path, step: int, capsys):
    config = CONFIG.model_copy(update={"halve_when_out_of_memory": True})
    run_training(full_at(step, ERRORS[0]), tmp_path / "full", config)
    lines = [json.loads(line) for line in (tmp_path / "full" / "log.jsonl").read_text().splitlines()]
    (halved,) = [line for line in lines if "halved" in line]
    assert halved == {"step": 0 if step == 0 else 2, "halved": {"batch_size": 2, "accumulate": 2}}
    assert "out of memory at 4 images a time: 2" in capsys.readouterr().err
    # the same images in each step: without noise the weights are those of a device with room
    run_training(Numbers(), tmp_path / "room", config)
    plain = [json.loads(line) for line in (tmp_path / "room" / "log.jsonl").read_text().splitlines()]
    found = [line["losses"]["painter/distance"] for line in lines if "losses" in line]
    wanted = [line["losses"]["painter/distance"] for line in plain]
    assert found == pytest.approx(wanted, abs=2e-6)


def test_one_image_that_does_not_fit_ends_with_advice(tmp_path: Path):
    config = CONFIG.model_copy(update={"halve_when_out_of_memory": True})
    with pytest.raises(EnvironmentProblemError, match="a step of 1 image"):
        run_training(full_at(0, ERRORS[0], room_for=0), tmp_path, config)


def test_other_errors_are_not_taken_for_it(tmp_path: Path):
    with pytest.raises(RuntimeError, match="shapes"):
        run_training(full_at(1, RuntimeError("shapes differ")), tmp_path, CONFIG)


def test_settings_that_do_not_ask_for_it_are_written_as_before_it_existed():
    assert "halve" not in dump_config(CONFIG)
    asked = CONFIG.model_copy(update={"halve_when_out_of_memory": True})
    assert "halve_when_out_of_memory: true" in dump_config(asked)
