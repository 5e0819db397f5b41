"""How target films are framed, against the source's DRRs: the rectangle of the patient that they show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from medi2i.data.dataset_folder import DatasetFolder, DatasetItem
from medi2i.data.manifest import load_radiograph
from medi2i.errors import UsageError
from medi2i.framing.appearance import reduce_film
from medi2i.framing.estimation import EstimationConfig, FrameEstimate, estimate_frame
from medi2i.framing.search import SearchConfig
from medi2i.framing.template import Template
from medi2i.image import Radiograph
from medi2i.preflight.findings import Finding
from medi2i.preflight.settings import AuditConfig
from medi2i.preflight.survey import DomainFacts
from medi2i.preflight.typical import agree, find_typical

_PIXELS = 96  # of the longer side, of film and template: quick, and exact enough for a comparison
_SEARCH = SearchConfig(working_size=_PIXELS, starts=1, rotations=1)
_MOST_REJECTED = 0.5


def check_framing(
    source: DomainFacts,
    target: DomainFacts,
    folders: tuple[DatasetFolder, DatasetFolder],
    config: AuditConfig,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Finding]:
    """Compare what target films show with the source's most typical image.

    Some films, spread over the domain, are registered to that image as `medi2i drr --framing fit` does with
    a CT's. It is one view of one patient: the sides are of that patient's scale, and only large differences
    count.
    """
    if not (config.framing_films and source.images and target.images):
        return
    template = _make_template(_load(folders[0], _most_typical(source)))
    if template is None:
        return
    places = np.unique(np.linspace(0, len(target.images) - 1, config.framing_films).round().astype(int))
    estimates = []
    for done, place in enumerate(places, 1):
        film = _load(folders[1], target.images[place].file)
        estimates.append(estimate_frame(film.pixels, film.valid, template, EstimationConfig(search=_SEARCH)))
        if progress is not None:
            progress(done, len(places))
    ids = [target.images[place].id for place in places]
    yield from _judge(template, estimates, ids, config)


def _judge(
    template: Template, estimates: list[FrameEstimate], ids: list[str], config: AuditConfig
) -> Iterator[Finding]:
    used = [estimate for estimate in estimates if estimate.accepted]
    if len(used) < max(2, _MOST_REJECTED * len(estimates)):
        yield Finding(
            "framing-unknown",
            "info",
            "both",
            f"{len(used)} of {len(estimates)} target films could be placed on a source image",
            "another view, body part or very different framing: look at both",
            tuple(name for name, e in zip(ids, estimates, strict=True) if not e.accepted),
            len(estimates),
        )
        return
    own = template.frame
    sides = np.array([(e.frame.height_mm / own.height_mm, e.frame.width_mm / own.width_mm) for e in used])
    height, width = np.median(sides, axis=0)
    said = (
        f"films show {height:.2f} times the height ({sides[:, 0].min():.2f} to {sides[:, 0].max():.2f}) "
        f"and {width:.2f} times the width ({sides[:, 1].min():.2f} to {sides[:, 1].max():.2f}) of what the "
        f"source's typical image shows, in {len(used)} of {len(estimates)} films"
    )
    differs = max(height, width, 1 / height, 1 / width) > config.framing_ratio
    yield Finding(
        "framing-differs" if differs else "framing",
        "warning" if differs else "info",
        "both",
        said,
        "render the DRRs framed as the films (medi2i drr --framing fit), else size and cut tell them apart",
        total=len(estimates),
    )


def _most_typical(domain: DomainFacts) -> str:
    """File of the image that agrees best with its domain."""
    thumbnails = np.array([image.thumbnail for image in domain.images])
    best, _ = agree(thumbnails, find_typical(thumbnails))
    return domain.images[int(best.argmax())].file


def _load(folder: DatasetFolder, file: str) -> Radiograph:
    return load_radiograph(_find(folder, folder.root / file))


def _find(folder: DatasetFolder, path: Path) -> DatasetItem:
    return next(item for item in folder.items if item.path == path)


def _make_template(image: Radiograph) -> Template | None:
    """A template of the image in its own scale; a pixel counts as 1 mm, since only ratios are read.

    Returns:
        None where it is too small or constant.
    """
    reduced, valid = reduce_film(image.pixels, image.valid, _PIXELS)
    rows, columns = reduced.shape
    spacing = (image.pixels.shape[0] / rows, image.pixels.shape[1] / columns)
    try:
        return Template(reduced, spacing, ((rows - 1) / 2, (columns - 1) / 2), valid)
    except UsageError:
        return None
