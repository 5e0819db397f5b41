"""Weight initialisation of the published recipes."""

from __future__ import annotations

import torch
from torch import nn


def initialize_normal(network: nn.Module, *, std: float = 0.02, seed: int) -> None:
    """Draw every convolution and linear weight from N(0, std) and zero the biases (Zhu et al. 2017, §4).

    The draw depends on `seed` only, not on the global random state.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            with torch.no_grad():
                module.weight.copy_(torch.empty(module.weight.shape).normal_(0.0, std, generator=generator))
                if module.bias is not None:
                    module.bias.zero_()
