"""Sums over an image that come out alike on any number of processor threads."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def total(
    values: Float[Tensor, "*batch H W"], counted: Bool[Tensor, "*batch H W"] | None = None
) -> Float[Tensor, "*batch 1 1"]:
    """Sum of each image over the pixels `counted`, None for all.

    Summed in float64 row by row, then over the rows: a single sum over the image would be shared out to the
    threads and rounded by their number, and a film's codes would differ from machine to machine.
    """
    if counted is not None:
        values = torch.where(counted, values, torch.zeros_like(values))
    rows = values.to(torch.float64).sum(-1, keepdim=True)
    return rows.sum(-2, keepdim=True).to(values.dtype)


def count(counted: Bool[Tensor, "*batch H W"]) -> Float[Tensor, "*batch 1 1"]:
    """Number of counted pixels of each image."""
    return counted.sum((-2, -1), keepdim=True).to(torch.float32)
