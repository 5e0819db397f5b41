"""The 70 x 70 PatchGAN (Isola et al. 2017), MONAI's with the paper's norm and initialisation."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from monai.networks.nets import PatchDiscriminator
from pydantic import Field
from torch import Tensor, nn

from medi2i.config import Config
from medi2i.networks.initialization import initialize_kaiming, initialize_normal


class PatchGANConfig(Config):
    """Size of a PatchGAN; the defaults are the paper's (receptive field 70 px).

    `norm: none` is not in the paper: instance norm hides the strength of fine detail from the discriminator, which
    is just what DRRs, smooth as they are, lack beside films.
    """

    width: int = Field(default=64, gt=0)
    layers: int = Field(default=3, ge=1, le=5)
    norm: Literal["instance", "none"] = "instance"

    def build(self, *, seed: int) -> PatchGAN:
        """A discriminator with weights drawn by `seed`: from N(0, 0.02), or He's without norm."""
        discriminator = PatchGAN(self)
        if self.norm == "none":
            initialize_kaiming(discriminator, slope=0.2, seed=seed)
        else:
            initialize_normal(discriminator, seed=seed)
        return discriminator


class PatchGAN(nn.Module):
    """Raw logits, one for each overlapping patch; no sigmoid (least-squares GAN)."""

    def __init__(self, config: PatchGANConfig) -> None:
        super().__init__()
        self.layers = PatchDiscriminator(
            spatial_dims=2,
            in_channels=1,
            channels=config.width,
            num_layers_d=config.layers,
            norm="INSTANCE" if config.norm == "instance" else None,  # MONAI's default is batch norm
            bias=config.norm == "none",  # a norm would take a bias away again
        )

    def forward(self, image: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 h w"]:
        logits: Tensor = self.layers(image)[-1]  # MONAI returns every feature map, the logits last
        return logits.to(image.dtype)
