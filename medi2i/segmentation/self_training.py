"""A segmenter that learns from images with masks and, later, from films without any."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medi2i.adapters import Batch, Player, Shared
from medi2i.segmentation.appearance import cover_outside, vary_appearance
from medi2i.segmentation.mean_teacher import agreement_loss, draw_warp, follow, warp, warp_valid
from medi2i.segmentation.network import SegmenterTraining
from medi2i.segmentation.settings import SegmenterConfig


class SelfTraining(SegmenterTraining):
    """Mean teacher (Tarvainen and Valpola, NeurIPS 2017): `source` has masks, `target` is films.

    The teacher sees a film as it is. The student sees it moved, and in a random look, and has to find what
    the teacher found, moved in the same way. Until films begin to count, the training is that without films,
    bit by bit. The teacher is state of the training alone: no checkpoint that is shared holds it.
    """

    companions = ("teacher",)

    def __init__(self, config: SegmenterConfig, structures: Sequence[str], *, seed: int, steps: int) -> None:
        """Take the length of the training, in steps, that the ramp is a share of."""
        super().__init__(config, structures, seed=seed)
        self.teacher: nn.Module = copy.deepcopy(self.network).requires_grad_(False)
        self._steps = steps
        self._step = -1  # that the teacher has followed to

    @property
    def adapted(self) -> bool:
        """Whether films counted with their whole weight in the last step."""
        return self._step >= self.config.self_training.full * self._steps

    def losses(self, player: Player, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        """What images with masks teach, and `films`: what the teacher is sure of on films."""
        losses = super().losses(player, batch, shared)
        settings = self.config.self_training
        if batch.step != self._step:  # once a step, however many micro-batches it has
            follow(self.teacher, self.network, decay=settings.decay, step=batch.step)
            self._step = batch.step
        weight = settings.ramp(batch.step / self._steps)
        return losses | {"films": weight * self._disagreement(batch)} if weight else losses

    def _disagreement(self, batch: Batch) -> Tensor:
        config, settings = self.config, self.config.self_training
        film, valid = batch.target, batch.target_valid
        background = config.outside == "background"
        with torch.no_grad():
            shown = torch.where(valid > 0, film, -torch.ones_like(film)) if background else film
            found = self.teacher(shown).sigmoid() * valid
            theta = draw_warp(settings.warp, len(film), batch.device)
            moved, seen, taught = warp(film, theta), warp_valid(valid, theta), warp(found, theta)
            if config.appearance is not None:
                moved = vary_appearance(moved, config.appearance, batch.device)
            if background:
                moved = cover_outside(moved, seen, batch.device)
                taught, seen = torch.where(seen > 0, taught, torch.zeros_like(taught)), torch.ones_like(seen)
        logits: Tensor = self.network(moved)
        return agreement_loss(logits, taught, seen, sure=settings.sure, dice_share=config.dice_share)
