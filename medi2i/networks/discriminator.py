"""The 70 x 70 PatchGAN (Isola et al. 2017), MONAI's with the paper's norm and initialisation."""

from __future__ import annotations

from jaxtyping import Float
from monai.networks.nets import PatchDiscriminator
from pydantic import Field
from torch import Tensor, nn

from medi2i.config import Config
from medi2i.networks.initialization import initialize_normal


class PatchGANConfig(Config):
    """Size of a PatchGAN; the defaults are the paper's (receptive field 70 px)."""

    width: int = Field(default=64, gt=0)
    layers: int = Field(default=3, ge=1, le=5)

    def build(self, *, seed: int) -> PatchGAN:
        """A discriminator with weights from N(0, 0.02) drawn by `seed`."""
        discriminator = PatchGAN(self)
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
            norm="INSTANCE",  # MONAI's default is batch norm
        )

    def forward(self, image: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 h w"]:
        logits: Tensor = self.layers(image)[-1]  # MONAI returns every feature map, the logits last
        return logits.to(image.dtype)
