"""What a segmenter learns from unlabelled films: a slower copy of itself says what it is sure of."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medi2i.config import Config
from medi2i.data.settings import FramingConfig
from medi2i.losses.segmentation import overlap_loss

_STEEPNESS = 5.0  # of the ramp
_INSIDE = 0.99  # a resampled pixel is valid if as much of what it is made of is


class MeanTeacherConfig(Config):
    """Self-training on films without masks (Tarvainen and Valpola, "Mean teachers", NeurIPS 2017).

    Attributes:
        decay: teacher = decay * teacher + (1 - decay) * student, at every step.
        begin: share of the training after which films are learned from; before, only images with masks are.
            A teacher that is asked too early hands its mistakes on.
        full: share of the training after which they count with their whole weight.
        weight: of the films' loss, once it is full.
        sure: probability from which a pixel is taken as the structure, and, from 1 - sure down, as none of
            it; what lies between teaches nothing.
        warp: how the student's view of a film is moved against the teacher's.
    """

    decay: float = Field(default=0.98, ge=0, lt=1)
    begin: float = Field(default=0.5, ge=0, le=1)
    full: float = Field(default=0.65, ge=0, le=1)
    weight: float = Field(default=1.0, ge=0)
    sure: float = Field(default=0.8, ge=0.5, lt=1)
    warp: FramingConfig = FramingConfig(
        zoom=0.15, aspect=0.1, rotation_deg=6.0, shift_down=0.05, shift_right=0.05
    )

    @model_validator(mode="after")
    def _full_after_begin(self) -> MeanTeacherConfig:
        if self.full < self.begin:
            raise ValueError(f"'full' is {self.full}, before 'begin', {self.begin}")
        return self

    def ramp(self, share: float) -> float:
        """Weight of the films in [0, `weight`] after a share of the training.

        exp(-5 (1 - t)^2) with t from 0 at `begin` to 1 at `full`, as in the paper's supplement.
        """
        if share < self.begin:
            return 0.0
        if share >= self.full:
            return self.weight
        t = (share - self.begin) / (self.full - self.begin)
        return self.weight * math.exp(-_STEEPNESS * (1 - t) ** 2)


def follow(teacher: nn.Module, student: nn.Module, *, decay: float, step: int) -> None:
    """Move the teacher's weights towards the student's; early on faster, so that it forgets its own start.

    The decay is at most (1 + step) / (10 + step), as that of the loop's weight average.
    """
    kept = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(teacher.parameters()), [p.detach() for p in student.parameters()], 1 - kept)


def draw_warp(config: FramingConfig, images: int, rng: torch.Generator) -> Float[Tensor, "B 2 3"]:
    """One framing for each image, as `affine_grid` takes it: (x, y) of the new to those of the old.

    Both are square and reach from -1 to 1. Zoom and aspect are even in their logarithms, the rest is even.

    Args:
        rng: decides the result's device.
    """
    level = torch.rand(5, images, generator=rng, device=rng.device)

    def between(ends: tuple[float, float], at: Tensor) -> Tensor:
        return ends[0] + (ends[1] - ends[0]) * at

    def factor(ends: tuple[float, float], at: Tensor) -> Tensor:
        return between((math.log(ends[0]), math.log(ends[1])), at).exp()

    zoom, root = factor(config.zoom_range, level[0]), factor(config.aspect_range, level[1]).sqrt()
    turn = torch.deg2rad(between(config.rotation_range_deg, level[2]))
    down, right = (between(ends, at) for ends, at in zip(config.shift_range, level[3:], strict=True))
    rows, columns, cosine, sine = zoom * root, zoom / root, turn.cos(), turn.sin()
    # sides are 2 long
    x = torch.stack((columns * cosine, -rows * sine, 2 * right), dim=-1)
    y = torch.stack((columns * sine, rows * cosine, 2 * down), dim=-1)
    return torch.stack((x, y), dim=1)


def warp(planes: Float[Tensor, "B C S S"], theta: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B C S S"]:
    """Planes resampled bilinearly; 0 beyond them."""
    planes = planes.float()
    grid = F.affine_grid(theta.float(), list(planes.shape), align_corners=False)
    return F.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def warp_valid(valid: Float[Tensor, "B 1 S S"], theta: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B 1 S S"]:
    """Where a warped image is made of nothing but image."""
    return (warp(valid, theta) > _INSIDE).float()


def agreement_loss(
    logits: Float[Tensor, "B K H W"],
    taught: Float[Tensor, "B K H W"],
    weight: Float[Tensor, "B 1 H W"],
    *,
    sure: float,
    dice_share: float,
) -> Float[Tensor, ""]:
    """Soft Dice and cross-entropy of the student against what the teacher is sure of.

    Args:
        logits: the student's.
        taught: the teacher's probabilities; no gradient reaches them.
        weight: pixels of weight 0 count in nothing.
        sure: pixels above it are the structure, those below 1 - `sure` are not, others count in nothing;
            decided for each structure.
        dice_share: as in `overlap_loss`.
    """
    taught = taught.detach()
    certain = ((taught > sure) | (taught < 1 - sure)).to(taught.dtype) * weight
    answers = (taught > sure).to(taught.dtype)
    # each structure of each image has pixels of its own that count: an image of one structure
    single = (planes.flatten(0, 1)[:, None] for planes in (logits, answers, certain))
    one, answer, counts = single
    return overlap_loss(one, answer, counts, dice_share=dice_share)
