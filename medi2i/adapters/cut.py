"""CUT: a patch of the translation finds its own place in the source (Park, Efros, Zhang, Zhu, "Contrastive
learning for unpaired image-to-image translation", ECCV 2020).

One generator, one discriminator, no cycle. Features come from the generator's own encoder. Faithful by
default to the authors' code: antialiased ResNet-9, Xavier's initialisation with gain 0.02, layers 0, 4, 8, 12
and 16, 256 places of each, temperature 0.07, keys detached, discriminator before generator, no image pool.
FastCUT is this method with `identity: false`, `flip_equivariance: true` and `contrast: 10`: the preset
`fastcut`.
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medi2i.adapters.base import Batch, Player, Shared
from medi2i.adapters.one_sided import OneSided, OneSidedConfig
from medi2i.networks.augmentation import blacken
from medi2i.networks.patch_features import EncodedGenerator, Projections
from medi2i.networks.resnet import ResNetGeneratorConfig
from medi2i.similarity.patch_nce import draw_places, patch_nce
from medi2i.similarity.weighting import masked_mean

_ANTIALIASED = ResNetGeneratorConfig(
    downsample="antialiased", upsample="antialiased", initialization="xavier"
)


class CUTConfig(OneSidedConfig):
    """Settings of the contrast between patches, beside those of every one-sided method.

    Attributes:
        contrast: weight of PatchNCE on source images and their translations.
        identity: the same on target images and what the generator makes of them; the two are then averaged.
        flip_equivariance: mirrored sources, drawn with probability one half, must give mirrored translations.
            Discriminator and structure losses see the translation mirrored back, so that no film is compared
            with a mirrored chest.
        layers: whose features are compared, as `EncodedGenerator` counts them.
        places: drawn in each layer of each image, all of them where there are fewer; memory grows with their
            square.
        projection_width: of the two layers that project features.
        temperature: of the softmax over places.
        pool_size: the authors use none.
    """

    name: Literal["cut"] = "cut"
    generator: ResNetGeneratorConfig = _ANTIALIASED
    pool_size: int = Field(default=0, ge=0)
    contrast: float = Field(default=1.0, gt=0)
    identity: bool = True
    flip_equivariance: bool = False
    layers: tuple[int, ...] = Field(default=(0, 4, 8, 12, 16), min_length=1)
    places: int = Field(default=256, ge=2, le=4096)
    projection_width: int = Field(default=256, gt=0)
    temperature: float = Field(default=0.07, gt=0)

    @model_validator(mode="after")
    def _layers_that_ascend(self) -> Self:
        if min(self.layers) < 0 or sorted(set(self.layers)) != list(self.layers):
            raise ValueError(f"layers {list(self.layers)} must ascend from 0 or more")
        return self

    def build(self, *, seed: int) -> CUT:
        """A CUT with weights drawn by `seed`.

        Raises:
            ConfigError: the generator has no such layer.
        """
        return CUT(self, seed=seed)


class CUT(OneSided):
    """A one-sided GAN whose generator keeps patches recognisable."""

    def __init__(self, config: CUTConfig, *, seed: int) -> None:
        super().__init__(config, seed=seed)
        self.config = config
        encoded = EncodedGenerator(config.generator.build(seed=seed))
        self.generator = encoded
        # made at once, so that players and checkpoints know them; the authors make them at the first batch
        self.projections: nn.Module = Projections(
            encoded.channels(config.layers), config.projection_width, seed=seed + 2
        )
        # one Adam for both: it treats each weight alone, so two with the same settings would do the same
        self.players = (
            Player("discriminator", ("discriminator",), config.discriminator_optimizer),
            Player("generator", ("generator", "projections"), config.optimizer),
        )

    def _generator_losses(self, batch: Batch, shared: Shared) -> dict[str, Tensor]:
        flipped = self._flipped(batch, shared)
        images = torch.cat([batch.source, batch.target]) if self.config.identity else batch.source
        translated = _mirror(self._paint(_mirror(images, flipped)), flipped)
        translated, *rest = translated.split(batch.source.shape[0])
        joint = batch.source_valid * batch.target_valid
        losses = {"adversarial": self.settings.adversarial * self._judge(translated, joint, batch, real=True)}
        share = 0.5 * self.config.contrast if rest else self.config.contrast
        losses["contrast"] = share * self._contrast(
            batch.source, translated, batch.source_valid, batch, flipped
        )
        if rest:
            kept = self._contrast(batch.target, rest[0], batch.target_valid, batch, flipped)
            losses["identity"] = share * kept
        return losses | self._structure_terms(batch, translated)

    def _flipped(self, batch: Batch, shared: Shared) -> bool:
        """Whether this batch's sources are shown mirrored: one decision for all turns."""
        if "flipped" not in shared.values:
            drawn = self.config.flip_equivariance and bool(torch.rand((), generator=batch.host) < 0.5)
            shared.values["flipped"] = drawn
        return bool(shared.values["flipped"])

    def _translation(self, batch: Batch, shared: Shared) -> Tensor:
        flipped = self._flipped(batch, shared)
        with torch.no_grad():
            return _mirror(self._paint(_mirror(batch.source, flipped)), flipped)

    def _contrast(
        self, image: Tensor, translated: Tensor, valid: Tensor, batch: Batch, flipped: bool
    ) -> Tensor:
        """PatchNCE (eq. 3), averaged over places and over layers; invalid places count in nothing."""
        config = self.config
        # what is invalid is the same in both; the translation is looked at the way it was painted
        looked_at = _mirror(blacken(translated, valid), flipped)
        features: list[Tensor] = self.generator(looked_at, config.layers)
        with torch.no_grad():
            kept: list[Tensor] = self.generator(blacken(image, valid), config.layers)
        drawn = [draw_places(_whole_places(valid, layer), config.places, batch.device) for layer in kept]
        places = [chosen for chosen, _ in drawn]
        queries: list[Tensor] = self.projections([_mirror(layer, flipped) for layer in features], places)
        with torch.no_grad():
            keys: list[Tensor] = self.projections(kept, places)
        lost = [
            masked_mean(patch_nce(query, key, config.temperature, weight), weight)
            for query, key, (_, weight) in zip(queries, keys, drawn, strict=True)
        ]
        return torch.stack(lost).mean()


def _mirror(images: Tensor, flipped: bool) -> Tensor:
    return images.flip(-1) if flipped else images


def _whole_places(valid: Tensor, layer: Tensor) -> Tensor:
    """1 where all pixels below a place of a feature map are valid."""
    share = nn.functional.adaptive_avg_pool2d(valid, (layer.shape[-2], layer.shape[-1]))
    return (share > 0.999).to(valid.dtype)
