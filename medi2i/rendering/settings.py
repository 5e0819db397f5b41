"""Every setting of `medi2i drr`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from medi2i.config import Config, find_preset, load_config
from medi2i.drr.attenuation import AttenuationConfig
from medi2i.drr.convention import ConventionConfig
from medi2i.drr.geometry import ConeBeamGeometry, PoseConfig, ViewName
from medi2i.drr.structures import StructuresConfig
from medi2i.errors import UsageError
from medi2i.framing.distribution import FramingDistribution


class DRRConfig(Config):
    """What is rendered from each CT, and how it is stored.

    Attributes:
        seed: same seed, configuration and CT: same files, on any number of machines.
        views: images of each patient.
        view: directions of the beam, taken in turn.
        geometry: source and detector.
        pose: how far the patient is turned and moved from view to view.
        framing: how the views are framed; all as the geometry's detector is if None.
        isocenter: structures in the middle of which the central ray passes; the CT's middle if none is named.
        attenuation: how Hounsfield units become attenuation.
        step_mm: longest distance of samples along a ray; the CT's smallest voxel side if None.
        structures: which masks, and groups of them.
        convention: whether lungs are the organ's whole shadow or what readers draw.
        mask_threshold_mm: a pixel belongs to a structure if its ray runs further than this inside.
        remove_table: leave out what does not belong to the body.
        resample_labels: bring labels of another grid to the CT's (nearest neighbour).
        format: of the images.
        bits: bit depth of DICOM images; the other formats have 16.
        full_scale: line integral that the largest code stands for; rays above it are clipped, and counted.
        path_lengths: write path lengths in mm too.
    """

    seed: int = Field(default=0, ge=0)
    views: PositiveInt = 24
    view: tuple[ViewName, ...] = ("PA",)
    geometry: ConeBeamGeometry = ConeBeamGeometry()
    pose: PoseConfig = PoseConfig()
    framing: FramingDistribution | None = None
    isocenter: tuple[str, ...] = ()
    attenuation: AttenuationConfig = AttenuationConfig()
    step_mm: float | None = Field(default=None, gt=0, le=5)
    structures: StructuresConfig = StructuresConfig()
    convention: ConventionConfig = ConventionConfig()
    mask_threshold_mm: float = Field(default=3.0, ge=0)
    remove_table: bool = False
    resample_labels: bool = False
    format: Literal["png", "dicom", "nifti"] = "png"
    bits: int = Field(default=16, ge=10, le=16)
    full_scale: float = Field(default=12.0, gt=0)
    path_lengths: bool = False

    @model_validator(mode="after")
    def _some_direction(self) -> DRRConfig:
        if not self.view:
            raise ValueError("view: no direction is named")
        return self

    @model_validator(mode="after")
    def _only_dicom_has_other_depths(self) -> DRRConfig:
        if self.format != "dicom" and self.bits != 16:
            raise ValueError(f"bits {self.bits}: {self.format} images have 16, only DICOM can have fewer")
        return self


def read_structures(preset: str) -> StructuresConfig:
    """A preset of configs/structures, or a YAML file.

    Raises:
        ConfigError: no such preset, or a wrong key.
    """
    return load_config(find_preset(preset, "structures"), StructuresConfig)


def choose_framing(config: DRRConfig, option: tuple[str, Path] | None) -> tuple[DRRConfig, Path | None]:
    """What `--framing` asks for: the configuration, and the films that the framing is to be fitted to.

    Raises:
        UsageError: it is neither `fit` nor `use`.
        ConfigError: the file of `use` is wrong.
    """
    if option is None:
        return config, None
    how, path = option
    if how == "fit":
        return config, path
    if how == "use":
        ranges = load_config(find_preset(str(path), "framing"), FramingDistribution)
        return config.model_copy(update={"framing": ranges}), None
    raise UsageError(
        f"--framing {how}",
        found=f"'{how}'",
        expected="'fit' and a folder of films, or 'use' and a YAML file or a preset of configs/framing",
        remedy="e.g. --framing fit xray/",
    )
