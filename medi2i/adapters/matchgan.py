"""MatchGAN: StarGAN that learns from few labels, by comparing images (Sun, Bhattarai, Kim, ACCV 2020).

The critic also tells whether two images are of one class: real images in its own turn, translations with the
same target in the generator's. Steps with labelled images and steps with all images alternate.

Faithful by default: 4 classes of 4 images in a labelled step, targets drawn uniformly from the combinations
that exist so that each class gets every target, 8 matching and 8 other pairs, match 0.5, the rest StarGAN's.
Departures, each with a key that takes it back: an image whose code is known in part teaches the critic what
is known (`unlabelled_classification`), and is reconstructed with what the critic reads off it in place of the
rest (`unlabelled_reconstruction`), so that anatomy is never unconstrained.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from medi2i.adapters.base import Batch
from medi2i.adapters.matching import (
    QUAD,
    Pairs,
    count_groups,
    deal_targets,
    list_groups,
    make_pairs,
    regroup,
)
from medi2i.adapters.stargan import StarGAN, StarGANConfig, Turn, share_area
from medi2i.errors import ConfigError, UsageError
from medi2i.networks.stargan_discriminator import Judgement

_IMAGES = 16  # of a labelled batch, as far as groups of one size allow
_GROUPS = 4


class MatchGANConfig(StarGANConfig):
    """StarGAN's settings and those of the comparison.

    Attributes:
        critic_steps: odd, because steps with labelled images alternate with the others, and the generator
            must meet both.
        match: weight of the comparison, for critic and generator.
        group_images: images of each class in a labelled batch; None: as many as make 16. With the domain as
            the only attribute every batch is labelled, and `training.batch_size` takes its place.
        unlabelled_classification: whether the critic learns the known bits of images known in part.
    """

    name: Literal["matchgan"] = "matchgan"  # type: ignore[assignment]  # the tag that tells it from its base
    match: float = Field(default=0.5, gt=0)
    group_images: int | None = Field(default=None, ge=QUAD)
    unlabelled_classification: bool = True

    @model_validator(mode="after")
    def _odd_critic_steps(self) -> Self:
        if self.critic_steps % 2 == 0:
            raise ValueError(
                f"critic_steps: an odd number is needed, found {self.critic_steps}: labelled images come in "
                "every second step, and the generator must meet both kinds"
            )
        return self

    def build(self, *, seed: int) -> MatchGAN:
        """A MatchGAN with weights drawn by `seed`."""
        return MatchGAN(self, seed=seed)


class MatchGAN(StarGAN):
    """StarGAN whose critic has a third head, for pairs of images."""

    matches: ClassVar[bool] = True
    config: MatchGANConfig

    def __init__(self, config: MatchGANConfig, *, seed: int) -> None:
        super().__init__(config, seed=seed)
        count = self.classes.shape[0]
        if count < 2:
            raise ConfigError(
                "adapter.attributes",
                found=f"{count} class of images with all attributes known",
                expected="at least 2: there is nothing to compare one with",
                remedy="label images of another class, drop an attribute, or use method 'stargan'",
            )
        groups = min(_GROUPS, count)
        # with the domain alone, the two domains' own batches are the labelled groups
        self.labelled_groups = groups if config.attributes.groups else 0
        self.group_images = config.group_images or _IMAGES // groups

    def _deal(self, batch: Batch) -> Turn:
        """The step's images with targets of different classes, and who is compared with whom."""
        turn, groups = self._labelled_turn(batch)
        images = turn.image.shape[0]
        dealt = count_groups(images, self.classes.shape[0])
        if dealt < 2 or (turn.labelled and images // len(groups) < QUAD):
            raise UsageError(
                "training.batch_size",
                found=f"{images // 2} images of each domain",
                expected=f"at least {QUAD}: fewer make no pairs",
                remedy="raise it",
            )
        drawn = torch.randperm(self.classes.shape[0], generator=batch.host)[:dealt]
        order = torch.tensor(deal_targets(images, dealt))
        device = turn.image.device
        return Turn(
            turn.image,
            turn.valid,
            turn.area,
            turn.code,
            self.classes.to(turn.code)[drawn[order].to(device)],
            turn.labelled,
            turn.mixed,
            pairs=_as_tensors(make_pairs(groups), device) if turn.labelled else None,
            translated_pairs=_as_tensors(make_pairs(regroup(groups, dealt)), device),
        )

    def _labelled_turn(self, batch: Batch) -> tuple[Turn, list[list[int]]]:
        """The labelled images where the step has some, else all; and the places of each group."""
        if batch.labelled is None:
            turn = self._both_domains(batch)
            return turn, list_groups(2, batch.source.shape[0])
        labelled = batch.labelled
        code = labelled.attributes.to(labelled.image)
        groups = labelled.image.shape[0] // self.group_images
        area = share_area(labelled.valid, groups=groups)
        turn = Turn(labelled.image, labelled.valid, area, code, code, labelled=True, mixed=True)
        return turn, list_groups(groups, self.group_images)

    def _classifies(self, turn: Turn) -> bool:
        return turn.labelled or self.config.unlabelled_classification

    def _match_terms(
        self, judged: Judgement, pairs: tuple[Int[Tensor, "P 2"], Int[Tensor, " P"]] | None
    ) -> dict[str, Tensor]:
        """The triplets' two logistic losses, each a mean over its pairs.

        There are as many pairs that match as pairs that do not: twice the mean over all is their sum.
        """
        if pairs is None or judged.match is None:
            return {}
        return {"match": self.config.match * 2 * nn.functional.cross_entropy(judged.match, pairs[1])}


def _as_tensors(pairs: Pairs, device: torch.device) -> tuple[Int[Tensor, "P 2"], Int[Tensor, " P"]]:
    """Places of both images of each pair, and 1 for a match."""
    places = torch.tensor([*pairs.positive, *pairs.negative])
    matches = torch.tensor([1] * len(pairs.positive) + [0] * len(pairs.negative))
    return places.to(device), matches.to(device)
