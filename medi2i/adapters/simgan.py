"""SimGAN: a translation stays near its source, pixel by pixel (Shrivastava et al., "Learning from simulated
and unsupervised images through adversarial training", CVPR 2017).

As CycleGAN's authors ran it for comparison: their networks and least squares instead of the paper's refiner
and log loss. Self-regularisation (eq. 4 with the identity as feature map) and the history of translations
(section 2.3) are the paper's.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from medi2i.adapters.base import Batch
from medi2i.adapters.one_sided import OneSided, OneSidedConfig
from medi2i.similarity.weighting import masked_mean


class SimGANConfig(OneSidedConfig):
    """A one-sided GAN with |G(a) - a| on pixels, of weight `self_regularisation`."""

    name: Literal["simgan"] = "simgan"
    self_regularisation: float = Field(default=10.0, ge=0)

    def build(self, *, seed: int) -> SimGAN:
        """A SimGAN with weights drawn by `seed`."""
        return SimGAN(self, seed=seed)


class SimGAN(OneSided):
    """A GAN whose generator pays for each gray level that it changes."""

    def __init__(self, config: SimGANConfig, *, seed: int) -> None:
        super().__init__(config, seed=seed)
        self.config = config

    def _keeping_terms(self, batch: Batch, translated: Tensor) -> dict[str, Tensor]:
        if not self.config.self_regularisation:
            return {}
        change = masked_mean((translated - batch.source).abs(), batch.source_valid)
        return {"self_regularisation": self.config.self_regularisation * change}
