"""The monotone tone curve that turns one image into another as well as a tone curve can; in closed form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

# Weight of the curve's bends against the mean square error: decides where no pixel has the gray level.
_BENDING = 1e-5


def fit_tone_curve(
    x: Float[Tensor, "B 1 H W"],
    y: Float[Tensor, "B 1 H W"],
    weight: Float[Tensor, "B 1 H W"],
    *,
    knots: int = 16,
    minimum_slope: float = 0.1,
) -> Float[Tensor, "B K"]:
    """Values at `knots` equally spaced gray levels from -1 to 1 of a curve T with T(x) near y; rising.

    Weighted least squares of piecewise linear curves, bends punished very slightly; then made to rise by at
    least `minimum_slope` by isotonic regression (Barlow et al., "Statistical inference under order
    restrictions", 1972, the max-min formula), which changes nothing where the slopes are above it. Exact for
    the identity; where no pixel has the gray level, the line goes on. Differentiable in x and y.

    Args:
        x: gray levels to be mapped; beyond [-1, 1] they count as the ends.
        y: what they should become.
        weight: >= 0.
        knots: 2 or more.
        minimum_slope: >= 0; above 0, a wiped-out y can't be had by a flat curve.
    """
    levels = _levels(knots, x)
    shares = _hat_shares(x, knots)
    counted = weight.to(x.dtype).flatten(1)
    total = counted.sum(dim=1, keepdim=True)
    counted = (counted / torch.where(total > 0, total, torch.ones_like(total)))[..., None]
    # the departure from the identity: rounding then leaves an unchanged image unchanged
    departure = (y - x.clamp(-1, 1)).flatten(1)[..., None]
    departure = torch.where(counted > 0, departure, torch.zeros_like(departure))
    bends = torch.diff(torch.eye(knots, dtype=x.dtype, device=x.device), n=2, dim=0)
    tiny = 1e-8 * torch.eye(knots, dtype=x.dtype, device=x.device)
    # autocast would multiply in half precision
    with torch.autocast(x.device.type, enabled=False):
        normal = (counted * shares).transpose(1, 2) @ shares + _BENDING * bends.T @ bends + tiny
        wanted = (counted * shares).transpose(1, 2) @ departure
        values = levels + torch.linalg.solve(normal, wanted)[..., 0]
    mass = (counted * shares).sum(dim=1) + 1e-6
    return isotonic(values - minimum_slope * levels, mass) + minimum_slope * levels


def apply_tone_curve(x: Float[Tensor, "B 1 H W"], values: Float[Tensor, "B K"]) -> Float[Tensor, "B 1 H W"]:
    """T(x) of each image's own curve, linear between its knots and constant beyond [-1, 1]."""
    shares = _hat_shares(x, values.shape[1])
    return (shares * values[:, None]).sum(dim=2).view_as(x)


def _levels(knots: int, like: Tensor) -> Float[Tensor, " K"]:
    return torch.linspace(-1, 1, knots, dtype=like.dtype, device=like.device)


def _hat_shares(x: Tensor, knots: int) -> Float[Tensor, "B N K"]:
    """How near each pixel is to each knot, linearly; a pixel's shares sum to 1."""
    position = (x.clamp(-1, 1).flatten(1) + 1) / 2 * (knots - 1)
    numbers = torch.arange(knots, dtype=x.dtype, device=x.device)
    return (1 - (position[..., None] - numbers).abs()).clamp(min=0)


def isotonic(values: Float[Tensor, "B K"], mass: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    """Nearest rising values by weighted squares: max over a <= k of min over b >= k of the mean of a .. b."""
    knots = values.shape[1]
    number = torch.arange(knots, device=values.device)
    within = (number[:, None, None] <= number) & (number <= number[None, :, None])  # [a, b, k]
    inside = within.to(values.dtype)
    means = (inside * (mass * values)[:, None, None]).sum(dim=3) / (
        (inside * mass[:, None, None]).sum(dim=3).clamp(min=1e-12)
    )
    infinite = torch.full_like(means, torch.inf)
    upwards = number[:, None] <= number  # a <= b
    lowest = torch.where(upwards, means, infinite).flip(2).cummin(dim=2).values.flip(2)
    return torch.where(upwards, lowest, -infinite).amax(dim=1)
