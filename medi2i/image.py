"""What a radiograph is in this package: pixels bone bright, where they are valid, and how they were stored.

Conventions (kept everywhere): arrays are rows x columns, bone is bright (MONOCHROME2 sense), spacing is
`(row, column)` in millimetres with its origin, masks are `(K, H, W)` bool with one plane a structure,
networks see values in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from jaxtyping import Bool, Float32
from pydantic import Field

from medi2i.config import Config

FormatName = Literal["dicom", "nifti", "png", "tiff", "jpeg", "npy"]
SpacingOrigin = Literal[
    "PixelSpacing calibrated",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "ImagePlanePixelSpacing",
    "NIfTI",
    "detector",
    "user",
    "unknown",
]
SpacingMm = tuple[float, float]
Domain = Literal["source", "target"]


@dataclass(frozen=True, slots=True)
class RadiographHeader:
    """How one image was stored, without anything that identifies a patient.

    Attributes:
        format: file family the image was read from, and is written back to.
        rows, columns: matrix of the stored image.
        spacing_mm: (row, column) distance of pixel centres, or None when unknown.
        spacing_origin: where the spacing comes from.
        bits_stored: bit depth of integer pixels; None for floating point.
        value_range: smallest and largest decoded value that the stored bits can express, after the
            modality LUT; None for floating point.
        modality: DICOM modality (CR, DX, ...), else None.
        notes: what a user should know about this file (warnings, in plain words).
    """

    format: FormatName
    rows: int
    columns: int
    spacing_mm: SpacingMm | None = None
    spacing_origin: SpacingOrigin = "unknown"
    bits_stored: int | None = None
    value_range: tuple[float, float] | None = None
    modality: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Radiograph:
    """One decoded projection image.

    Attributes:
        pixels: (H, W) decoded values after modality LUT and polarity, bone bright.
        valid: (H, W) False where there is no image: padding, shutter, collimation, outside the CT.
        header: how the image was stored.
        patient_id: identity as the file states it, or None. Never write it anywhere: it is only there to
            group images of one patient.
    """

    pixels: Float32[np.ndarray, "H W"]
    valid: Bool[np.ndarray, "H W"]
    header: RadiographHeader
    patient_id: str | None = field(default=None, repr=False)


class IntensityConfig(Config):
    """How stored values of a domain become [-1, 1].

    `fit: image` takes the percentiles of each image; `domain` takes the median of them over the domain's
    training images for all; `full` takes the whole scale of integer images, and of floating-point images,
    which have none, what `domain` takes. Outputs always use the domain's.
    """

    fit: Literal["image", "domain", "full"] = "image"
    lower_percentile: float = Field(default=0.5, ge=0, lt=50)
    upper_percentile: float = Field(default=99.5, gt=50, le=100)


@dataclass(frozen=True, slots=True)
class IntensityMap:
    """Invertible affine map between stored values and [-1, 1].

    `low` and `high` are fractions of the stored full scale for integer images (so that 8 and 16 bit files
    of one domain agree) and plain values for floating-point images.
    """

    low: float
    high: float

    def to_network(self, pixels: np.ndarray, header: RadiographHeader) -> Float32[np.ndarray, "H W"]:
        """Decoded values to [-1, 1], clipped."""
        scaled = (to_full_scale(pixels, header) - self.low) / (self.high - self.low)
        return np.clip(2 * scaled - 1, -1, 1).astype(np.float32)

    def clipped_fraction(self, pixels: np.ndarray, valid: np.ndarray, header: RadiographHeader) -> float:
        """Fraction of valid pixels that `to_network` clips."""
        values = to_full_scale(pixels, header)[valid]
        return float(np.mean((values < self.low) | (values > self.high))) if values.size else 0.0

    def to_stored(self, scaled: np.ndarray, header: RadiographHeader) -> np.ndarray:
        """[-1, 1] to the values to be stored in a file like `header`'s.

        Returns:
            unsigned codes 0 .. 2**bits_stored - 1, bone bright, for integer files (a map fitted on
            floating-point images, which has no full scale, is stretched over all codes); float32 otherwise.
        """
        fraction = (np.asarray(scaled, dtype=np.float64) + 1) / 2
        if header.bits_stored is None:
            return (self.low + fraction * (self.high - self.low)).astype(np.float32)
        if 0 <= self.low < self.high <= 1:
            fraction = self.low + fraction * (self.high - self.low)
        top = 2**header.bits_stored - 1
        dtype = np.uint8 if header.bits_stored <= 8 else np.uint16 if header.bits_stored <= 16 else np.uint32
        return np.rint(np.clip(fraction, 0, 1) * top).astype(dtype)

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {"low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, values: dict[str, float]) -> Self:
        """Inverse of `to_dict`."""
        return cls(low=float(values["low"]), high=float(values["high"]))


def to_full_scale(pixels: np.ndarray, header: RadiographHeader) -> np.ndarray:
    """Fraction of the stored full scale for integer images; floating-point images as they are."""
    if header.value_range is None:
        return np.asarray(pixels, dtype=np.float64)
    smallest, largest = header.value_range
    return (np.asarray(pixels, dtype=np.float64) - smallest) / (largest - smallest)


def choose_intensity(
    radiograph: Radiograph, config: IntensityConfig, domain_map: IntensityMap
) -> IntensityMap:
    """The map from an image's values to [-1, 1]: its own or its domain's, as configured."""
    return fit_intensity(radiograph, config) if config.fit == "image" else domain_map


def fit_intensity(radiograph: Radiograph, config: IntensityConfig) -> IntensityMap:
    """Robust range of one image's valid pixels, or the whole scale of an integer image, as configured.

    A constant image gets a range of width one that holds its value: the full scale of integer images.
    """
    if config.fit == "full" and radiograph.header.value_range is not None:
        return IntensityMap(low=0.0, high=1.0)
    values = to_full_scale(radiograph.pixels, radiograph.header)[radiograph.valid]
    if values.size == 0:
        values = to_full_scale(radiograph.pixels, radiograph.header).ravel()
    low, high = np.percentile(values, [config.lower_percentile, config.upper_percentile])
    if not high > low:
        low, high = values.min(), values.max()
    if not high > low:
        low = low if radiograph.header.value_range is None else 0.0
        high = low + 1.0
    return IntensityMap(low=float(low), high=float(high))


def merge_intensity(maps: list[IntensityMap]) -> IntensityMap:
    """One map for a domain: the medians of its images' ranges."""
    return IntensityMap(
        low=float(np.median([m.low for m in maps])), high=float(np.median([m.high for m in maps]))
    )
