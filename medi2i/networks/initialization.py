"""Weight initialisation of the published recipes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def initialize_normal(network: nn.Module, *, std: float = 0.02, seed: int) -> None:
    """Draw every convolution and linear weight from N(0, std) and zero the biases (Zhu et al. 2017, §4).

    The draw depends on `seed` only, not on the global random state.
    """
    _draw(network, seed, lambda weight: std)


def initialize_kaiming(network: nn.Module, *, slope: float, seed: int) -> None:
    """N(0, gain / sqrt(fan in)) for leaky ReLU of this slope (He et al. 2015): networks without norm layers.

    With N(0, 0.02) and nothing to rescale them, activations fade from layer to layer.
    """
    gain = math.sqrt(2 / (1 + slope**2))
    _draw(network, seed, lambda weight: gain / math.sqrt(weight[0].numel()))


def initialize_xavier(network: nn.Module, *, gain: float = 0.02, seed: int) -> None:
    """N(0, gain * sqrt(2 / (fan in + fan out))) (Glorot and Bengio 2010), with the gain of CUT's authors."""

    def std_of(weight: Tensor) -> float:
        area = weight[0, 0].numel()  # both fans count a kernel's pixels
        return gain * math.sqrt(2 / ((weight.shape[0] + weight.shape[1]) * area))

    _draw(network, seed, std_of)


def _draw(network: nn.Module, seed: int, std_of: Callable[[Tensor], float]) -> None:
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            with torch.no_grad():
                drawn = torch.empty(module.weight.shape).normal_(
                    0.0, std_of(module.weight), generator=generator
                )
                module.weight.copy_(drawn)
                if module.bias is not None:
                    module.bias.zero_()
