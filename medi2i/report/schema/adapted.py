"""What `medi2i adapt` measures: the run, its data, distances, structure, masks, images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medi2i.report.schema.part import Interval, Part


class Run(Part):
    """How the run was made."""

    method: str
    seed: int
    steps: int
    best_step: int
    rule: str
    device: str
    precision: str
    working_size: int
    feature_size: int
    seconds: float
    finished: str


class DomainFacts(Part):
    """What one domain holds."""

    n_images: int
    n_skipped: int
    n_patients: int | None
    patients_unknown: bool
    splits: dict[str, int]
    matrix_smallest: tuple[int, int]
    matrix_largest: tuple[int, int]
    bits_stored: tuple[int, ...]
    spacing_origins: dict[str, int]
    structures: tuple[str, ...]
    attributes: dict[str, dict[str, int]] = Field(default_factory=dict)


class Data(Part):
    """Both domains."""

    source: DomainFacts
    target: DomainFacts


class Floor(Part):
    """Distance of random halves of the held-out real images."""

    mean: float | None
    sd: float | None
    n_images: int
    n_patients: int
    repeats: int


class Floors(Part):
    """Floors by feature group."""

    all: Floor
    intensity: Floor
    gradient: Floor
    spectrum: Floor


class UndefinedFeatures(Part):
    """Images without features, by method: they count in no distance."""

    identity: int
    histogram: int
    translated: int


class Versions(Part):
    """What the run was computed with."""

    python: str
    torch: str
    monai: str
    numpy: str


class Summary(Part):
    """One measure over all images."""

    p5: float | None
    median: float | None
    p95: float | None
    mean: Interval


class StructureKept(Part):
    """Structure of one method's images against their sources."""

    gradient_correlation: Summary
    ssim: Summary
    edge_median: Summary
    edge_p95: Summary


class Errors(Part):
    """Error of one method's images against their true target images."""

    mean_absolute_error: Summary
    ssim: Summary


class Truth(Part):
    """Errors where true target images are known."""

    n_images: int
    n_patients: int
    identity: Errors
    histogram: Errors
    translated: Errors


class Masks(Part):
    """Masks of the source images, and what became of them."""

    in_source: int
    carried: int
    identical: int


class ImageRow(Part):
    """One source image and its translation."""

    id: str
    split: str
    gradient_correlation: float | None
    edge_unit: Literal["mm", "px"]
    flags: tuple[str, ...]


class Picture(Part):
    """Picture (source | translated) of one image, as a path below the run folder."""

    id: str
    picture: str


class Groups(Part):
    """Energy distances by feature group."""

    all: float | None
    intensity: float | None
    gradient: float | None
    spectrum: float | None


class Distances(Part):
    """Distances to held-out target images: `floor` is real against real."""

    floor: Groups
    identity: Groups
    histogram: Groups
    translated: Groups


class HeldOut(Part):
    """Distances of source images never trained on."""

    identity: Groups
    histogram: Groups
    translated: Groups


class Structure(Part):
    """Structure kept, by method."""

    identity: StructureKept
    histogram: StructureKept
    translated: StructureKept
