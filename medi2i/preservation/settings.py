"""How it is judged whether structures survived a translation."""

from __future__ import annotations

from pydantic import Field

from medi2i.config import Config
from medi2i.evaluation.controls import ControlsConfig, InstrumentsConfig
from medi2i.metrics.deformation import MINIMUM_SIDE_PX
from medi2i.metrics.steganography import SteganographyConfig


class PreservationConfig(Config):
    """Settings of controls, certificate and content test; with the defaults controls have power enough.

    Attributes:
        side_px: longest side at which images are measured, of controls and of the run alike, so that a pixel
            is the same share of an image in both. Finer changes than a pixel of it are not seen.
        calibration_patients, tested_patients: whose style changes set the thresholds, and on whom they are
            tested.
        controls: strengths of the known changes.
        instruments: settings of the instruments.
        margin_px: how far beyond a mask a structure's surroundings count as the structure.
        worst: pictures, of the images furthest beyond a threshold.
        content_images: source images that nodules, rib gaps and devices are planted in.
        device_contrast: of a planted device, as a share of the image's range.
        hidden_images: source images sent there and back for the steganography gap.
        steganography: how a translation is disturbed before the way back.
        realism_images: most images of a domain whose looks are compared.
        workers: pairs scored at the same time.
    """

    side_px: int = Field(default=192, ge=MINIMUM_SIDE_PX, le=1024)
    calibration_patients: int = Field(default=12, ge=2)
    tested_patients: int = Field(default=22, ge=2)
    controls: ControlsConfig = ControlsConfig()
    instruments: InstrumentsConfig = InstrumentsConfig()
    margin_px: float = Field(default=3.0, ge=0, le=32)
    worst: int = Field(default=20, ge=0)
    content_images: int = Field(default=20, ge=1)
    device_contrast: float = Field(default=0.5, gt=0, le=2)
    hidden_images: int = Field(default=8, ge=1)
    steganography: SteganographyConfig = SteganographyConfig()
    realism_images: int = Field(default=100, ge=4)
    workers: int = Field(default=2, ge=1, le=64)
