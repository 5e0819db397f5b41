"""StarGAN's critic (Choi et al., CVPR 2018) with MatchGAN's match head (Sun, Bhattarai, Kim, ACCV 2020)."""

from __future__ import annotations

from typing import Literal, NamedTuple, Self

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medi2i.config import Config
from medi2i.errors import UsageError
from medi2i.networks.initialization import initialize_kaiming
from medi2i.networks.normalization import full_precision
from medi2i.networks.stargan import LAYER_DEFAULT_SLOPE

_SLOPE = 0.01


class StarGANDiscriminatorConfig(Config):
    """Size of the critic; width and layers are the paper's.

    Attributes:
        heads: `fixed` is the paper's: the heads for attributes and matches are convolutions over the whole
            map, so that all images must be `size_px` wide and high. `pooled` heads read the mean over the
            valid part of the map: any size.
        size_px: side of the training crops, for `fixed` heads.
        detail_gain: factor of a second input channel, the image minus its 3 x 3 mean; 0: none. Fine detail is
            tens of times weaker than tone, and takes long to be found unaided. Not in the paper.
        initialization: `default` is torch's, as in the authors' code; with `kaiming` the signal does not fade
            through the layers, which have no norm.
    """

    width: int = Field(default=64, gt=0)
    layers: int = Field(default=6, ge=1, le=7)
    heads: Literal["pooled", "fixed"] = "pooled"
    size_px: int = Field(default=128, gt=0)
    detail_gain: float = Field(default=0.0, ge=0)
    initialization: Literal["default", "kaiming"] = "default"

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if self.heads == "fixed" and self.size_px % 2**self.layers:
            raise ValueError(
                f"size_px: fixed heads need a multiple of {2**self.layers}, found {self.size_px}"
            )
        return self

    def build(self, *, bits: int, matches: bool, seed: int, channels: int = 1) -> StarGANDiscriminator:
        """A critic for codes of so many bits, with or without match head, with weights drawn by `seed`."""
        critic = StarGANDiscriminator(self, bits=bits, matches=matches, channels=channels)
        slope = LAYER_DEFAULT_SLOPE if self.initialization == "default" else _SLOPE
        initialize_kaiming(critic, slope=slope, seed=seed)
        return critic


class Judgement(NamedTuple):
    """What the critic says of a batch; raw, without activation.

    Attributes:
        realness: one score for each patch.
        bits: logits of the code.
        match: logits "no match", "match" of each pair that was asked for.
    """

    realness: Float[Tensor, "B 1 h w"]
    bits: Float[Tensor, "B C"]
    match: Float[Tensor, "P 2"] | None


class StarGANDiscriminator(nn.Module):
    """k4s2p1 convolutions of 64, 128, ... 2048 channels, leaky ReLU 0.01, no norm; heads without biases."""

    def __init__(
        self, config: StarGANDiscriminatorConfig, *, bits: int, matches: bool, channels: int = 1
    ) -> None:
        super().__init__()
        self.config = config
        trunk: list[nn.Module] = []
        inside = 2 * channels if config.detail_gain else channels
        for index in range(config.layers):
            outside = config.width * 2**index
            trunk += [nn.Conv2d(inside, outside, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
            inside = outside
        self.trunk = nn.Sequential(*trunk)
        kernel = config.size_px // 2**config.layers if config.heads == "fixed" else 1
        self.realness = nn.Conv2d(inside, 1, 3, padding=1, bias=False)
        self.bits = nn.Conv2d(inside, bits, kernel, bias=False)
        self.match = nn.Conv2d(2 * inside, 2, kernel, bias=False) if matches else None

    def forward(
        self,
        image: Float[Tensor, "B N H W"],
        valid: Float[Tensor, "B 1 H W"] | None = None,
        pairs: Int[Tensor, "P 2"] | None = None,
    ) -> Judgement:
        """Scores, bits, and whether the images of each pair are of one class.

        Args:
            image: in [-1, 1].
            valid: 1 where there is an image; `pooled` heads leave the rest out of their mean.
            pairs: places in the batch of the images to compare.

        Raises:
            UsageError: images too small, or of another size than `fixed` heads are for.
        """
        self._check_size(image)
        features: Tensor = self.trunk(self._seen(image))
        heard = features if self.config.heads == "fixed" else _pool(features, valid)
        match = None
        if self.match is not None and pairs is not None:
            both = torch.cat([heard[pairs[:, 0]], heard[pairs[:, 1]]], dim=1)
            match = full_precision(self.match(both)).flatten(1)
        return Judgement(
            full_precision(self.realness(features)), full_precision(self.bits(heard)).flatten(1), match
        )

    def _seen(self, image: Tensor) -> Tensor:
        if not self.config.detail_gain:
            return image
        smooth = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
        # clamped: the edge of a cut-out is no detail, and would drown it
        detail = (self.config.detail_gain * (image - smooth)).clamp(-1, 1)
        return torch.cat([image, detail], dim=1)

    def _check_size(self, image: Tensor) -> None:
        config, size = self.config, tuple(image.shape[-2:])
        smallest = 2**config.layers
        fits = size == (config.size_px,) * 2 if config.heads == "fixed" else min(size) >= smallest
        if not fits:
            raise UsageError(
                "data.crop_size",
                found=f"images of {size[0]} x {size[1]} px",
                expected=f"{config.size_px} x {config.size_px} px for fixed heads"
                if config.heads == "fixed"
                else f"at least {smallest} px for {config.layers} layers",
                remedy="change the crops, or adapter.discriminator",
            )


def _pool(
    features: Float[Tensor, "B F h w"], valid: Float[Tensor, "B 1 H W"] | None
) -> Float[Tensor, "B F 1 1"]:
    """Mean over the valid part of the map; 0 where nothing is valid."""
    features = full_precision(features)
    if valid is None:
        return features.mean(dim=(2, 3), keepdim=True)
    rows, columns = features.shape[-2:]
    weight = F.adaptive_avg_pool2d(valid.to(features), (rows, columns))
    total = weight.sum(dim=(2, 3), keepdim=True)
    return (features * weight).sum(dim=(2, 3), keepdim=True) / torch.where(total > 0, total, 1.0)
