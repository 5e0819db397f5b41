"""The loop trains any adapter: it knows players, not methods."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from medi2i.adapters import Batch, DomainAdapter, Player, Shared
from medi2i.adapters.cyclegan import CycleGAN
from medi2i.data.settings import DataConfig
from medi2i.data.unpaired import UnpairedCrops
from medi2i.errors import UsageError
from medi2i.training import engine
from medi2i.training.checkpoint import load_checkpoint
from medi2i.training.engine import frozen, make_accelerator
from medi2i.training.loop import time_steps
from medi2i.training.precision import bf16_speedup_on_cpu
from medi2i.training.settings import TrainingConfig
from medi2i.training.step import Stepper
from tests.training.toys import Numbers, run_training, tiny_cyclegan


class Watched(Stepper):
    """Remembers the gradients that each player's optimiser is given."""

    def _update(self, player: Player, optimizer: torch.optim.Optimizer, factor: float) -> None:
        super_gradients = {
            name: None if p.grad is None else p.grad.clone() for name, p in self.adapter.named_parameters()
        }
        self.gradients = {**getattr(self, "gradients", {}), player.name: super_gradients}
        super()._update(player, optimizer, factor)


def watched(adapter: DomainAdapter, config: TrainingConfig) -> Watched:
    return Watched(adapter, config, make_accelerator("cpu", config.precision), seed=0, epoch_length=10)


def sample(source: float, target: float) -> dict[str, Tensor]:
    values = {"source": source, "target": target, "source_valid": 1.0, "target_valid": 1.0}
    return {name: torch.full((1, 1, 4, 4), value) for name, value in values.items()}


def constant_crops(source: float, target: float) -> UnpairedCrops:
    images = [
        {"image": torch.full((1, 32, 32), value), "valid": torch.ones(1, 32, 32)}
        for value in (source, target)
    ]
    config = DataConfig(working_size=None, crop_size=32)
    return UnpairedCrops(images[:1], images[1:], config, seed=0)


def test_a_method_of_two_numbers_is_trained_as_it_says(tmp_path: Path):
    adapter = Numbers()
    config = TrainingConfig(steps=300, constant=1.0, validate_every=300, log_every=300)
    run_training(adapter, tmp_path, config, crops=constant_crops(0.5, 0.25))
    painter = adapter.state_dict()["painter.weight"].item()
    critic = adapter.state_dict()["critic.weight"].item()
    assert abs(painter - 0.5) < 0.02  # the number that takes 0.5 to 0.25
    assert abs(critic - painter) < 0.05  # and the critic has followed
    assert load_checkpoint(tmp_path / "checkpoints").step == 300


def test_players_take_turns_in_their_order_and_as_often_as_they_say(tmp_path: Path):
    adapter = Numbers(critic_every=2)
    run_training(adapter, tmp_path, TrainingConfig(steps=3))
    assert adapter.turns == [("critic", 0), ("painter", 0), ("painter", 1), ("critic", 2), ("painter", 2)]


def test_a_step_without_a_turn_is_a_step(tmp_path: Path):
    adapter = Numbers()
    critic = Player("critic", ("critic",), adapter.players[0].optimizer, every=3)
    adapter.players = (critic,)
    assert run_training(adapter, tmp_path, TrainingConfig(steps=5)).steps == 5
    assert adapter.turns == [("critic", 0), ("critic", 3)]


def test_the_others_are_frozen_in_a_players_turn(tmp_path: Path):
    adapter = Numbers()
    stepper = watched(adapter, TrainingConfig(steps=2))
    stepper.take([sample(0.5, 0.25)])
    assert adapter.trainable == {"critic": [False, True], "painter": [True, False]}
    assert stepper.gradients["critic"]["painter.weight"] is None
    assert stepper.gradients["painter"]["critic.weight"] is None
    assert all(p.requires_grad and p.grad is None for p in adapter.parameters())


