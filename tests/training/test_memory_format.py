"""Gradients don't depend on how tensors lie in memory: torch has kernels that get this wrong in silence."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from medi2i.adapters import Player
from medi2i.training.engine import DeviceName, make_accelerator
from medi2i.training.settings import TrainingConfig
from medi2i.training.step import Stepper
from tests.training.toys import tiny_cyclegan

Gradients = dict[str, Tensor]


class Watched(Stepper):
    """Keeps gradients instead of taking the step."""

    def _update(self, player: Player, optimizer: torch.optim.Optimizer, factor: float) -> None:
        self.gradients: dict[str, Gradients] = getattr(self, "gradients", {})
        self.gradients[player.name] = {
            name: p.grad.clone() for name, p in self.adapter.named_parameters() if p.grad is not None
        }
        optimizer.zero_grad(set_to_none=True)


def two_images() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    images = {name: 2 * torch.rand(2, 1, 32, 32, generator=rng) - 1 for name in ("source", "target")}
    return images | {f"{name}_valid": torch.ones(2, 1, 32, 32) for name in ("source", "target")}


def gradients(
    samples: list[dict[str, Tensor]], *, device: DeviceName = "cpu", channels_last: bool = True
) -> dict[str, Gradients]:
    adapter = tiny_cyclegan(
        pool_size=0,
        generator={"width": 4, "blocks": 1},
        discriminator={"width": 4, "layers": 2},
    ).to(samples[0]["source"].dtype)
    config = TrainingConfig(steps=2, accumulate=len(samples), channels_last=channels_last)
    stepper = Watched(adapter, config, make_accelerator(device, "fp32"), seed=0, epoch_length=10)
    stepper.take(samples)
    return stepper.gradients


def assert_same(one: dict[str, Gradients], other: dict[str, Gradients], tolerance: float) -> None:
    for player, expected in other.items():
        assert one[player].keys() == expected.keys()
        largest = max(value.abs().max().item() for value in expected.values())
        for name, value in expected.items():
            assert_close(one[player][name], value, rtol=0, atol=tolerance * largest, msg=f"{player} {name}")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_two_micro_batches_of_one_equal_one_batch_of_two(
    tmp_path: Path, dtype: torch.dtype, tolerance: float
):
    whole = {name: value.to(dtype) for name, value in two_images().items()}
    halves = [{name: value[i : i + 1] for name, value in whole.items()} for i in range(2)]
    assert_same(gradients(halves), gradients([whole]), tolerance)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_channels_last_gives_the_gradients_of_contiguous_tensors(tmp_path: Path):
    one = [{name: value[:1] for name, value in two_images().items()}]
    plain = gradients(one, device="cuda", channels_last=False)
    assert_same(gradients(one, device="cuda", channels_last=True), plain, 1e-2)
