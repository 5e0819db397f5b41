"""From Hounsfield units to what attenuates: linear attenuation at one energy, or water and cortical bone.

The one-energy map is nanodrr's bilinear one (air to water below 0 HU, water to bone above). The two materials
are volume fractions that give the same HU at the CT's effective energy of about 70 keV.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32
from pydantic import Field

from medi2i.config import Config
from medi2i.drr.spectrum import SpectrumConfig

# 1000 (mu_bone / mu_water - 1) with nanodrr's values at 70 keV, which are NIST's: 0.0573 and 0.0192 per mm
CORTICAL_BONE_HU = 1984.0


class AttenuationConfig(Config):
    """How HU become attenuation.

    Attributes:
        water_per_mm: linear attenuation coefficient of water, about 70 keV (NIST XCOM).
        bone_per_mm: of cortical bone.
        bone_hu: HU that `bone_per_mm` is given to. 1984 would be cortical bone at the CT's own energy; less
            gives bones the stronger contrast that they have in the softer beam of radiography.
        spectrum: a polyenergetic beam instead of one energy; the three above are then without effect.
    """

    water_per_mm: float = Field(default=0.0192, gt=0)
    bone_per_mm: float = Field(default=0.0573, gt=0)
    bone_hu: float = Field(default=1000.0, gt=0)
    spectrum: SpectrumConfig | None = None


def hu_to_attenuation(
    hounsfield: Float32[np.ndarray, "I J K"], config: AttenuationConfig
) -> Float32[np.ndarray, "I J K"]:
    """Linear attenuation coefficient of each voxel at one energy, 1/mm; never negative."""
    from nanodrr.data.preprocess import hu_to_mu

    hu = torch.from_numpy(np.ascontiguousarray(hounsfield))[None, None]
    attenuation = hu_to_mu(hu, config.water_per_mm, config.bone_per_mm, config.bone_hu)
    return np.asarray(attenuation[0, 0].numpy(), dtype=np.float32)


def hu_to_materials(hounsfield: Float32[np.ndarray, "I J K"]) -> Float32[np.ndarray, "2 I J K"]:
    """Volume fractions of water and of cortical bone in each voxel.

    Below 0 HU there is water of less density, between 0 HU and cortical bone a mixture that fills the voxel,
    above it bone of more density (so metal is very dense bone).
    """
    hu = np.maximum(np.asarray(hounsfield, dtype=np.float32), -1000.0)
    bone = np.maximum(hu, 0.0) / CORTICAL_BONE_HU
    water = np.where(hu <= 0, 1.0 + hu / 1000.0, np.maximum(1.0 - bone, 0.0))
    return np.stack([water, bone]).astype(np.float32)
