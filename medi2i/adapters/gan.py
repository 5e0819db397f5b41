"""A GAN alone: translations must look real, and nothing ties them to their source.

The lower end of CycleGAN's comparisons ("GAN alone": Zhu et al., ICCV 2017, section 5.1.4).
"""

from __future__ import annotations

from typing import Literal

from medi2i.adapters.one_sided import OneSided, OneSidedConfig


class GANConfig(OneSidedConfig):
    """One generator, one discriminator, and no term beside."""

    name: Literal["gan"] = "gan"

    def build(self, *, seed: int) -> GAN:
        """A GAN with weights drawn by `seed`."""
        return GAN(self, seed=seed)


class GAN(OneSided):
    """CycleGAN's networks in one direction, without its cycle."""
