"""The contract between a translation method and the rest of the house.

A method is one file: a config with a unique `name`, and a `DomainAdapter` that owns its networks, names its
players in update order, computes each player's losses, and translates. The loop in `medi2i.training` owns
devices, precision, backward passes, optimisers, schedules, averages, and checkpoints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from medi2i.config import Config
from medi2i.image import Domain

Direction = Literal["source-to-target", "target-to-source"]


class AdamConfig(Config):
    """Adam as the GAN papers use it."""

    learning_rate: float = Field(default=2e-4, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)


@dataclass(frozen=True)
class Player:
    """One side of the game: networks that share an optimiser.

    Attributes:
        name: key of its losses in the log.
        networks: attribute names of the adapter's networks that this player updates.
        optimizer: how they are updated.
        every: takes its turn in every n-th step.
    """

    name: str
    networks: tuple[str, ...]
    optimizer: AdamConfig
    every: int = 1


@dataclass(frozen=True)
class Batch:
    """One unpaired batch on the training device.

    `host` and `device` are random generators made from (seed, step, rank): a resumed run draws what an
    uninterrupted one would have drawn. Decisions (which pool image) use `host`, tensors use `device`.
    """

    source: Float[Tensor, "B 1 H W"]
    target: Float[Tensor, "B 1 H W"]
    source_valid: Float[Tensor, "B 1 H W"]
    target_valid: Float[Tensor, "B 1 H W"]
    host: torch.Generator
    device: torch.Generator
    source_mask: Float[Tensor, "B K H W"] | None = None
    step: int = 0


@dataclass
class Shared:
    """What one player's forward pass leaves for the next players of the same batch."""

    values: dict[str, Any] = field(default_factory=dict)


class DomainAdapter(nn.Module, ABC):
    """A translation method between a source and a target domain."""

    players: tuple[Player, ...] = ()
    averaged_networks: tuple[str, ...] = ()  # what translates: worth an exponential moving average

    needs_masks: ClassVar[bool] = False
    needs_attributes: ClassVar[bool] = False
    multimodal: ClassVar[bool] = False
    bidirectional: ClassVar[bool] = True
    any_size: ClassVar[bool] = False  # sees images at a scale of its own: translates them at their own matrix
    size_multiple: int = 1

    @abstractmethod
    def translate(
        self,
        image: Float[Tensor, "B 1 H W"],
        *,
        direction: Direction,
        valid: Float[Tensor, "B 1 H W"] | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Float[Tensor, "B 1 H W"]:
        """Bring images of one domain to the look of the other; values in [-1, 1] in and out."""

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        """Named, weighted losses of one player; their sum is what it minimises."""
        raise TypeError(f"{type(self).__name__} has no players, so it has no losses")

    def fit(self, domain: Domain, images: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take statistics of a domain's training images `(image (1, H, W), valid)`; most need none."""

    def reconstruct(
        self, image: Float[Tensor, "B 1 H W"], translated: Float[Tensor, "B 1 H W"], direction: Direction
    ) -> Float[Tensor, "B 1 H W"] | None:
        """The way back for the preview, or None where the method has none."""
        back: Direction = "target-to-source" if direction == "source-to-target" else "source-to-target"
        return self.translate(translated, direction=back) if self.bidirectional else None

    def local_state(self) -> dict[str, Tensor]:
        """State of this process that is no network weight (image pools); part of an exact resume."""
        return {}

    def load_local_state(self, state: dict[str, Tensor]) -> None:
        """Inverse of `local_state`."""
