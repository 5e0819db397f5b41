"""Translation methods behind one contract. The union of their configs is the registry."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from medi2i.adapters.base import Batch, Direction, DomainAdapter, Player, Shared
from medi2i.adapters.baselines import HistogramConfig, IdentityConfig
from medi2i.adapters.cyclegan import CycleGANConfig
from medi2i.adapters.randomisation import RandomisationConfig

AdapterConfig = Annotated[
    CycleGANConfig | HistogramConfig | IdentityConfig | RandomisationConfig,
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
    "Player",
    "RandomisationConfig",
    "Shared",
]
