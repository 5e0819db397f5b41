"""Generators that somebody else trained, as a method like any other: to be judged by the same report.

The network is the reference generator of CycleGAN (Zhu et al., ICCV 2017). `medi2i import-weights` brings its
weights; nothing is trained here. Generators of colour images are told the grey image in all three channels,
and their output is made grey by the weights of ITU-R BT.601, as Pillow does it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medi2i.adapters.base import Direction, DomainAdapter
from medi2i.adapters.one_sided import require_forward
from medi2i.config import Config
from medi2i.networks.resnet import ResNetGeneratorConfig
from medi2i.networks.way import Way

_LUMA = (0.299, 0.587, 0.114)


class ImportedConfig(Config):
    """What the weights are of; `medi2i import-weights` reads it off them.

    Attributes:
        channels: of the generators' images.
        both_ways: whether there is a generator back.
        weights_sha256: of the published files, there and back.
    """

    name: Literal["imported"] = "imported"
    generator: ResNetGeneratorConfig = ResNetGeneratorConfig()
    channels: Literal[1, 3] = 1
    both_ways: bool = False
    weights_sha256: tuple[str, ...] = ()

    def build(self, *, seed: int) -> Imported:
        """Generators with weights drawn by `seed`, until the imported ones are loaded."""
        return Imported(self, seed=seed)


class Imported(DomainAdapter):
    """One generator, or one each way."""

    averaged_networks: tuple[str, ...] = ("source_to_target", "target_to_source")
    bidirectional: bool = False  # type: ignore[misc]  # each set of weights has its own answer
    given_weights: ClassVar[bool] = True

    def __init__(self, config: ImportedConfig, *, seed: int) -> None:
        super().__init__()
        self.config = config
        self.size_multiple = 4
        self.bidirectional = config.both_ways
        self.source_to_target: nn.Module = _build(config, seed)
        self.target_to_source: nn.Module | None = _build(config, seed + 1) if config.both_ways else None
        self.averaged_networks = self.averaged_networks[: 1 + config.both_ways]

    def translate(
        self,
        image: Tensor,
        *,
        direction: Direction,
        valid: Tensor | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Tensor:
        """Images of one domain as the generator makes them.

        Raises:
            UsageError: the other direction, where there is no generator for it.
        """
        translated: Tensor = self._generator(direction)(image)
        return translated

    def way(self, direction: Direction) -> Way:
        """The generator.

        Raises:
            UsageError: the other direction, where there is no generator for it.
        """
        return Way(self._generator(direction))

    def _generator(self, direction: Direction) -> nn.Module:
        if direction == "target-to-source" and self.target_to_source is not None:
            return self.target_to_source
        require_forward(direction, self.config.name)
        return self.source_to_target


class GreyOfColour(nn.Module):
    """A generator of colour images for grey ones."""

    luma: Tensor

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator
        self.register_buffer("luma", torch.tensor(_LUMA)[None, :, None, None], persistent=False)

    def forward(self, image: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
        colour: Tensor = self.generator(image.expand(-1, 3, -1, -1))
        return (colour * self.luma).sum(dim=1, keepdim=True)


def _build(config: ImportedConfig, seed: int) -> nn.Module:
    generator = config.generator.build(seed=seed, channels=config.channels)
    return generator if config.channels == 1 else GreyOfColour(generator)
