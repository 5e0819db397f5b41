"""The pictures that `results.json` names, read from the run folder into the page."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from medi2i.errors import CheckpointError
from medi2i.report.anatomy import worst_words
from medi2i.report.results import Results, read_run_file
from medi2i.report.wording import fixed, flag_name

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class InlinePicture:
    """A picture of the page: the image it shows, and its PNG as a `data:` address."""

    id: str
    facts: str
    address: str


@dataclass(frozen=True, slots=True)
class KeptPictures:
    """One of the images that kept least: source | translated, and maps of changes; "" where there is none."""

    id: str
    facts: str
    picture: str
    heat_map: str
    content_map: str


def inline_worst(run: Path, results: Results) -> list[InlinePicture]:
    """The worst images by gradient correlation.

    Raises:
        CheckpointError: a picture is missing, no PNG, or outside the run folder.
    """
    return [
        InlinePicture(item.id, _facts_of(item.id, results), _address(run, item.picture))
        for item in results.worst
    ]


def inline_kept(run: Path, results: Results) -> list[KeptPictures]:
    """The worst images by the instruments of preservation, with their maps.

    Raises:
        CheckpointError: a picture is missing, no PNG, or outside the run folder.
    """
    worst = results.preservation.worst if results.preservation else ()
    return [
        KeptPictures(
            item.id,
            worst_words(item),
            _address(run, item.picture),
            _address(run, item.heat_map) if item.heat_map else "",
            _address(run, item.content_map) if item.content_map else "",
        )
        for item in worst
    ]


def _address(run: Path, name: str) -> str:
    path = run / name
    if not path.resolve().is_relative_to(run.resolve()):
        raise CheckpointError(
            run / "results.json",
            found=f"a picture outside the run folder ({name})",
            expected="pictures below the run folder",
            remedy="measure again with `medi2i adapt --resume`",
        )
    content = read_run_file(
        path,
        expected="the picture that results.json names",
        remedy="copy the run folder whole, or measure again with `medi2i adapt --resume`",
    )
    if not content.startswith(_PNG_SIGNATURE):
        raise CheckpointError(
            path,
            found="no PNG",
            expected="a PNG picture",
            remedy="measure again with `medi2i adapt --resume`",
        )
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"


def _facts_of(identifier: str, results: Results) -> str:
    """What was measured on one image, for its caption."""
    row = next((image for image in results.images if image.id == identifier), None)
    if row is None:
        return "not measured"
    facts = [f"gradient correlation {fixed(row.gradient_correlation, 2)}", row.split]
    return ", ".join([*facts, *(flag_name(flag) for flag in row.flags)])
