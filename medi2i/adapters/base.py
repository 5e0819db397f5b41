"""The contract between a translation method and the rest of the house.

A method is one file: a config with a unique `name`, and a `DomainAdapter` that owns its networks, names its
players in update order, computes each player's losses, and translates. The loop in `medi2i.training` owns
devices, precision, backward passes, optimisers, schedules, averages, and checkpoints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from medi2i.config import Config
from medi2i.data.attributes import AttributesConfig
from medi2i.image import Domain
from medi2i.networks.way import Way

Direction = Literal["source-to-target", "target-to-source"]
StyleKind = Literal["random", "mean", "reference", "interpolate"]


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
        losses: what computes its losses, as `Trainee.losses` does; None: the trainee itself.
    """

    name: str
    networks: tuple[str, ...]
    optimizer: AdamConfig
    every: int = 1
    losses: Callable[[Player, Batch, Shared], dict[str, Tensor]] | None = None


@dataclass(frozen=True)
class Labelled:
    """Images of both domains whose attributes are known, in groups of one class each.

    N = groups x images a group; groups follow one another, 0 first, and are of different classes as long as
    there are enough. See `AttributesConfig` for what a code is.
    """

    image: Float[Tensor, "N 1 H W"]
    valid: Float[Tensor, "N 1 H W"]
    attributes: Float[Tensor, "N C"]
    group: Int[Tensor, " N"]


@dataclass(frozen=True)
class Batch:
    """One unpaired batch on the training device.

    `host` and `device` are random generators made from (seed, step, rank): a resumed run draws what an
    uninterrupted one would have drawn. Decisions (which pool image) use `host`, tensors use `device`.

    The attributes and, in some steps, the labelled images are there for methods with `needs_attributes`.
    """

    source: Float[Tensor, "B 1 H W"]
    target: Float[Tensor, "B 1 H W"]
    source_valid: Float[Tensor, "B 1 H W"]
    target_valid: Float[Tensor, "B 1 H W"]
    host: torch.Generator
    device: torch.Generator
    source_mask: Float[Tensor, "B K H W"] | None = None
    step: int = 0
    source_attributes: Float[Tensor, "B C"] | None = None
    target_attributes: Float[Tensor, "B C"] | None = None
    labelled: Labelled | None = None


@dataclass
class Shared:
    """What one player's forward pass leaves for the next players of the same batch."""

    values: dict[str, Any] = field(default_factory=dict)


class Trainee(nn.Module, ABC):
    """What the loop in `medi2i.training` can train: an adapter, or a segmenter."""

    players: tuple[Player, ...] = ()
    averaged_networks: tuple[str, ...] = ()  # what is used afterwards: worth an exponential moving average
    companions: tuple[str, ...] = ()  # learn beside it and are not kept with it: see `add_companion`

    def add_companion(self, network: nn.Module, player: Player) -> None:
        """Let a network learn in this training that is no part of the method, e.g. the segmenter of a loss.

        Its weights are state of the training, not of the method: a checkpoint keeps them with the local
        state, so that an exact resume has them and a translation does without.

        Args:
            network: becomes the attribute that `player.networks` names.
            player: its turn comes after those of the method; it brings its own `losses`.
        """
        (name,) = player.networks
        self.add_module(name, network)
        self.companions += (name,)
        self.players += (player,)

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        """Named, weighted losses of one player; their sum is what it minimises."""
        raise TypeError(f"{type(self).__name__} has no players, so it has no losses")

    def readings(self, player: Player, shared: Shared) -> dict[str, Tensor]:
        """Numbers of the turn that `player` just took that are logged and are no losses; most have none.

        They come out of what `losses` left in `shared`, without gradients.
        """
        return {}

    def local_state(self) -> dict[str, Tensor]:
        """State of this process that is no network weight (image pools); part of an exact resume."""
        return {}

    def load_local_state(self, state: dict[str, Tensor]) -> None:
        """Inverse of `local_state`."""


class DomainAdapter(Trainee):
    """A translation method between a source and a target domain."""

    needs_masks: ClassVar[bool] = False
    needs_attributes: ClassVar[bool] = False
    needs_pairs: ClassVar[bool] = False  # trains on pairs of images that show the same, found by their names
    multimodal: ClassVar[bool] = False
    styles: ClassVar[tuple[StyleKind, ...]] = ()  # that a multimodal one can be asked for, its own first
    bidirectional: ClassVar[bool] = True
    whole_images: ClassVar[bool] = False  # has to train on whole images: crops as large as the working size
    any_size: ClassVar[bool] = False  # sees images at a scale of its own: translates them at their own matrix
    given_weights: ClassVar[bool] = False  # trains nothing: its weights come from elsewhere
    size_multiple: int = 1

    attributes: AttributesConfig | None = None  # what it is told of an image, with `needs_attributes`
    labelled_groups: int = 0  # classes in a labelled batch; 0: it wants no labelled batches
    group_images: int = 4  # images of each class in a labelled batch

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
        """Bring images of one domain to the look of the other; values in [-1, 1] in and out.

        A method with `styles` takes as `style`: an integer n, the n-th draw of each image (`random`); "mean";
        a code (S,) or one an image (B, S), of `sample_styles` or `encode_style`; None, its own choice.
        """

    def way(self, direction: Direction) -> Way | None:
        """The networks that translate in a direction, as one of tensors only: what is exported.

        With the code that `translate` would be told it gives what `translate` gives. None: the method can't
        be written as a graph of fixed operations.
        """
        return None

    def sample_styles(self, count: int, generator: torch.Generator) -> Float[Tensor, "N S"]:
        """Style codes from the distribution that the method draws from, for `interpolate`."""
        raise TypeError(f"{type(self).__name__} has no style codes")

    def encode_style(
        self,
        image: Float[Tensor, "B 1 H W"],
        domain: Domain,
        valid: Float[Tensor, "B 1 H W"] | None = None,
    ) -> Float[Tensor, "B S"]:
        """Style codes of images of a domain, for `reference`."""
        raise TypeError(f"{type(self).__name__} has no style encoder")

    def read_attributes(self, values: Mapping[str, str], direction: Direction) -> Float[Tensor, " C"]:
        """Code of the attributes that translations in this direction are to have; with `needs_attributes`."""
        raise TypeError(f"{type(self).__name__} knows no attributes")

    def fit(self, domain: Domain, images: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take statistics of a domain's training images `(image (1, H, W), valid)`; most need none."""

    def reconstruct(
        self, image: Float[Tensor, "B 1 H W"], translated: Float[Tensor, "B 1 H W"], direction: Direction
    ) -> Float[Tensor, "B 1 H W"] | None:
        """The way back for the preview, or None where the method has none."""
        back: Direction = "target-to-source" if direction == "source-to-target" else "source-to-target"
        return self.translate(translated, direction=back) if self.bidirectional else None
