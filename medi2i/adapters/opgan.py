"""OP-GAN: CycleGAN with a siamese network that keeps content in place (Xie et al., ECCV 2020).

An image and its translation are cut into a 3 x 3 grid. The siamese network reads pairs of cells: the content
maps of one cell before and after translation should agree (content registration, L_cc), and the domain codes
of two cells should tell whether both come from one domain, and from which (domain classification, L_dc). It
has no public code: the parts on which the paper is silent are keys of the config, and `docs/methods/opgan.md`
says what was chosen and why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from medi2i.adapters.base import AdamConfig, Batch, Player, Shared
from medi2i.adapters.cyclegan import CycleGAN, CycleGANConfig
from medi2i.adapters.opgan_cells import (
    C1,
    C2,
    Sampling,
    content_distance,
    draw_pairs,
    pick,
    place_grid,
    separation,
    spatial_spread,
    standardise,
)
from medi2i.errors import CollapsedTrainingError
from medi2i.networks.augmentation import blacken
from medi2i.networks.siamese import SiameseConfig, SiameseReading
from medi2i.similarity.weighting import at_least_float32, masked_mean

_START_LOOKS = 10  # steps whose mean is the start
_MEMORY = 0.9  # of the moving mean
_WAYS_OUT = "adapter.s_objective=dc (the default) or both_guarded"


class OPGANConfig(CycleGANConfig):
    """CycleGAN's settings, without its identity term, and those of the siamese network.

    Attributes:
        content: beta of L_cc.
        domain: beta of L_dc.
        s_objective: what the siamese network minimises: `dc` only L_dc, so that its content map stays a fixed
            read-out of a trained encoder; `both` is the literal reading, which a constant map solves; with
            `both_guarded` maps are standardised before they are compared. Generators always get both.
        guard: of `both_guarded`: `standardise` alone, or `hinge` too, which keeps maps of different cells a
            mean squared difference of `hinge_margin` apart.
        sampling: `stratified` draws a pair of each case for each image, `uniform` one pair of all 153.
        classes: a pair's class is named by the `domain` it looks like, or by its `role` (image, translation).
        grid: cells along each side.
        grid_jitter: fraction of the image in which the grid moves from step to step; 0: centred.
        minimum_valid: share of a cell that must be image for the cell to count.
        collapse_below: the training stops when the content maps' spread falls below this fraction of its
            start; 0 lets it go on.
        collapse_every: steps between two looks at it.
    """

    name: Literal["opgan"] = "opgan"  # type: ignore[assignment]  # the tag that tells it from its base
    identity: float = Field(default=0.0, ge=0, description="fraction of the cycle weights")
    siamese: SiameseConfig = SiameseConfig()
    siamese_optimizer: AdamConfig = AdamConfig()
    content: float = Field(default=1.0, ge=0)
    domain: float = Field(default=1.0, ge=0)
    s_objective: Literal["dc", "both", "both_guarded"] = "dc"
    guard: Literal["standardise", "hinge"] = "standardise"
    hinge_margin: float = Field(default=0.5, gt=0, le=4)
    sampling: Sampling = "stratified"
    classes: Literal["domain", "role"] = "domain"
    grid: int = Field(default=3, ge=2, le=8)
    grid_jitter: float = Field(default=0.0, ge=0, le=0.5)
    minimum_valid: float = Field(default=0.5, gt=0, le=1)
    collapse_below: float = Field(default=0.2, ge=0, lt=1)
    collapse_every: int = Field(default=50, gt=0)

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if not self.domain and (self.s_objective == "dc" or not self.content):
            raise ValueError(
                "with domain: 0 the siamese network learns nothing; "
                "give it a weight, or content a weight and s_objective: both_guarded"
            )
        return self

    def build(self, *, seed: int) -> OPGAN:
        """An OP-GAN with weights drawn by `seed`."""
        return OPGAN(self, seed=seed)


@dataclass(frozen=True)
class _Pairs:
    """N pairs of cells of both directions and what is known of each; `counted` is 0 for those that don't."""

    first: Float[Tensor, "N 1 h w"]
    second: Float[Tensor, "N 1 h w"]
    first_valid: Float[Tensor, "N 1 h w"]
    second_valid: Float[Tensor, "N 1 h w"]
    cases: Int[Tensor, " N"]
    classes: Int[Tensor, " N"]
    counted: Float[Tensor, " N"]

    def detached(self) -> _Pairs:
        return replace(self, first=self.first.detach(), second=self.second.detach())

    def weight(self, case: int) -> Float[Tensor, " N"]:
        return self.counted * (self.cases == case)


