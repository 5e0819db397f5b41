"""The 70 x 70 PatchGAN (Isola et al. 2017), MONAI's with the paper's norm and initialisation."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from monai.networks.nets import PatchDiscriminator
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medi2i.config import Config
from medi2i.networks.initialization import initialize_kaiming, initialize_normal


class PatchGANConfig(Config):
    """Size of a PatchGAN; the defaults are the paper's (receptive field 70 px).

    Not in the paper, and off by default:

    Attributes:
        norm: instance norm hides the strength of fine detail from the discriminator, which is just what DRRs,
            smooth as they are, lack beside films; `none` leaves it visible.
        detail_gain: factor of a second input channel, the image minus its 3 x 3 mean. Fine detail is tens of
            times weaker than tone; to find it unaided takes a discriminator thousands of steps.
    """

    width: int = Field(default=64, gt=0)
    layers: int = Field(default=3, ge=1, le=5)
    norm: Literal["instance", "none"] = "instance"
    detail_gain: float = Field(default=0.0, ge=0)

    def build(self, *, seed: int, conditional: bool = False) -> PatchGAN:
        """A discriminator with weights drawn by `seed`: from N(0, 0.02), or He's without norm.

        Args:
            seed: of the weights.
            conditional: whether it is shown, beside an image, the one it was made of.
        """
        discriminator = PatchGAN(self, conditional=conditional)
        if self.norm == "none":
            initialize_kaiming(discriminator, slope=0.2, seed=seed)
        else:
            initialize_normal(discriminator, seed=seed)
        return discriminator


class PatchGAN(nn.Module):
    """Raw logits, one for each overlapping patch; no sigmoid (least-squares GAN)."""

    def __init__(self, config: PatchGANConfig, *, conditional: bool = False) -> None:
        super().__init__()
        self.detail_gain = config.detail_gain
        self.layers = PatchDiscriminator(
            spatial_dims=2,
            in_channels=1 + bool(config.detail_gain) + conditional,
            channels=config.width,
            num_layers_d=config.layers,
            norm="INSTANCE" if config.norm == "instance" else None,  # MONAI's default is batch norm
            bias=config.norm == "none",  # a norm would take a bias away again
        )

    def forward(
        self, image: Float[Tensor, "B 1 H W"], condition: Float[Tensor, "B 1 H W"] | None = None
    ) -> Float[Tensor, "B 1 h w"]:
        """Logits of an image, or of an image and its `condition` where it was built to be conditional."""
        seen = image
        if self.detail_gain:
            smooth = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
            # clamped: the edge of a cut-out is no detail, and would drown it
            detail = (self.detail_gain * (image - smooth)).clamp(-1, 1)
            seen = torch.cat([image, detail], dim=1)
        if condition is not None:
            seen = torch.cat([condition, seen], dim=1)
        logits: Tensor = self.layers(seen)[-1]  # MONAI returns every feature map, the logits last
        return logits.to(image.dtype)
