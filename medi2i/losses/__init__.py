"""Losses, one file each. A structure loss takes a `TranslationPair`; its config is an entry of the union."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from medi2i.losses.attenuation import AttenuationConfig
from medi2i.losses.base import StructureLoss, TranslationPair
from medi2i.losses.edge import EdgeConfig
from medi2i.losses.gradient_correlation import GradientCorrelationConfig
from medi2i.losses.lncc import LNCCConfig
from medi2i.losses.lsesim import LSeSimConfig
from medi2i.losses.mind import MINDConfig
from medi2i.losses.ms_ssim import MSSSIMConfig
from medi2i.losses.mutual_information import MutualInformationConfig
from medi2i.losses.ngf import NGFConfig
from medi2i.losses.patch_nce import PatchNCEConfig
from medi2i.losses.segmentation_consistency import SegmentationConsistencyConfig
from medi2i.losses.ssim import SSIMConfig
from medi2i.losses.structure import StructureLosses, require_possible

StructureLossConfig = Annotated[
    AttenuationConfig
    | EdgeConfig
    | GradientCorrelationConfig
    | LNCCConfig
    | LSeSimConfig
    | MINDConfig
    | MSSSIMConfig
    | MutualInformationConfig
    | NGFConfig
    | PatchNCEConfig
    | SegmentationConsistencyConfig
    | SSIMConfig,
    Field(discriminator="name"),
]

__all__ = [
    "AttenuationConfig",
    "EdgeConfig",
    "GradientCorrelationConfig",
    "LNCCConfig",
    "LSeSimConfig",
    "MINDConfig",
    "MSSSIMConfig",
    "MutualInformationConfig",
    "NGFConfig",
    "PatchNCEConfig",
    "SSIMConfig",
    "SegmentationConsistencyConfig",
    "StructureLoss",
    "StructureLossConfig",
    "StructureLosses",
    "TranslationPair",
    "require_possible",
]
