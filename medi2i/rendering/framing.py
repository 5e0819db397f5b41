"""Framing of the views: from a file, or fitted to the target films themselves (never to their labels)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medi2i.config import dump_config
from medi2i.data.dataset_folder import DatasetItem, discover
from medi2i.data.manifest import load_radiograph
from medi2i.data.settings import relative_framing
from medi2i.drr.geometry import make_camera
from medi2i.drr.patients import PatientFiles
from medi2i.drr.projection import prepare_patient, project_view
from medi2i.errors import InputError
from medi2i.framing.distribution import FramingDistribution
from medi2i.framing.fitting import fit_framing
from medi2i.framing.frame import Frame
from medi2i.framing.picture import choose_examples, draw_framing
from medi2i.framing.template import Template
from medi2i.image import Radiograph
from medi2i.io.atomic import write_bytes_atomically, write_text_atomically
from medi2i.rendering.patient import choose_labels, find_isocenter, load
from medi2i.rendering.settings import DRRConfig
from medi2i.training.progress import Progress

_MOST_FILMS = 200  # a few hundred fix the quantiles; thousands would take hours
_TEMPLATES = 3  # patients that films are compared with
_TEMPLATE_PIXELS = 256  # of a template's longer side
_DRAWN_STRUCTURES = 4
_PICTURED_FRAMES = 40


@dataclass(frozen=True, slots=True)
class FramingFit:
    """What the target films say of their framing.

    Attributes:
        distribution: frames of the films.
        picture: PNG that shows both domains' framing.
        notes: what a user should know, in plain words.
    """

    distribution: FramingDistribution
    picture: bytes
    notes: tuple[str, ...]


def fit_to_films(
    config: DRRConfig,
    patients: Sequence[PatientFiles],
    target: Path,
    *,
    structures: tuple[str, ...],
    device: str,
) -> FramingFit:
    """Compare the target films with straight views of the first patients.

    Args:
        config: geometry, view, and isocentre, as the views will have them.
        patients: of whom the first are the templates.
        target: folder of the target domain's films; their masks, if any, are not read.
        structures: drawn over the films in the picture.
        device: where to render the templates.

    Raises:
        UsageError: nothing is at `target`.
        InputError: none of the first patients can be rendered.
        NothingUsableError: too few films fit.
    """
    found = discover(target).items
    stride = -(-len(found) // _MOST_FILMS)
    items = found[::stride]  # evenly spread over the names
    templates = [_make_template(config, files, structures, device) for files in patients[:_TEMPLATES]]
    readable: list[DatasetItem] = []
    progress = Progress("framing of the target films", len(items))
    try:
        fitted = fit_framing(_read_films(items, readable, progress), templates)
    finally:
        progress.close()
    examples = {number: load_radiograph(readable[number]) for number in choose_examples(fitted.estimates)}
    picture = draw_framing(templates, _source_frames(config), fitted.estimates, examples)
    used = len(fitted.estimates) - len(fitted.rejected)
    notes = [f"framing fitted to {used} of {len(items)} films: look at framing.png"]
    if len(items) < len(found):
        notes.append(f"of the {len(found)} target films, every {stride}th was looked at")
    if len(readable) < len(items):
        notes.append(f"{len(items) - len(readable)} target film(s) cannot be read")
    return FramingFit(fitted.distribution, picture, tuple(notes))


def write_fit(out: Path, config: DRRConfig, fit: FramingFit) -> None:
    """Write what was fitted beside the images.

    `framing.yaml` is for `--framing use`, `framing.png` to look at, and `augmentation.yaml` for the `data`
    section of a training whose DRRs are framed as the detector of `config` is.
    """
    write_text_atomically(out / "framing.yaml", dump_config(fit.distribution))
    augmentation = relative_framing(fit.distribution, config.geometry.frame)
    indented = dump_config(augmentation).replace("\n", "\n  ").rstrip()
    write_text_atomically(out / "augmentation.yaml", f"framing:\n  {indented}\n")
    write_bytes_atomically(out / "framing.png", fit.picture)


def _read_films(
    items: Sequence[DatasetItem], readable: list[DatasetItem], progress: Progress
) -> Iterator[Radiograph]:
    """Films one by one; those that can be read are listed in `readable`."""
    for item in items:
        try:
            film = load_radiograph(item)
        except InputError:
            film = None  # `adapt` will say of each why; here it is only counted
        if film is not None:
            readable.append(item)
            yield film
        progress.advance()


def _make_template(
    config: DRRConfig, files: PatientFiles, structures: tuple[str, ...], device: str
) -> Template:
    """A straight view of one patient, as large as the detector and as fine as a film is compared."""
    volume, labels = load(config, files)
    chosen = choose_labels(config, files, labels, structures[:_DRAWN_STRUCTURES])
    geometry = config.geometry
    coarser = max(1.0, max(geometry.rows, geometry.columns) / _TEMPLATE_PIXELS)
    rows, columns = round(geometry.rows / coarser), round(geometry.columns / coarser)
    spacing = (
        geometry.detector_spacing_mm[0] * geometry.rows / rows,
        geometry.detector_spacing_mm[1] * geometry.columns / columns,
    )
    coarse = geometry.model_copy(update={"rows": rows, "columns": columns, "detector_spacing_mm": spacing})
    isocenter_mm = find_isocenter(config, volume, labels)
    camera = make_camera(coarse, config.view[0], isocenter_mm=isocenter_mm)
    patient = prepare_patient(volume, chosen, config.attenuation, step_mm=config.step_mm, device=device)
    projection = project_view(patient, camera)
    row, column = camera.project(isocenter_mm)
    return Template(
        image=projection.line_integral,
        spacing_mm=camera.isocenter_spacing_mm,
        isocenter_px=(float(row), float(column)),
        valid=projection.valid,
        outlines=tuple(projection.path_mm[: len(structures[:_DRAWN_STRUCTURES])] > config.mask_threshold_mm),
    )


def _source_frames(config: DRRConfig) -> list[Frame]:
    """What views without a fit show."""
    if config.framing is None:
        return [config.geometry.frame]
    rng = np.random.default_rng(config.seed)
    return [config.framing.sample(rng) for _ in range(_PICTURED_FRAMES)]
