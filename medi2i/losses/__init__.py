"""Losses, one file each. A structure loss takes a `TranslationPair`; its config is an entry of the union."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from medi2i.losses.base import StructureLoss, TranslationPair
from medi2i.losses.gradient_correlation import GradientCorrelationConfig
from medi2i.losses.mind import MINDConfig

StructureLossConfig = Annotated[
    GradientCorrelationConfig | MINDConfig,
    Field(discriminator="name"),
]

__all__ = [
    "GradientCorrelationConfig",
    "MINDConfig",
    "StructureLoss",
    "StructureLossConfig",
    "TranslationPair",
]
