"""What the report reads: the shape of `results.json`, checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medi2i.errors import CheckpointError

FEATURE_GROUPS = ("all", "intensity", "gradient", "spectrum")
METHODS = ("identity", "histogram", "translated")
MEASURES = ("gradient_correlation", "ssim", "edge_median", "edge_p95")
TRUTH_MEASURES = ("mean_absolute_error", "ssim")
_SHOWN_PROBLEMS = 3


class _Part(BaseModel):
    """A part of the file: undefined numbers are null; keys that this page doesn't show are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Run(_Part):
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


class DomainFacts(_Part):
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
    attributes: dict[str, dict[str, int]] = {}


class Data(_Part):
    """Both domains."""

    source: DomainFacts
    target: DomainFacts


class Floor(_Part):
    """Distance of random halves of the held-out real images."""

    mean: float | None
    sd: float | None
    n_images: int
    n_patients: int
    repeats: int


class Floors(_Part):
    """Floors by feature group."""

    all: Floor
    intensity: Floor
    gradient: Floor
    spectrum: Floor


class UndefinedFeatures(_Part):
    """Images without features, by method: they count in no distance."""

    identity: int
    histogram: int
    translated: int


class Versions(_Part):
    """What the run was computed with."""

    python: str
    torch: str
    monai: str
    numpy: str


class Interval(_Part):
    """A mean over images with its 95 % interval."""

    estimate: float | None
    low: float | None
    high: float | None
    n_images: int
    n_undefined: int
    n_patients: int | None
    patients_unknown: bool


class Summary(_Part):
    """One measure over all images."""

    p5: float | None
    median: float | None
    p95: float | None
    mean: Interval


class StructureKept(_Part):
    """Structure of one method's images against their sources."""

    gradient_correlation: Summary
    ssim: Summary
    edge_median: Summary
    edge_p95: Summary


class Errors(_Part):
    """Error of one method's images against their true target images."""

    mean_absolute_error: Summary
    ssim: Summary


class Truth(_Part):
    """Errors where true target images are known."""

    n_images: int
    n_patients: int
    identity: Errors
    histogram: Errors
    translated: Errors


class Masks(_Part):
    """Masks of the source images, and what became of them."""

    in_source: int
    carried: int
    identical: int


class ImageRow(_Part):
    """One source image and its translation."""

    id: str
    split: str
    gradient_correlation: float | None
    edge_unit: Literal["mm", "px"]
    flags: tuple[str, ...]


class Picture(_Part):
    """Picture (source | translated) of one image, as a path below the run folder."""

    id: str
    picture: str


class Groups(_Part):
    """Energy distances by feature group."""

    all: float | None
    intensity: float | None
    gradient: float | None
    spectrum: float | None


class Distances(_Part):
    """Distances to held-out target images: `floor` is real against real."""

    floor: Groups
    identity: Groups
    histogram: Groups
    translated: Groups


class HeldOut(_Part):
    """Distances of source images never trained on."""

    identity: Groups
    histogram: Groups
    translated: Groups


class Structure(_Part):
    """Structure kept, by method."""

    identity: StructureKept
    histogram: StructureKept
    translated: StructureKept


class ReaderRow(_Part):
    """One reader's answers: translated images taken for films, of those shown."""

    reader: str
    experience: str
    fooled: int
    trials: int
    share: float
    low: float
    high: float
    chose_first: float


class ExcludedReader(_Part):
    """A reader whose answers don't count."""

    reader: str
    reason: str


class ReaderShare(_Part):
    """Mean share over readers with its 95 % interval."""

    estimate: float | None
    low: float | None
    high: float | None


class ReaderStudy(_Part):
    """What `medi2i reader-study RUN --score` wrote."""

    seconds: float | None
    trials: int
    checks: int
    patients: dict[str, int | None]
    share: ReaderShare
    readers: tuple[ReaderRow, ...]
    excluded: tuple[ExcludedReader, ...]


class Results(_Part):
    """The content of `results.json`, as `medi2i.adapt` writes it."""

    format: Literal[1]
    medi2i: str
    versions: Versions
    run: Run
    data: Data
    warnings: tuple[str, ...]
    distance_groups: Distances
    distance_held_out_source: HeldOut
    floors: Floors
    n_undefined_features: UndefinedFeatures
    structure: Structure
    edge_unit: Literal["mm", "px"]
    truth: Truth | None
    reader_study: ReaderStudy | None = None
    masks: Masks
    flags: dict[str, int]
    images: tuple[ImageRow, ...] = Field(min_length=1)
    worst: tuple[Picture, ...]

    @property
    def floor(self) -> Floor:
        """The floor of all features together."""
        return self.floors.all


def read_results(path: Path) -> Results:
    """Read and check `results.json`.

    Raises:
        CheckpointError: it is missing, no JSON, incomplete, or of another edition's format.
    """
    content = read_run_file(
        path,
        expected="the results that `medi2i adapt` writes when it is done",
        remedy="finish the run with `medi2i adapt --resume`, or check the path of the run folder",
    )
    try:
        return Results.model_validate_json(content)
    except ValidationError as error:
        raise _damaged(path, error) from None


def parse_results(values: Any) -> Results:
    """Check results that are in memory already, such as `AdaptResult.results`.

    Raises:
        CheckpointError: incomplete, or of another edition's format.
    """
    try:
        return Results.model_validate(values)
    except ValidationError as error:
        raise _damaged("results", error) from None


def edge_units(images: Iterable[ImageRow]) -> set[str]:
    """Units in which the images' edge displacements are; with two of them, no summary has a meaning."""
    return {image.edge_unit for image in images}


def _damaged(subject: str | Path, error: ValidationError) -> CheckpointError:
    problems = [
        f"{'.'.join(str(part) for part in problem['loc']) or 'the file'}: {problem['msg']}"
        # the offending values stay out of the message: they may be anything
        for problem in error.errors(include_input=False, include_url=False)
    ]
    more = len(problems) - _SHOWN_PROBLEMS
    return CheckpointError(
        subject,
        found="; ".join(problems[:_SHOWN_PROBLEMS]) + (f"; and {more} more" if more > 0 else ""),
        expected="complete results of format 1",
        remedy="measure again with `medi2i adapt --resume`, or use the edition of medi2i that wrote the run",
    )


def read_run_file(path: Path, *, expected: str, remedy: str) -> bytes:
    """The bytes of a file that a run should hold.

    Raises:
        CheckpointError: it is missing or can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        found = "no such file" if missing else f"unreadable ({error.strerror})"
        raise CheckpointError(path, found=found, expected=expected, remedy=remedy) from error
