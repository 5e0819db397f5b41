"""What survived image by image and structure by structure, and how real the images look."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from medi2i.report.schema.part import Interval, Part, Share
from medi2i.report.schema.planted import ContentControls, Steganography


class InstrumentShare(Part):
    """Images that one instrument flags."""

    name: str
    unit: str
    threshold: float | None
    calibrated_on: str
    n: int
    flagged: int
    undefined: int
    share: Share


class StructureShare(Part):
    """Images in which one structure is certified as kept, and how far it moved (`preservation.unit`)."""

    name: str
    n: int
    kept: int
    share: Share
    deformation_p50: Interval
    deformation_p95: Interval
    deformation_max: Interval
    content_flagged: int


class PreservedImage(Part):
    """Scores of one image, and which instruments flag it."""

    id: str
    split: str
    patient: str | None
    flags: tuple[str, ...]
    geometry: float | None
    content: float | None
    orientation: float | None
    labels: float | None
    sanity: tuple[str, ...]


class WorstImage(Part):
    """One of the worst images by an instrument's score; pictures are paths below the run folder."""

    id: str
    picture: str
    heat_map: str | None
    content_map: str | None
    by: str
    score: float | None
    threshold: float | None


class Preservation(Part):
    """What the instruments say of the run's translated images."""

    unit: Literal["mm", "px"]
    n_images: int
    n_patients: int | None
    instruments: tuple[InstrumentShare, ...]
    structures: tuple[StructureShare, ...]
    images: tuple[PreservedImage, ...]
    worst: tuple[WorstImage, ...] = ()
    steganography: Steganography | None = None
    content_controls: ContentControls | None = None


class RealismRow(Part):
    """Distances of one set of images to the target's, in an extractor's features."""

    kid: float | None
    energy: float | None
    frechet: float | None


class RealismRows(Part):
    """The three sets."""

    identity: RealismRow
    histogram: RealismRow
    translated: RealismRow


class Realism(Part):
    """How real the images look to a feature extractor; never used to rank."""

    n_source: int
    n_target: int
    extractor: str
    extractor_sha256: str | None
    rows: RealismRows
    floor: dict[str, JsonValue]
