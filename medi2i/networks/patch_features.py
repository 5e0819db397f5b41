"""What CUT compares: features of a residual generator's encoder, and the small networks that project them
(Park et al., "Contrastive learning for unpaired image-to-image translation", ECCV 2020, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from medi2i.errors import ConfigError
from medi2i.networks.initialization import initialize_xavier
from medi2i.networks.resnet import ResNetGenerator


class EncodedGenerator(nn.Module):
    """A residual generator that also gives its encoder's features, by one call that every engine can wrap.

    Layers are counted as the authors' code counts modules: padding, convolution, norm, ReLU, then each
    halving's modules, then one a residual block. With antialiased halvings 0 is the image, 4 and 8 are the
    halvings' convolutions, 12 is the first and 16 the fifth residual block.
    """

    def __init__(self, network: ResNetGenerator) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, image: Float[Tensor, "B 1 H W"], layers: tuple[int, ...] = ()
    ) -> Float[Tensor, "B 1 H W"] | list[Tensor]:
        """The translation; with `layers`, their features (B, C, h, w) instead."""
        if not layers:
            translated: Tensor = self.network(image)
            return translated
        features, found = image, {0: image}  # without the padding, which repeats pixels
        for number, module in enumerate(self._modules_in_order()[: max(layers) + 1]):
            features = module(features)
            found.setdefault(number, features)
        return [found[layer] for layer in layers]

    def channels(self, layers: Sequence[int]) -> list[int]:
        """Channels of each layer.

        Raises:
            ConfigError: there is no such layer.
        """
        counts = [1]
        for module in self._modules_in_order()[1:]:
            convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
            counts.append(convolutions[-1].out_channels if convolutions else counts[-1])
        if max(layers) >= len(counts):
            raise ConfigError(
                "adapter.layers",
                found=f"layer {max(layers)}",
                expected=f"0 to {len(counts) - 1}, what a generator of this many blocks has",
                remedy="leave it out, or use more adapter.generator.blocks",
            )
        return [counts[layer] for layer in layers]

    def _modules_in_order(self) -> list[nn.Module]:
        network = self.network
        return [*network.stem, *network.encode, *network.transform]


class Projections(nn.ModuleList):
    """One network of two layers for each feature layer: C to width, ReLU, width; then unit length."""

    def __init__(self, channels: Sequence[int], width: int, *, seed: int) -> None:
        super().__init__(
            nn.Sequential(nn.Linear(count, width), nn.ReLU(), nn.Linear(width, width)) for count in channels
        )
        initialize_xavier(self, seed=seed)

    def forward(
        self, features: Sequence[Float[Tensor, "B C h w"]], places: Sequence[Int[Tensor, "B P"]]
    ) -> list[Float[Tensor, "B P D"]]:
        """Unit vectors of the places (row * columns + column) of each layer; float32 under autocast."""
        projected = []
        for network, layer, chosen in zip(self, features, places, strict=True):
            columns = layer.flatten(2).transpose(1, 2)
            index = chosen[..., None].expand(-1, -1, columns.shape[2])
            vectors: Tensor = network(columns.gather(1, index))
            vectors = vectors if vectors.dtype == torch.float64 else vectors.float()
            projected.append(nn.functional.normalize(vectors, dim=2))
        return projected
