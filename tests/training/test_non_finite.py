import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from medi2i.adapters import Batch
from medi2i.errors import NonFiniteLossError
from medi2i.training.checkpoint import Checkpoint, load_checkpoint
from medi2i.training.settings import TrainingConfig
from tests.training.toys import Numbers, run_training

CONFIG = TrainingConfig(steps=8, validate_every=2, log_every=8, average=0.9)


def at_step(step: int, value: float) -> Numbers:
    return Numbers(spoil=lambda batch, loss: loss * value if batch.step == step else loss)


def all_finite(checkpoint: Checkpoint) -> bool:
    parts = (checkpoint.networks, checkpoint.average, checkpoint.optimizers, checkpoint.local)
    return all(bool(torch.isfinite(value).all()) for part in parts for value in part.values())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("step", [4, 5])
def test_a_loss_that_is_no_number_stops_the_training_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, value: float, step: int
):
    with pytest.raises(
        NonFiniteLossError, match=rf"step {step + 1}: NaN or Inf in painter/distance; .*--init-from this run"
    ):
        run_training(at_step(step, value), tmp_path, CONFIG)
    last = load_checkpoint(tmp_path / "checkpoints")
    assert last.step == 4
    assert all_finite(last)
    assert load_checkpoint(tmp_path / "checkpoints", "BEST").step == 4


def test_a_loss_that_is_no_number_in_the_first_of_several_micro_batches_is_seen(tmp_path: Path):
    seen: list[int] = []

    def spoil(batch: Batch, loss: Tensor) -> Tensor:
        seen.append(batch.step)
        return loss * float("nan") if len(seen) == 5 else loss  # step 2, first of two

    config = CONFIG.model_copy(update={"accumulate": 2})
    with pytest.raises(NonFiniteLossError, match="step 3"):
        run_training(Numbers(spoil=spoil), tmp_path, config)
    assert all_finite(load_checkpoint(tmp_path / "checkpoints"))


def test_a_finite_loss_with_an_infinite_gradient_does_not_reach_a_checkpoint(tmp_path: Path):
    """The square root of 0 is 0, its slope is not: the weights are NaN before any loss is."""

    def spoil(batch: Batch, loss: Tensor) -> Tensor:
        return loss + (0 * loss).sqrt() if batch.step == 3 else loss

    with pytest.raises(NonFiniteLossError, match=r"step 4: NaN or Inf in painter\.weight"):
        run_training(Numbers(spoil=spoil), tmp_path, CONFIG)
    last = load_checkpoint(tmp_path / "checkpoints")
    assert last.step == 2
    assert all_finite(last)


def test_a_run_without_a_checkpoint_promises_none(tmp_path: Path):
    with pytest.raises(NonFiniteLossError, match="step 1: NaN or Inf") as raised:
        run_training(at_step(0, float("nan")), tmp_path, CONFIG)
    assert raised.value.remedy == (
        "start a new run with a lower learning rate or with precision bf16 or fp32"
    )


def test_the_run_can_be_resumed_from_the_kept_checkpoint(tmp_path: Path):
    with pytest.raises(NonFiniteLossError):
        run_training(at_step(5, float("nan")), tmp_path, CONFIG)
    assert run_training(Numbers(), tmp_path, CONFIG).steps == 8
    lines = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [8]
    assert all_finite(load_checkpoint(tmp_path / "checkpoints"))
