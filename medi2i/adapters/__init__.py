"""Translation methods behind one contract. The union of their configs is the registry."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from medi2i.adapters.base import Batch, Direction, DomainAdapter, Player, Shared
from medi2i.adapters.baselines import HistogramConfig, IdentityConfig
from medi2i.adapters.cyclegan import CycleGANConfig
from medi2i.adapters.munit import MUNITConfig
from medi2i.adapters.opgan import OPGANConfig
from medi2i.adapters.randomisation import RandomisationConfig
from medi2i.adapters.tone import ToneConfig
from medi2i.adapters.unit import UNITConfig

AdapterConfig = Annotated[
    CycleGANConfig
    | HistogramConfig
    | IdentityConfig
    | MUNITConfig
    | OPGANConfig
    | RandomisationConfig
    | ToneConfig
    | UNITConfig,
    Field(discriminator="name"),
]

__all__ = [
    "AdapterConfig",
    "Batch",
    "CycleGANConfig",
    "Direction",
    "DomainAdapter",
    "HistogramConfig",
    "IdentityConfig",
    "MUNITConfig",
    "OPGANConfig",
    "Player",
    "RandomisationConfig",
    "Shared",
    "ToneConfig",
    "UNITConfig",
]
