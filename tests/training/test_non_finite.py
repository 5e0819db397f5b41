import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from medi2i.adapters import Batch
from medi2i.adapters.cyclegan import CycleGAN
from medi2i.errors import InterruptedRunError, NonFiniteLossError
from medi2i.training.checkpoint import Checkpoint, load_checkpoint
from medi2i.training.interruption import StopRequest
from medi2i.training.settings import TrainingConfig
from tests.training.toys import Numbers, run_training, stored_bytes, tiny_cyclegan

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
        first = batch.step == 2 and seen.count(2) % 2 == 1  # of two
        return loss * float("nan") if first else loss

    config = CONFIG.model_copy(update={"accumulate": 2})
    with pytest.raises(NonFiniteLossError, match="step 3"):
        run_training(Numbers(spoil=spoil), tmp_path, config)
    assert all_finite(load_checkpoint(tmp_path / "checkpoints"))


def bad_once(step: int) -> Numbers:
    """A loss that is NaN in one step, and not again: what a bad draw or a bad moment of a device gives."""
    seen: list[int] = []

    def spoil(batch: Batch, loss: Tensor) -> Tensor:
        seen.append(batch.step)
        return loss * float("nan") if batch.step == step and seen.count(step) == 1 else loss

    return Numbers(spoil=spoil)


def lines_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_training_goes_back_to_its_checkpoint_and_on_with_other_draws(tmp_path: Path, capsys):
    config = CONFIG.model_copy(update={"log_every": 1})
    adapter = bad_once(5)
    assert run_training(adapter, tmp_path, config).steps == 8
    assert [step for name, step in adapter.turns if name == "painter"] == [0, 1, 2, 3, 4, 5, 4, 5, 6, 7]
    lines = lines_of(tmp_path)
    (back,) = [line["went_back"] for line in lines if "went_back" in line]
    assert back == {"from_step": 6, "found": "NaN or Inf in painter/distance"}
    assert [line["step"] for line in lines if "losses" in line] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert "back to step 4, with other draws (time 1 of 3)" in capsys.readouterr().err
    last = load_checkpoint(tmp_path / "checkpoints")
    assert (last.step, last.state["detours"], all_finite(last)) == (8, 1, True)
    # other draws than those of a training without the accident
    run_training(Numbers(), tmp_path / "plain", config)
    plain = lines_of(tmp_path / "plain")
    with_losses = [line for line in lines if "losses" in line]
    assert [a["losses"] == b["losses"] for a, b in zip(with_losses, plain, strict=True)][:4] == [True] * 4
    assert not any(a["losses"] == b["losses"] for a, b in list(zip(with_losses, plain, strict=True))[4:])


def test_a_training_that_was_stopped_after_a_detour_goes_on_bit_by_bit(tmp_path: Path):
    run_training(bad_once(3), tmp_path / "whole", CONFIG)
    stop = StopRequest()

    class Stopping(Numbers):
        def losses(self, player, batch, shared):
            stop.requested = stop.requested or batch.step == 5
            return super().losses(player, batch, shared)

    with pytest.raises(InterruptedRunError):
        run_training(Stopping(spoil=bad_once(3).spoil), tmp_path / "part", CONFIG, stop=stop)
    run_training(Numbers(), tmp_path / "part", CONFIG)
    assert stored_bytes(tmp_path / "part", 8) == stored_bytes(tmp_path / "whole", 8)


def test_three_detours_are_the_most(tmp_path: Path, capsys):
    adapter = at_step(5, float("nan"))
    with pytest.raises(NonFiniteLossError, match="step 6"):
        run_training(adapter, tmp_path, CONFIG)
    assert [step for name, step in adapter.turns if name == "painter"].count(5) == 4
    assert "(time 3 of 3)" in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "checkpoints").step == 4


@pytest.mark.parametrize(
    "wanted",
    [
        "generators/adversarial_target",
        "generators/adversarial_source",
        "generators/cycle_source",
        "generators/cycle_target",
        "generators/identity_target",
        "generators/identity_source",
        "discriminators/target",
        "discriminators/source",
    ],
)
def test_each_loss_of_a_method_is_watched(tmp_path: Path, wanted: str, monkeypatch):
    spoilt: list[str] = []
    plain = CycleGAN.losses

    def losses(self, player, batch, shared):
        found = plain(self, player, batch, shared)
        name = wanted.removeprefix(f"{player.name}/")
        if batch.step == 3 and not spoilt and name in found:
            spoilt.append(wanted)
            found[name] = found[name] * float("inf")
        return found

    monkeypatch.setattr(CycleGAN, "losses", losses)
    assert run_training(tiny_cyclegan(), tmp_path, CONFIG).steps == 8
    assert spoilt == [wanted]
    (back,) = [line["went_back"] for line in lines_of(tmp_path) if "went_back" in line]
    assert back["from_step"] == 4
    last = load_checkpoint(tmp_path / "checkpoints")
    assert (last.step, last.state["detours"], all_finite(last)) == (8, 1, True)


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
    assert [line["step"] for line in lines_of(tmp_path) if "losses" in line] == [8]
    assert all_finite(load_checkpoint(tmp_path / "checkpoints"))
