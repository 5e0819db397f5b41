"""Translations that learn nothing or next to nothing: every table of results holds them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from medi2i.adapters.base import Direction, DomainAdapter
from medi2i.config import Config
from medi2i.image import Domain

_QUANTILES = 512


class IdentityConfig(Config):
    """The image as it is."""

    name: Literal["identity"] = "identity"

    def build(self, *, seed: int) -> Identity:
        """The adapter; `seed` is not used."""
        return Identity()


class Identity(DomainAdapter):
    """Returns its input."""

    def translate(
        self,
        image: Tensor,
        *,
        direction: Direction,
        valid: Tensor | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Tensor:
        return image


class HistogramConfig(Config):
    """Histogram matching to the mean histogram of the other domain's training images."""

    name: Literal["histogram"] = "histogram"

    def build(self, *, seed: int) -> Histogram:
        """The adapter; `seed` is not used."""
        return Histogram()


class Histogram(DomainAdapter):
    """Monotone map of each image's valid pixels to the domain's mean quantile function."""

    source_quantiles: Tensor
    target_quantiles: Tensor

    def __init__(self) -> None:
        super().__init__()
        levels = torch.linspace(-1, 1, _QUANTILES)
        self.register_buffer("source_quantiles", levels.clone())
        self.register_buffer("target_quantiles", levels.clone())

    def fit(self, domain: Domain, images: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Mean over images of the quantile function of valid pixels."""
        total, count = torch.zeros(_QUANTILES, dtype=torch.float64), 0
        for image, valid in images:
            total += _quantiles(image, valid).double()
            count += 1
        if count:
            getattr(self, f"{domain}_quantiles").copy_((total / count).float())

    def translate(
        self,
        image: Tensor,
        *,
        direction: Direction,
        valid: Tensor | None = None,
        style: Any = None,
        attributes: Any = None,
    ) -> Tensor:
        reference = self.target_quantiles if direction == "source-to-target" else self.source_quantiles
        valid = torch.ones_like(image) if valid is None else valid
        return torch.stack([_match(one, mask, reference) for one, mask in zip(image, valid, strict=True)])


def _quantiles(image: Tensor, valid: Tensor) -> Tensor:
    values = image[valid > 0.5].float()
    values = values if values.numel() else image.flatten().float()
    ordered = values.sort().values
    position = torch.linspace(0, ordered.numel() - 1, _QUANTILES, device=ordered.device)
    return ordered[position.round().long()]


def _match(image: Tensor, valid: Tensor, reference: Tensor) -> Tensor:
    own = _quantiles(image, valid)
    # rank of each pixel: the middle of its run of equal quantiles, so that plateaus stay plateaus
    flat = image.flatten().contiguous().float()
    rank = (torch.searchsorted(own, flat) + torch.searchsorted(own, flat, right=True) - 1) / 2
    rank = rank.clamp(0, _QUANTILES - 1)
    lower = rank.floor().long()
    upper = (lower + 1).clamp(max=_QUANTILES - 1)
    fraction = rank - lower
    matched = reference[lower] * (1 - fraction) + reference[upper] * fraction
    return matched.view_as(image).to(image.dtype)
