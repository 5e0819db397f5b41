"""What every part of `results.json` is, and the two kinds of interval in it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of the file: undefined numbers are null; keys that this page doesn't show are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Interval(Part):
    """A mean over images with its 95 % interval."""

    estimate: float | None
    low: float | None
    high: float | None
    n_images: int
    n_undefined: int
    n_patients: int | None
    patients_unknown: bool


class Share(Part):
    """A share of images, patients or readers with its 95 % interval."""

    estimate: float | None
    low: float | None
    high: float | None
