"""Every setting of a segmenter and its training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from medi2i.adapters.base import AdamConfig
from medi2i.config import Config, find_preset, load_config
from medi2i.data.settings import DataConfig, FramingConfig
from medi2i.segmentation.appearance import AppearanceConfig
from medi2i.segmentation.mean_teacher import MeanTeacherConfig
from medi2i.training.settings import TrainingConfig

Width = Annotated[int, Field(gt=0, le=1024)]
HalfWidth = Annotated[int, Field(gt=0, le=64)]


class SegmenterConfig(Config):
    """A U-Net with one sigmoid a structure, and how it is trained; presets are in `configs/segment`.

    Attributes:
        widths: channels of each level; each level after the first halves the resolution.
        residual_units: of MONAI's `UNet`; 0: one plain convolution a level.
        dice_share: a in a * (1 - Dice) + (1 - a) * cross-entropy.
        thin: structures that also minimise 1 - soft clDice, with half their width in pixels at working scale.
        thin_weight: factor of that term.
        appearance: random looks of training crops; None leaves them as they are.
        outside: what is taught of pixels without an image (padding, outside the CT). `background`: they are
            shown black, or at a gray level of chance, and hold no structure; films have dark air around the
            patient and white borders, and a segmenter that never saw such calls them lung. `ignored`:
            nothing, for data where structures go on outside, e.g. a CT that cuts lungs off.
        self_training: how films without masks are learned from, where there are any.
        data: working size, crops, framing, intensities and split; of the intensities the source's count. In
            the main job the method's own stand in its place, since the segmenter judges the method's crops.
        training: length and bookkeeping. BEST is the checkpoint of the largest Dice on held-out patients;
            what is said of previews and gradient correlation has no meaning here.
    """

    seed: int = Field(default=0, ge=0)
    widths: Annotated[tuple[Width, ...], Field(min_length=2, max_length=7)] = (16, 32, 64, 128, 128)
    residual_units: int = Field(default=0, ge=0, le=4)
    dice_share: float = Field(default=0.5, ge=0, le=1)
    thin: dict[str, HalfWidth] = Field(default={})
    thin_weight: float = Field(default=0.25, ge=0)
    appearance: AppearanceConfig | None = AppearanceConfig()
    outside: Literal["background", "ignored"] = "background"
    self_training: MeanTeacherConfig = MeanTeacherConfig()
    optimizer: AdamConfig = AdamConfig(learning_rate=2e-3, betas=(0.9, 0.999))
    data: DataConfig = DataConfig(working_size=128, crop_size=128, framing=FramingConfig())
    training: TrainingConfig = TrainingConfig(
        steps=400, batch_size=8, average=0.98, validate_every=100, channels_last=False
    )

    @property
    def size_multiple(self) -> int:
        """What the sides of an image have to be a multiple of."""
        return int(2 ** (len(self.widths) - 1))

    @model_validator(mode="after")
    def _fitting_crops(self) -> SegmenterConfig:
        if self.data.crop_size % self.size_multiple or self.data.crop_size < 2 * self.size_multiple:
            raise ValueError(
                f"data.crop_size is {self.data.crop_size}, and {len(self.widths)} widths need a multiple of "
                f"{self.size_multiple} from {2 * self.size_multiple} on"
            )
        return self


def default_segmenter() -> SegmenterConfig:
    """The preset `laptop`."""
    return load_config(find_preset("laptop", "segment"), SegmenterConfig)
