from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from medi2i.adapters.cyclegan import CycleGAN
from medi2i.data.settings import DataConfig
from medi2i.data.unpaired import UnpairedCrops
from medi2i.errors import InterruptedRunError
from medi2i.segmentation.co_training import co_train
from medi2i.segmentation.network import build_network
from medi2i.training.checkpoint import load_checkpoint
from medi2i.training.interruption import StopRequest
from medi2i.training.loop import Hooks
from medi2i.training.settings import TrainingConfig
from tests.segmentation.squares import NAMES, tiny_config
from tests.training.toys import random_images, run_training, stored_bytes, tiny_cyclegan

STEPS = 4
CONFIG = TrainingConfig(
    steps=STEPS, batch_size=2, average=0.9, validate_every=4, preview_every=1, log_every=1
)
LOSSES = [
    {"name": "segmentation_consistency", "segmenter": "co_trained"},
    {"name": "segmentation_consistency", "segmenter": "frozen"},
]


def crops() -> UnpairedCrops:
    source = [
        image | {"mask": (image["image"] > 0).float().repeat(2, 1, 1)} for image in random_images(3, seed=1)
    ]
    return UnpairedCrops(
        source, random_images(4, seed=2), DataConfig(working_size=None, crop_size=32), seed=0
    )


def adapter() -> CycleGAN:
    made = tiny_cyclegan(structure_losses=LOSSES)
    learning = made.structure_losses.use_segmenter(build_network(tiny_config(), 2, seed=1), NAMES)
    assert learning is not None
    co_train(made, learning, tiny_config(), NAMES)
    return made


def weights(network: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def asked(made: CycleGAN) -> list[nn.Module]:
    return [loss.__dict__["_segmenter"] for loss in made.structure_losses]


def test_the_co_trained_segmenter_learns_and_the_frozen_one_does_not(tmp_path: Path):
    made = adapter()
    learning, frozen = asked(made)
    before = weights(learning), weights(frozen)
    run_training(made, tmp_path, CONFIG, crops=crops())
    assert all((a != b).any() for a, b in zip(before[0], weights(learning), strict=True) if a.numel() > 16)
    assert all(torch.equal(a, b) for a, b in zip(before[1], weights(frozen), strict=True))
    assert made.co_trained_segmenter is learning  # the loss asks the very network that learns


def test_no_gradient_of_its_turn_reaches_the_method():
    made = adapter()
    from medi2i.adapters import Batch, Shared

    image, valid = torch.rand(2, 1, 32, 32) * 2 - 1, torch.ones(2, 1, 32, 32)
    rng = torch.Generator().manual_seed(0)
    batch = Batch(image, image, valid, valid, rng, rng, source_mask=(image > 0).float().repeat(1, 2, 1, 1))
    player = made.players[-1]
    sum(player.losses(player, batch, Shared()).values()).backward()
    assert all(p.grad is not None for p in made.co_trained_segmenter.parameters())
    others = [made.source_to_target, made.target_to_source, made.target_discriminator]
    assert all(p.grad is None for network in others for p in network.parameters())


def test_an_interrupted_run_with_a_co_trained_segmenter_equals_an_uninterrupted_one(tmp_path: Path):
    run_training(adapter(), tmp_path / "whole", CONFIG, crops=crops())
    stop = StopRequest()

    def preview(made: CycleGAN, step: int) -> None:
        stop.requested = step == 2

    with pytest.raises(InterruptedRunError):
        run_training(
            adapter(), tmp_path / "two", CONFIG, crops=crops(), hooks=Hooks(preview=preview), stop=stop
        )
    run_training(adapter(), tmp_path / "two", CONFIG, crops=crops())
    assert stored_bytes(tmp_path / "two", STEPS) == stored_bytes(tmp_path / "whole", STEPS)
    checkpoint = load_checkpoint(tmp_path / "two" / "checkpoints", rank=0)
    assert any(name.startswith("co_trained_segmenter.") for name in checkpoint.local)
    assert not any("segmenter" in name for name in checkpoint.networks)