class OPGAN(CycleGAN):
    """CycleGAN's networks and a siamese one, whose two terms the generators minimise too."""

    config: OPGANConfig

    def __init__(self, config: OPGANConfig, *, seed: int) -> None:
        super().__init__(config, seed=seed)
        siamese = config.siamese.build(seed=seed + 4)
        if config.s_objective == "dc" or not config.content:
            siamese.fix("content")
        if not config.domain:
            siamese.fix("domain")
        self.siamese: nn.Module = siamese
        self._watch = _SpreadWatch(config)
        generators, *others = self.players
        self.players = (generators, Player("siamese", ("siamese",), config.siamese_optimizer), *others)

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        """CycleGAN's terms, with beta * L_S for the generators and for the siamese network.

        Raises:
            CollapsedTrainingError: the content maps have become (nearly) constant.
            UsageError: the images are too small for the grid.
        """
        if player.name != "siamese":
            return super().losses(player, batch, shared)
        pairs: _Pairs = shared.values["pairs"]
        reading: SiameseReading = self.siamese(pairs.first, pairs.second)
        losses = self._domain_term(pairs, reading)
        if self.config.s_objective != "dc":
            losses |= self._content_term(pairs, reading)
        if self.config.s_objective == "both_guarded" and self.config.guard == "hinge":
            losses |= self._separation_term(pairs, reading)
        spread = _mean_spread(pairs, reading)
        self._watch.observe(spread, pairs.counted.any(), step=batch.step)
        shared.values["content_spread"] = spread
        return losses

    def readings(self, player: Player, shared: Shared) -> dict[str, Tensor]:
        """`content_spread`: mean standard deviation of the content maps, of the siamese network's turn."""
        return {"content_spread": shared.values["content_spread"]} if player.name == "siamese" else {}

    def _further_terms(
        self, batch: Batch, shared: Shared, translated: Tensor, back: Tensor
    ) -> dict[str, Tensor]:
        """L_S = L_cc + L_dc on this step's pairs, which the siamese network then sees detached."""
        pairs = self._draw_pairs(batch, translated, back)
        shared.values["pairs"] = pairs.detached()
        reading: SiameseReading = self.siamese(pairs.first, pairs.second)
        return self._content_term(pairs, reading) | self._domain_term(pairs, reading)

    def _draw_pairs(self, batch: Batch, translated: Tensor, back: Tensor) -> _Pairs:
        """Pairs of source images with their translations, then of target images with theirs."""
        config = self.config
        valid = torch.cat([batch.source_valid, batch.target_valid])
        grid = place_grid((valid.shape[-2], valid.shape[-1]), config.grid, config.grid_jitter, batch.host)
        # the generators' noise outside the image is no content
        images = grid.cut(blacken(torch.cat([batch.source, batch.target]), valid))
        translations = grid.cut(blacken(torch.cat([translated, back]), valid))
        valid_cells = grid.cut(valid)
        usable = valid_cells.flatten(2).mean(dim=2) >= config.minimum_valid
        drawn = draw_pairs(usable, config.sampling, batch.device)
        pool, pool_valid = torch.cat([images, translations], 1), torch.cat([valid_cells, valid_cells], 1)
        first, second = drawn.pairs.unbind(2)
        return _Pairs(
            first=pick(pool, first),
            second=pick(pool, second),
            first_valid=pick(pool_valid, first),
            second_valid=pick(pool_valid, second),
            cases=drawn.cases.flatten(),
            classes=name_classes(drawn.cases, config.classes).flatten(),
            counted=drawn.counted.to(valid.dtype).flatten(),
        )

    def _content_term(self, pairs: _Pairs, reading: SiameseReading) -> dict[str, Tensor]:
        """L_cc: the content map of a cell is the same before and after translation."""
        if not self.config.content:
            return {}
        distance = content_distance(
            *self._compared_maps(pairs, reading), pairs.first_valid * pairs.second_valid, pairs.weight(C1)
        )
        return {"content": self.config.content * distance}

    def _separation_term(self, pairs: _Pairs, reading: SiameseReading) -> dict[str, Tensor]:
        maps = self._compared_maps(pairs, reading)
        valid = pairs.first_valid * pairs.second_valid
        lacking = separation(*maps, valid, pairs.weight(C2), self.config.hinge_margin)
        return {"separation": self.config.content * lacking}

    def _compared_maps(self, pairs: _Pairs, reading: SiameseReading) -> tuple[Tensor, Tensor]:
        if self.config.s_objective != "both_guarded":
            return reading.first_map, reading.second_map
        return (
            standardise(reading.first_map, pairs.first_valid),
            standardise(reading.second_map, pairs.second_valid),
        )

    def _domain_term(self, pairs: _Pairs, reading: SiameseReading) -> dict[str, Tensor]:
        """L_dc: cross-entropy of the three classes, mean over the pairs that count."""
        if not self.config.domain:
            return {}
        logits = at_least_float32(reading.domain_logits)
        each = nn.functional.cross_entropy(logits, pairs.classes, reduction="none")
        return {"domain": self.config.domain * masked_mean(each, pairs.counted)}

    def local_state(self) -> dict[str, Tensor]:
        """The image pools, and what the watch over the content maps has seen."""
        return super().local_state() | {"content_spread": self._watch.state}

    def load_local_state(self, state: dict[str, Tensor]) -> None:
        super().load_local_state(state)
        self._watch.state = state["content_spread"].to(next(self.parameters()).device)


