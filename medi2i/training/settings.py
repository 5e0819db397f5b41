"""Length, precision and bookkeeping of a training, and the written rule for its best checkpoint."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from medi2i.config import Config


class TrainingConfig(Config):
    """Length, precision and bookkeeping of a training; the recipe of a method's optimisers is the method's.

    The learning rate is constant for `constant` of the training and then falls linearly to 0. Lengths are in
    epochs (the longer domain once) or in steps, whichever is given. `channels_last` concerns CUDA only.
    `halve_when_out_of_memory` goes back to the last checkpoint and on with half of `batch_size` and twice
    `accumulate`: as many images a step, but other noise, and other statistics of what looks at a batch.
    """

    alternatives: ClassVar[tuple[str, ...]] = ("epochs", "steps")

    epochs: int | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)
    constant: float = Field(default=0.5, ge=0, le=1)
    batch_size: int = Field(default=1, gt=0)
    accumulate: int = Field(default=1, gt=0)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    average: float | None = Field(default=None, gt=0, lt=1, description="decay of the weight average")
    gradient_norm: float | None = Field(default=None, gt=0)
    channels_last: bool = True
    log_every: int = Field(default=50, gt=0)
    # written down only where it is set: it came later, and what was trained without it counts as the same
    halve_when_out_of_memory: bool = Field(default=False, exclude_if=operator.not_)
    validate_every: int = Field(default=250, gt=0)
    preview_every: int = Field(default=500, gt=0)
    minimum_gradient_correlation: float = Field(default=0.75, ge=-1, le=1)

    @model_validator(mode="after")
    def _one_length(self) -> TrainingConfig:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either 'epochs' or 'steps'")
        return self

    def total_steps(self, epoch_length: int) -> int:
        """Training steps; a step sees `batch_size * accumulate` images of each domain."""
        if self.steps is not None:
            return self.steps
        return (self.epochs or 0) * max(1, epoch_length // (self.batch_size * self.accumulate))

    def learning_rate_factor(self, step: int, epoch_length: int) -> float:
        """Fraction of the initial learning rate in (zero-based) `step`.

        With epochs this is the published rule, 1 - max(0, epoch + 1 - n_constant) / (n_decay + 1), where the
        rate changes once an epoch; with steps the same rule at every step.
        """
        per_epoch = max(1, epoch_length // (self.batch_size * self.accumulate))
        unit, total = (step // per_epoch, self.epochs) if self.epochs else (step, self.steps)
        constant = round(self.constant * (total or 0))
        return 1.0 - max(0, unit + 1 - constant) / ((total or 0) - constant + 1)


@dataclass(frozen=True)
class Score(ABC):
    """What a look at held-out images says of a training's weights; plain numbers, kept in checkpoints."""

    @abstractmethod
    def better_than(self, other: Self | None, minimum: float) -> bool:
        """Whether BEST moves here from `other`; `minimum` is `minimum_gradient_correlation`."""


@dataclass(frozen=True)
class Validation(Score):
    """What the rule for BEST looks at: distance to held-out target images, structure kept."""

    distance: float
    gradient_correlation: float

    def better_than(self, other: Validation | None, minimum: float) -> bool:
        """The written rule: enough structure first, then the smaller distance; else the more structure."""
        if other is None:
            return True
        enough, others = self.gradient_correlation >= minimum, other.gradient_correlation >= minimum
        if enough != others:
            return enough
        if enough:
            return self.distance < other.distance
        return self.gradient_correlation > other.gradient_correlation
