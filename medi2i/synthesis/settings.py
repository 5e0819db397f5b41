"""Every setting of `medi2i synthesize`."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from medi2i.config import Config
from medi2i.segmentation.appearance import AppearanceConfig

FormatName = Literal["png", "nnunet", "decathlon", "coco", "dicom"]
OverlapForm = Literal["planes", "priority", "binary"]
Balanced = Literal["structure", "view"]
_Share = Annotated[float, Field(ge=0, le=1)]
_ROUNDING = 1e-6


class NnunetConfig(Config):
    """Names of nnU-Net data sets.

    Attributes:
        dataset_id: of the first data set; those of further structures follow it.
        dataset_name: what stands behind the number.
    """

    dataset_id: int = Field(default=501, ge=1, le=999)
    dataset_name: str = Field(default="medi2i", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,60}$")


class SynthesizeConfig(Config):
    """What is drawn, what is let through, and how it is written.

    Attributes:
        seed: same seed, settings, sources and runs: the same set, byte for byte.
        count: images drawn; each source image in each look of each run once if None. Those that the gate
            refuses are not made up for.
        styles: looks of each source image, of methods that draw styles.
        attributes: acquisition of the output, for methods that know it.
        randomise: random looks on top of the translation, each image its own; none if None.
        balance: draw structures, views or both about equally often, whatever the sources hold of them.
        split: shares of patients for training, validation and test; splits that the sources' `patients.csv`
            gives stand above it.
        gate: leave out what does not pass the certificate's checks.
        keep_rejected: keep what is left out in `rejected/`.
        format: of the set.
        overlap: how structures that overlap are written; None takes the format's own way if it has one.
        priority: structures, the first wins, where one label map is written; others follow in their order.
        nnunet: names of nnU-Net data sets.
        licence: under which the set may be used, for its card.
        intended_use: for its card.
    """

    seed: int = Field(default=0, ge=0)
    count: PositiveInt | None = None
    styles: PositiveInt = 1
    attributes: dict[str, str] = Field(default_factory=dict)
    randomise: AppearanceConfig | None = None
    balance: tuple[Balanced, ...] = ()
    split: tuple[_Share, _Share, _Share] = (0.8, 0.1, 0.1)
    gate: bool = True
    keep_rejected: bool = False
    format: FormatName = "png"
    overlap: OverlapForm | None = None
    priority: tuple[str, ...] = ()
    nnunet: NnunetConfig = NnunetConfig()
    licence: str = Field(default="not stated", min_length=1, max_length=200)
    intended_use: str = Field(
        default="Training and testing of research software. Not for diagnosis, and no substitute for films.",
        min_length=1,
        max_length=2000,
    )

    @model_validator(mode="after")
    def _shares_make_one(self) -> SynthesizeConfig:
        if not math.isclose(sum(self.split), 1, abs_tol=_ROUNDING) or self.split[0] == 0:
            raise ValueError(f"split {self.split}: shares of 1 in all, some of it for training")
        return self

    @model_validator(mode="after")
    def _each_named_once(self) -> SynthesizeConfig:
        for name, values in (("balance", self.balance), ("priority", self.priority)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name}: something is named twice")
        return self

    @model_validator(mode="after")
    def _rejected_by_a_gate(self) -> SynthesizeConfig:
        if self.keep_rejected and not self.gate:
            raise ValueError("keep_rejected: without a gate nothing is rejected")
        return self
