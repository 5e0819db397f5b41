"""Exponential moving average of the weights that translate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Keeps `average = decay * average + (1 - decay) * weight` of named networks.

    Early on the decay is `(1 + n) / (10 + n)`, so that the average forgets the untrained weights.
    """

    def __init__(self, networks: dict[str, nn.Module], decay: float) -> None:
        self._networks = networks
        self._decay = decay
        self._average = {name: p.detach().clone() for name, p in self._parameters()}

    def update(self, step: int) -> None:
        """Take in the weights after `step` finished steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self._average.values()), [p.detach() for _, p in self._parameters()], 1 - decay
            )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The networks with averaged weights; the trained ones come back at the end."""
        trained = {name: p.detach().clone() for name, p in self._parameters()}
        self._copy(self._average)
        try:
            yield
        finally:
            self._copy(trained)

    def tensors(self) -> dict[str, Tensor]:
        """Averaged weights, named as in the adapter's state."""
        return dict(self._average)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Inverse of `tensors`."""
        for name, value in self._average.items():
            value.copy_(tensors[name])

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        for network, module in self._networks.items():
            for name, parameter in module.named_parameters():
                yield f"{network}.{name}", parameter

    def _copy(self, tensors: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters():
                parameter.copy_(tensors[name])
