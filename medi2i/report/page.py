"""`results.json` and its pictures to one HTML file that opens offline."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from medi2i.errors import CheckpointError
from medi2i.io.atomic import write_text_atomically
from medi2i.report import tables
from medi2i.report.description import compose
from medi2i.report.readers import describe_readers, reader_table
from medi2i.report.results import Picture, Results, read_results, read_run_file
from medi2i.report.wording import fixed, flag_name, method_name, moment

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class InlinePicture:
    """A picture of the page: the image it shows, and its PNG as a `data:` address."""

    id: str
    facts: str
    address: str


def write_report(run: Path) -> Path:
    """Write `report.html`: what was done, how near it got, what was kept, on one page without links.

    Reads `results.json` and the pictures that it names, nothing else.

    Args:
        run: the run folder.

    Returns:
        the path of the page.

    Raises:
        CheckpointError: `results.json` or a picture is missing, damaged, or outside the run folder.
        DiskFullError: there is no room for the page.
        EnvironmentProblemError: the folder can't be written to.
    """
    results = read_results(run / "results.json")
    pictures = [_inline(run, picture, results) for picture in results.worst]
    page = run / "report.html"
    write_text_atomically(page, _render(results, pictures))
    return page


def _render(results: Results, pictures: list[InlinePicture]) -> str:
    # imported here: a process that only trains never draws
    import jinja2

    from medi2i.report.figures import distance_figure, structure_figure

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = resources.files("medi2i.report").joinpath("template.html.j2").read_text(encoding="utf-8")
    return environment.from_string(text).render(
        method=method_name(results.run.method),
        finished=moment(results.run.finished),
        results=results,
        words=compose(results),
        data=tables.data_table(results),
        distance=tables.distance_table(results),
        distance_figure=distance_figure(results),
        structure=tables.structure_table(results),
        structure_figure=structure_figure(results),
        truth=tables.truth_table(results.truth, results.run.method) if results.truth else None,
        readers=reader_table(results.reader_study) if results.reader_study else None,
        reader_words=describe_readers(results.reader_study) if results.reader_study else "",
        checks=tables.check_table(results),
        facts=tables.fact_rows(results),
        pictures=pictures,
    )


def _inline(run: Path, picture: Picture, results: Results) -> InlinePicture:
    path = run / picture.picture
    if not path.resolve().is_relative_to(run.resolve()):
        raise CheckpointError(
            run / "results.json",
            found=f"a picture outside the run folder ({picture.picture})",
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
    address = f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
    return InlinePicture(picture.id, _facts_of(picture.id, results), address)


def _facts_of(identifier: str, results: Results) -> str:
    """What was measured on one image, for its caption."""
    row = next((image for image in results.images if image.id == identifier), None)
    if row is None:
        return "not measured"
    facts = [f"gradient correlation {fixed(row.gradient_correlation, 2)}", row.split]
    return ", ".join([*facts, *(flag_name(flag) for flag in row.flags)])