def test_discriminators_get_no_gradient_from_the_generators_turn(tmp_path: Path):
    stepper = watched(tiny_cyclegan(), TrainingConfig(steps=2))
    shape = (1, 1, 32, 32)
    rng = torch.Generator().manual_seed(0)
    images = {name: 2 * torch.rand(shape, generator=rng) - 1 for name in ("source", "target")}
    stepper.take([images | {f"{name}_valid": torch.ones(shape) for name in images}])
    for player, others in (("generators", "discriminator"), ("discriminators", "_to_")):
        for name, gradient in stepper.gradients[player].items():
            assert (gradient is None) == (others in name)


def test_frozen_leaves_weights_that_never_learn_as_they_were():
    network = nn.Linear(2, 2)
    network.bias.requires_grad_(False)
    with pytest.raises(RuntimeError, match="inside"), frozen([network]):
        assert not any(p.requires_grad for p in network.parameters())
        raise RuntimeError("inside")
    assert network.weight.requires_grad
    assert not network.bias.requires_grad


def test_micro_batches_add_up_to_the_gradient_of_their_mean(tmp_path: Path):
    stepper = watched(Numbers(), TrainingConfig(steps=2, accumulate=2))
    losses = stepper.take([sample(0.5, 0.0), sample(1.0, 0.25)])
    # w = 1: (0.5 w)^2 has gradient 0.5; (w - 0.25)^2 has 1.5; losses 0.25 and 0.5625
    gradient = stepper.gradients["painter"]["painter.weight"]
    assert_close(gradient, torch.full((1, 1, 1, 1), (0.5 + 1.5) / 2))
    assert_close(losses["painter/distance"].item(), (0.25 + 0.5625) / 2)


def test_the_first_step_of_adam_has_the_length_of_its_learning_rate(tmp_path: Path):
    adapter = Numbers()
    config = TrainingConfig(steps=4, constant=0.25)
    stepper = watched(adapter, config)
    stepper.step = 2  # 1 - (2 + 1 - 1) / (3 + 1) = 0.5 of 0.01
    stepper.take([sample(0.5, 0.0)])
    assert_close(adapter.state_dict()["painter.weight"].item(), 1 - 0.005, rtol=0, atol=1e-6)


def test_gradients_are_clipped_to_the_norm_that_is_asked_for(tmp_path: Path):
    class Clipped(Watched):
        def _update(self, player: Player, optimizer: torch.optim.Optimizer, factor: float) -> None:
            optimizer.register_step_pre_hook(
                lambda o, *_: clipped.append(o.param_groups[0]["params"][0].grad)
            )
            super()._update(player, optimizer, factor)

    clipped: list[Tensor] = []
    config = TrainingConfig(steps=2, gradient_norm=0.1)
    stepper = Clipped(Numbers(), config, make_accelerator("cpu", "fp32"), seed=0, epoch_length=10)
    stepper.take([sample(1.0, -1.0)])
    assert_close(clipped[-1].item(), 0.1, rtol=0, atol=1e-5)


def test_the_draws_of_a_step_depend_on_seed_step_and_micro_batch(tmp_path: Path):
    stepper = watched(Numbers(), TrainingConfig(steps=9, accumulate=2))

    def draw(step: int, micro: int) -> tuple[float, float]:
        stepper.step = step
        batch = stepper.batch(sample(0, 0), micro)
        assert batch.step == step
        return (
            torch.rand((), generator=batch.host).item(),
            torch.rand((), generator=batch.device).item(),
        )

    assert draw(3, 1) == draw(3, 1)
    draws = {draw(step, micro) for step in range(4) for micro in range(2)}
    assert len(draws) == 8


def test_masks_reach_the_method(tmp_path: Path):
    stepper = watched(Numbers(), TrainingConfig(steps=1))
    mask = torch.ones(1, 2, 4, 4)
    batch = stepper.batch(sample(0, 0) | {"source_mask": mask}, 0)
    assert batch.source_mask is not None
    assert torch.equal(batch.source_mask, mask)
    assert stepper.batch(sample(0, 0), 0).source_mask is None


