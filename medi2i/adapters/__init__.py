"""Translation methods behind one contract. The union of their configs is the registry."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from medi2i.adapters.base import Batch, Direction, DomainAdapter, Player, Shared, Trainee
from medi2i.adapters.baselines import HistogramConfig, IdentityConfig
from medi2i.adapters.cut import CUTConfig
from medi2i.adapters.cyclegan import CycleGANConfig
from medi2i.adapters.feature_gan import FeatureGANConfig
from medi2i.adapters.gan import GANConfig
from medi2i.adapters.imported import ImportedConfig
from medi2i.adapters.matchgan import MatchGANConfig
from medi2i.adapters.munit import MUNITConfig
from medi2i.adapters.opgan import OPGANConfig
from medi2i.adapters.pix2pix import Pix2PixConfig
from medi2i.adapters.randomisation import RandomisationConfig
from medi2i.adapters.simgan import SimGANConfig
from medi2i.adapters.stargan import StarGANConfig
from medi2i.adapters.tone import ToneConfig
from medi2i.adapters.unit import UNITConfig

AdapterConfig = Annotated[
    CUTConfig
    | CycleGANConfig
    | FeatureGANConfig
    | GANConfig
    | HistogramConfig
    | IdentityConfig
    | ImportedConfig
    | MatchGANConfig
    | MUNITConfig
    | OPGANConfig
    | Pix2PixConfig
    | RandomisationConfig
    | SimGANConfig
    | StarGANConfig
    | ToneConfig
    | UNITConfig,
    Field(discriminator="name"),
]

__all__ = [
    "AdapterConfig",
    "Batch",
    "CUTConfig",
    "CycleGANConfig",
    "Direction",
    "DomainAdapter",
    "FeatureGANConfig",
    "GANConfig",
    "HistogramConfig",
    "IdentityConfig",
    "ImportedConfig",
    "MUNITConfig",
    "MatchGANConfig",
    "OPGANConfig",
    "Pix2PixConfig",
    "Player",
    "RandomisationConfig",
    "Shared",
    "SimGANConfig",
    "StarGANConfig",
    "ToneConfig",
    "Trainee",
    "UNITConfig",
]
