"""Features of a convolutional network that never learned anything.

Random filters answer to edges and texture at several scales, are the same in every run, and need no file.
They are weak beside features learned from photographs, and that is known (He et al., "A powerful generative
model using random weights for the deep image representation", NeurIPS 2016, for what they can do).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from medi2i.config import Config


class RandomFeaturesConfig(Config):
    """Size of the network; with the default its features are at an eighth of the image, as VGG16's relu4_2.

    Attributes:
        width: channels of the first stage; they double with each halving, up to eight times.
        halvings: stages after the first.
        seed: draws the weights. Not the run's seed: the features of two runs can be compared.
    """

    width: int = Field(default=32, gt=0)
    halvings: int = Field(default=3, ge=0, le=5)
    seed: int = Field(default=0, ge=0)

    def build(self) -> RandomFeatures:
        """The network these settings describe."""
        return RandomFeatures(self)


class RandomFeatures(nn.Module):
    """Stages of two 3 x 3 convolutions with ReLU, the image averaged down in between; nothing can learn.

    The filters (He et al. 2015: N(0, 2 / fan in)) are buffers that are no part of a checkpoint. Each has a
    sum of 0 over the image's one channel in the first layer, so that a change of brightness alone is no
    feature.
    """

    def __init__(self, config: RandomFeaturesConfig) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(config.seed)
        self.halvings, self._names = config.halvings, list[str]()
        channels = 1
        for stage in range(config.halvings + 1):
            width = config.width * min(2**stage, 8)
            for layer in range(2):
                filters = torch.empty(width, channels, 3, 3).normal_(generator=generator)
                if channels == 1:
                    filters = filters - filters.mean(dim=(2, 3), keepdim=True)
                filters = filters * math.sqrt(2 / (9 * channels))
                self._names.append(f"filters_{stage}_{layer}")
                self.register_buffer(self._names[-1], filters, persistent=False)
                channels = width

    def forward(self, image: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B C h w"]:
        features = image
        for number, name in enumerate(self._names):
            if number and number % 2 == 0:
                features = nn.functional.avg_pool2d(features, 2)
            padded = nn.functional.pad(features, (1, 1, 1, 1), mode="reflect")
            features = nn.functional.conv2d(padded, self.get_buffer(name)).relu()
        return features