def test_bfloat16_trains_and_gives_float32_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "bf16_speedup_on_cpu", lambda: 2.0)  # emulated where there are no units
    dtypes: list[torch.dtype] = []

    class Seen(CycleGAN):
        def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
            losses = super().losses(player, batch, shared)
            dtypes.extend([shared.values["translated"].dtype, *(v.dtype for v in losses.values())])
            return losses

    plain = tiny_cyclegan(augmentation={}, structure_losses=[{"name": "gradient_correlation"}])
    adapter = Seen(plain.config, seed=0)
    before = adapter.state_dict()["source_to_target.paint.1.weight"].clone()
    run_training(adapter, tmp_path, TrainingConfig(steps=2, precision="bf16", average=0.9))
    after = adapter.state_dict()["source_to_target.paint.1.weight"]
    assert after.dtype == torch.float32
    assert not torch.equal(after, before)
    assert set(dtypes) == {torch.float32}
    assert adapter.local_state()["target_pool"].dtype == torch.float32


def test_a_cpu_without_units_for_bfloat16_computes_in_fp32_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    engine._say_once.cache_clear()
    for speedup, precision in ((0.9, "fp32"), (1.1, "bf16"), (0.02, "fp32")):
        monkeypatch.setattr(engine, "bf16_speedup_on_cpu", lambda speedup=speedup: speedup)
        folder = tmp_path / str(speedup)
        run_training(tiny_cyclegan(), folder, TrainingConfig(steps=1, log_every=1, precision="bf16"))
        assert json.loads((folder / "log.jsonl").read_text().splitlines()[0])["precision"] == precision
    assert capsys.readouterr().err.count("no units for bf16, fp32 is faster on it and is used instead") == 1


def test_the_speed_of_bfloat16_is_measured_once():
    speedup = bf16_speedup_on_cpu()
    assert speedup > 0
    assert bf16_speedup_on_cpu() == speedup


def test_half_precision_without_a_gpu_is_refused():
    with pytest.raises(UsageError, match="fp16 on a CPU; expected fp32 or bf16"):
        make_accelerator("cpu", "fp16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="--device cuda: no such device; expected auto, cpu"):
        make_accelerator("cuda", "fp32")


def test_timing_steps_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    config = TrainingConfig(steps=100, batch_size=2, accumulate=2)
    adapter = Numbers()
    assert time_steps(adapter, config, 8, make_accelerator("cpu", "fp32")) > 0
    assert len([name for name, _ in adapter.turns if name == "painter"]) == 3 * 2
    assert not list(tmp_path.iterdir())


class Reader(Numbers):
    """Shows what its painter's loss was, times a factor."""

    factor = 1.0

    def readings(self, player: Player, shared: Shared) -> dict[str, Tensor]:
        return {"painted": shared.values["painted"] * self.factor} if player.name == "painter" else {}


def test_readings_are_means_over_the_micro_batches_and_no_losses():
    stepper = watched(Reader(), TrainingConfig(steps=2, accumulate=2))
    losses = stepper.take([sample(1.0, 0.0), sample(1.0, 3.0)])
    # (1 - 0)^2 and (1 - 3)^2
    assert stepper.readings.keys() == {"painter/painted"}
    assert stepper.readings["painter/painted"].item() == pytest.approx(2.5)
    assert losses.keys() == {"critic/distance", "painter/distance"}


def test_readings_are_logged_beside_the_losses_and_stop_nothing(tmp_path: Path):
    adapter = Reader()
    adapter.factor = float("inf")
    run_training(adapter, tmp_path, TrainingConfig(steps=2, log_every=1))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["readings"] for line in lines if "losses" in line] == [{"painter/painted": None}] * 2
    run_training(Numbers(), tmp_path / "none", TrainingConfig(steps=1, log_every=1))
    assert "readings" not in (tmp_path / "none" / "log.jsonl").read_text()
