"""What the report reads: the shape of `results.json`, checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from medi2i.errors import CheckpointError
from medi2i.report.schema.adapted import (
    Data,
    Distances,
    Floor,
    Floors,
    HeldOut,
    ImageRow,
    Masks,
    Picture,
    Run,
    Structure,
    Truth,
    UndefinedFeatures,
    Versions,
)
from medi2i.report.schema.controls import Controls
from medi2i.report.schema.downstream import Downstream
from medi2i.report.schema.part import Part
from medi2i.report.schema.preservation import Preservation, Realism
from medi2i.report.schema.reader_study import ReaderStudy
from medi2i.report.schema.verdict import GapClosed, Verdict

FEATURE_GROUPS = ("all", "intensity", "gradient", "spectrum")
METHODS = ("identity", "histogram", "translated")
MEASURES = ("gradient_correlation", "ssim", "edge_median", "edge_p95")
TRUTH_MEASURES = ("mean_absolute_error", "ssim")
_SHOWN_PROBLEMS = 3


class Results(Part):
    """The content of `results.json`: what `medi2i adapt` writes, and what `medi2i evaluate` adds."""

    verdict: Verdict | None = None
    valid: bool | None = None
    gap_closed: GapClosed | None = None
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
    controls: Controls | None = None
    preservation: Preservation | None = None
    realism: Realism | None = None
    downstream: Downstream | None = None
    reader_study: ReaderStudy | None = None
    masks: Masks
    flags: dict[str, int]
    images: tuple[ImageRow, ...] = Field(min_length=1)
    worst: tuple[Picture, ...]

    @property
    def floor(self) -> Floor:
        """The floor of all features together."""
        return self.floors.all

    @model_validator(mode="after")
    def _invalid_is_not_valid(self) -> Results:
        verdict, valid = self.verdict, self.valid
        if verdict is not None and valid is not None and valid is (verdict.name == "INVALID"):
            raise ValueError("valid: false exactly when the verdict is INVALID")
        return self


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


def describe_schema() -> dict[str, Any]:
    """The JSON schema of `results.json`, as `docs/results.schema.json` holds it.

    Keys that no page shows are not listed, and are allowed.
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Results.model_json_schema()


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
