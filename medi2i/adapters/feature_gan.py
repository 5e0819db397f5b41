"""Feature loss + GAN: a translation stays near its source in the features of a fixed network.

A comparison of CycleGAN's authors (Zhu et al., ICCV 2017, section 5.1.2): SimGAN whose L1 is taken on deep
features, VGG16's relu4_2, instead of pixels. VGG16 would have to be downloaded and knows photographs; here
the fixed network is a random one.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from medi2i.adapters.base import Batch
from medi2i.adapters.one_sided import OneSided, OneSidedConfig
from medi2i.networks.augmentation import blacken
from medi2i.networks.random_features import RandomFeaturesConfig
from medi2i.similarity.weighting import masked_mean


class FeatureGANConfig(OneSidedConfig):
    """A one-sided GAN with the mean of |features of G(a) - features of a|, of weight `feature_distance`."""

    name: Literal["feature_gan"] = "feature_gan"
    features: RandomFeaturesConfig = RandomFeaturesConfig()
    feature_distance: float = Field(default=10.0, ge=0)

    def build(self, *, seed: int) -> FeatureGAN:
        """A feature GAN with weights drawn by `seed`; its features are drawn by their own seed."""
        return FeatureGAN(self, seed=seed)


class FeatureGAN(OneSided):
    """A GAN whose generator pays for each feature that it changes."""

    def __init__(self, config: FeatureGANConfig, *, seed: int) -> None:
        super().__init__(config, seed=seed)
        self.config = config
        self.features: nn.Module = config.features.build()

    def _keeping_terms(self, batch: Batch, translated: Tensor) -> dict[str, Tensor]:
        if not self.config.feature_distance:
            return {}
        # invalid pixels are equal in both, so that no feature of a neighbour differs by them
        valid = batch.source_valid
        before: Tensor = self.features(blacken(batch.source, valid))
        after: Tensor = self.features(blacken(translated, valid))
        weight = nn.functional.adaptive_avg_pool2d(valid, (after.shape[-2], after.shape[-1]))
        return {"features": self.config.feature_distance * masked_mean((after - before).abs(), weight)}