class _SpreadWatch:
    """Stops a training whose content maps have become constant.

    Attributes:
        state: how often it looked (until the start is known), the spread at the start, and its moving mean.
    """

    def __init__(self, config: OPGANConfig) -> None:
        self._threshold, self._every = config.collapse_below, config.collapse_every
        self._objective = config.s_objective
        self.state = torch.zeros(3)

    def observe(self, spread: Float[Tensor, ""], seen: Bool[Tensor, ""], *, step: int) -> None:
        """Take in one step's spread, on the device; look at it in every n-th step, because that waits.

        Raises:
            CollapsedTrainingError: the moving mean has fallen below the threshold.
        """
        looks, start, mean = self.state.to(spread.device).unbind()
        first = looks < _START_LOOKS
        start = torch.where(first, start + (spread - start) / (looks + 1), start)
        mean = torch.where(first, start, _MEMORY * mean + (1 - _MEMORY) * spread)
        after = torch.stack([(looks + 1).clamp(max=_START_LOOKS), start, mean])
        self.state = torch.where(seen, after, self.state.to(spread.device))
        if self._threshold and (step + 1) % self._every == 0:
            self._require_spread(step + 1)

    def _require_spread(self, step: int) -> None:
        _, start, mean = self.state.tolist()
        if mean >= self._threshold * start:
            return
        raise CollapsedTrainingError(
            f"step {step}",
            found=f"a standard deviation of the content maps of {mean:.2g}, {mean / start:.0%} of its start",
            expected=f"at least {self._threshold:.0%}: a constant map keeps no object in place",
            remedy="start a new run with "
            + ("a lower adapter.siamese_optimizer.learning_rate" if self._objective == "dc" else _WAYS_OUT)
            + "; checkpoints that were written before are kept",
        )


def name_classes(cases: Int[Tensor, "B K"], naming: Literal["domain", "role"]) -> Int[Tensor, "B K"]:
    """Class 0, 1 or 2 of each pair; the first half of the batch translates source to target.

    By `role`, 0 is two cells of an image and 1 two of a translation. By `domain`, 0 is two cells that look
    like the source and 1 two that look like the target, so that both swap in the second half. 2 is a pair of
    both.
    """
    classes = torch.tensor([0, 1, 2, 2], device=cases.device)[cases]  # D1, D2, C1, C2
    if naming == "role":
        return classes
    forward, backward = classes.chunk(2)
    return torch.cat([forward, torch.where(backward < 2, 1 - backward, backward)])


def _mean_spread(pairs: _Pairs, reading: SiameseReading) -> Float[Tensor, ""]:
    """Mean standard deviation of the content maps as they are, of all cells in pairs that count."""
    both = torch.cat([reading.first_map, reading.second_map]).detach()
    each = spatial_spread(both, torch.cat([pairs.first_valid, pairs.second_valid]))
    return masked_mean(each, pairs.counted.repeat(2))
