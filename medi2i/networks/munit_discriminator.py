"""MUNIT's discriminator: equal networks on an image pyramid (Huang et al., ECCV 2018)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medi2i.config import Config
from medi2i.errors import UsageError
from medi2i.networks.initialization import initialize_kaiming, initialize_normal
from medi2i.networks.normalization import full_precision

_SLOPE = 0.2


class PyramidDiscriminatorConfig(Config):
    """Size of a discriminator on a pyramid; the defaults are the paper's (three scales of 46 px patches).

    Not in the paper, and off by default:

    Attributes:
        detail_gain: factor of a second input channel, the image minus its 3 x 3 mean, at every scale. Fine
            detail is tens of times weaker than tone; to find it unaided takes thousands of steps.
        initialization: `kaiming` instead of N(0, 0.02): there is no norm to rescale what fades from layer to
            layer, so that a short training spends its time waking the discriminator up.
    """

    width: int = Field(default=64, gt=0)
    layers: int = Field(default=4, ge=1, le=6)
    scales: int = Field(default=3, ge=1, le=5)
    detail_gain: float = Field(default=0.0, ge=0)
    initialization: Literal["normal", "kaiming"] = "normal"

    @property
    def smallest_px(self) -> int:
        """Shortest side of an image that every scale can judge: reflect padding needs 2 px in each layer."""
        return 2**self.layers * 2 ** (self.scales - 1)

    def build(self, *, seed: int, channels: int = 1) -> PyramidDiscriminator:
        """A discriminator with weights drawn by `seed`."""
        discriminator = PyramidDiscriminator(self, channels)
        if self.initialization == "kaiming":
            initialize_kaiming(discriminator, slope=_SLOPE, seed=seed)
        else:
            initialize_normal(discriminator, seed=seed)
        return discriminator


class PyramidDiscriminator(nn.Module):
    """Raw logits of overlapping patches, one map a scale: c4s2-64, -128, -256, -512, 1 x 1; no norm."""

    def __init__(self, config: PyramidDiscriminatorConfig, channels: int = 1) -> None:
        super().__init__()
        self.config = config
        seen = 2 * channels if config.detail_gain else channels
        self.scales = nn.ModuleList(_judge(config, seen) for _ in range(config.scales))

    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Float[Tensor, "B 1 _h _w"]]:
        """Logits from the finest to the coarsest scale.

        Raises:
            UsageError: the image is too small for the coarsest scale.
        """
        rows, columns = image.shape[-2:]
        if min(rows, columns) < self.config.smallest_px:
            raise UsageError(
                "data.crop_size",
                found=f"images of {rows} x {columns} px",
                expected=f"at least {self.config.smallest_px} px for {self.config.scales} scales",
                remedy="take larger crops, or fewer adapter.discriminator.scales",
            )
        logits = []
        for judge in self.scales:
            logits.append(full_precision(judge(self._seen(image))))
            # the border's padding doesn't count: it would darken it
            image = F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
        return logits

    def _seen(self, image: Tensor) -> Tensor:
        if not self.config.detail_gain:
            return image
        smooth = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
        # clamped: the edge of a cut-out is no detail, and would drown it
        detail = (self.config.detail_gain * (image - smooth)).clamp(-1, 1)
        return torch.cat([image, detail], dim=1)


def shrink_valid(
    valid: Float[Tensor, "B 1 H W"], like: Float[Tensor, "B _c h w"]
) -> Float[Tensor, "B 1 h w"]:
    """How much of each position of a smaller map is valid."""
    rows, columns = like.shape[-2:]
    return F.adaptive_avg_pool2d(valid, (rows, columns))


def _judge(config: PyramidDiscriminatorConfig, channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    width = config.width
    for index in range(config.layers):
        following = config.width * 2 ** min(index, 3)
        layers += [
            nn.Conv2d(
                channels if index == 0 else width,
                following,
                4,
                stride=2,
                padding=1,
                padding_mode="reflect",
            ),
            nn.LeakyReLU(_SLOPE),
        ]
        width = following
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 1))
