"""Small trainings that finish in a moment: images in memory, a tiny CycleGAN, and a method of two numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medi2i.adapters import Batch, CycleGANConfig, Direction, DomainAdapter, Player, Shared
from medi2i.adapters.base import AdamConfig
from medi2i.adapters.cyclegan import CycleGAN
from medi2i.data.settings import DataConfig
from medi2i.data.unpaired import UnpairedCrops
from medi2i.training.engine import make_accelerator
from medi2i.training.interruption import StopRequest
from medi2i.training.loop import Hooks, TrainingResult, train
from medi2i.training.settings import TrainingConfig

PARTS = ("networks", "average", "optimizers", "rank-0")


def random_images(count: int, *, seed: int, size: int = 40) -> list[dict[str, Tensor]]:
    """Decoded images as the data room hands them over."""
    rng = torch.Generator().manual_seed(seed)
    return [
        {"image": 2 * torch.rand(1, size, size, generator=rng) - 1, "valid": torch.ones(1, size, size)}
        for _ in range(count)
    ]


def toy_crops(*, source: int = 3, target: int = 5, seed: int = 0) -> UnpairedCrops:
    """Crops of 32 pixels from images of 40."""
    config = DataConfig(working_size=None, crop_size=32)
    return UnpairedCrops(random_images(source, seed=1), random_images(target, seed=2), config, seed=seed)


def tiny_cyclegan(**changes: Any) -> CycleGAN:
    """A CycleGAN of a few hundred weights."""
    values: dict[str, Any] = {
        "generator": {"width": 2, "blocks": 1},
        "discriminator": {"width": 2, "layers": 1},
        "pool_size": 2,
    }
    return CycleGANConfig.model_validate(values | changes).build(seed=3)


class Numbers(DomainAdapter):
    """A painter w with loss (w * source - target)^2, and a critic c with loss (c - w)^2 in every second step.

    `spoil` may replace the painter's loss.
    """

    averaged_networks = ("painter",)

    def __init__(
        self, *, critic_every: int = 2, spoil: Callable[[Batch, Tensor], Tensor] = lambda batch, loss: loss
    ) -> None:
        super().__init__()
        self.painter: nn.Module = nn.Conv2d(1, 1, 1, bias=False)
        self.critic: nn.Module = nn.Conv2d(1, 1, 1, bias=False)
        for network in (self.painter, self.critic):
            nn.init.ones_(network.weight)  # type: ignore[arg-type]
        optimizer = AdamConfig(learning_rate=0.01)
        self.players = (
            Player("critic", ("critic",), optimizer, every=critic_every),
            Player("painter", ("painter",), optimizer),
        )
        self.spoil = spoil
        self.turns: list[tuple[str, int]] = []
        self.trainable: dict[str, list[bool]] = {}

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        self.turns.append((player.name, batch.step))
        self.trainable[player.name] = [p.requires_grad for p in self.parameters()]
        if player.name == "painter":
            loss = ((self.painter(batch.source) - batch.target) ** 2).mean()
            shared.values["painted"] = loss.detach()
            return {"distance": self.spoil(batch, loss)}
        ones = torch.ones(1, 1, 1, 1)
        return {"distance": ((self.critic(ones) - self.painter(ones)) ** 2).mean()}

    def translate(
        self,
        image: Tensor,
        *,
        direction: Direction,
        valid: Tensor | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Tensor:
        translated: Tensor = self.painter(image)
        return translated


def run_training(
    adapter: DomainAdapter,
    folder: Path,
    config: TrainingConfig,
    *,
    crops: UnpairedCrops | None = None,
    hooks: Hooks | None = None,
    stop: StopRequest | None = None,
    workers: int = 0,
) -> TrainingResult:
    """`train` on the CPU with toy images."""
    return train(
        adapter,
        crops or toy_crops(),
        config,
        folder=folder,
        seed=11,
        accelerator=make_accelerator("cpu", config.precision),
        stop=stop or StopRequest(),
        hooks=hooks,
        workers=workers,
    )


def stored_bytes(folder: Path, step: int) -> dict[str, bytes]:
    """What a checkpoint's tensor files hold, byte for byte."""
    checkpoint = folder / "checkpoints" / f"step-{step:07d}"
    return {name: (checkpoint / f"{name}.safetensors").read_bytes() for name in PARTS}
