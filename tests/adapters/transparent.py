"""A CycleGAN whose generators and discriminators can be computed in one's head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medi2i.adapters import Batch, CycleGANConfig, Shared
from medi2i.adapters.cyclegan import CycleGAN
from medi2i.networks.discriminator import PatchGANConfig
from medi2i.networks.resnet import ResNetGeneratorConfig

TINY: dict[str, Any] = {
    "generator": ResNetGeneratorConfig(width=2, blocks=0),
    "discriminator": PatchGANConfig(width=2, layers=1),
}


class Scale(nn.Module):
    """A pointwise generator: an invalid pixel can't bleed into its neighbours."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, image: Tensor) -> Tensor:
        return image * self.factor


class Fold(nn.Module):
    """Pointwise too, but brighter pixels can get darker: structure losses notice."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.sin(4 * image)


class GrayLevel(nn.Module):
    """A discriminator whose logit is the mean gray level of a 2 x 2 patch; remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image.detach().clone())
        return nn.functional.avg_pool2d(image, 2)


def transparent(**changes: Any) -> CycleGAN:
    """G_st = 0.6 x, G_ts = 2 x, and discriminators that answer with gray levels."""
    adapter = CycleGANConfig(**(TINY | changes)).build(seed=0)
    adapter.source_to_target, adapter.target_to_source = Scale(0.6), Scale(2.0)
    adapter.target_discriminator, adapter.source_discriminator = GrayLevel(), GrayLevel()
    return adapter


def batch(
    source: Tensor, target: Tensor, source_valid: Tensor | None = None, target_valid: Tensor | None = None
) -> Batch:
    return Batch(
        source=source,
        target=target,
        source_valid=torch.ones_like(source) if source_valid is None else source_valid,
        target_valid=torch.ones_like(target) if target_valid is None else target_valid,
        host=torch.Generator().manual_seed(0),
        device=torch.Generator().manual_seed(0),
    )


def all_losses(adapter: CycleGAN, one: Batch) -> dict[str, Tensor]:
    shared = Shared()
    return {
        f"{player.name}/{name}": value
        for player in adapter.players
        for name, value in adapter.losses(player, one, shared).items()
    }


def constant(value: float) -> Tensor:
    return torch.full((2, 1, 8, 8), value)


def image(seed: int, size: int = 16) -> Tensor:
    return 2 * torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(seed)) - 1
