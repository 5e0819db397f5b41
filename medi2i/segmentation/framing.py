"""Framing of a segmenter's crops: from a file, or fitted to films themselves (never to their labels)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medi2i.config import Config, load_config
from medi2i.data.dataset_folder import DatasetItem, discover
from medi2i.data.manifest import load_radiograph
from medi2i.data.settings import FramingConfig, relative_framing
from medi2i.errors import InputError, NothingUsableError, UsageError
from medi2i.framing.fitting import FittingConfig, fit_framing
from medi2i.framing.template import Template
from medi2i.image import Radiograph
from medi2i.training.progress import Progress

_TEMPLATES = 3  # images that films are compared with
_MOST_FILMS = 100
_LONGEST_MM = 300.0  # of every template: only ratios leave this file


class FramingFile(Config):
    """`augmentation.yaml`, as `medi2i drr --framing fit` writes it."""

    framing: FramingConfig


@dataclass(frozen=True)
class CropFraming:
    """How crops of the images are framed so that they look like crops of the films.

    Attributes:
        framing: for the `data` section.
        note: what a user should know, in plain words.
    """

    framing: FramingConfig
    note: str


def choose_crop_framing(
    option: tuple[str, Path],
    folders: Sequence[Path],
    *,
    fitting: FittingConfig | None = None,
) -> CropFraming:
    """What `--framing fit TGT` or `--framing use FILE` asks for.

    Args:
        option: the two words.
        folders: images to be trained on.
        fitting: limits of a fit; the defaults if None.

    Raises:
        UsageError: it is neither `fit` nor `use`.
        ConfigError: the file of `use` is wrong.
        NothingUsableError: too few films fit, or no image can be read.
    """
    how, path = option
    if how == "use":
        return CropFraming(load_config(path, FramingFile).framing, f"framing of crops from {path.name}")
    if how == "fit":
        return fit_crop_framing(folders, path, fitting=fitting)
    raise UsageError(
        f"--framing {how}",
        found=f"'{how}'",
        expected="'fit' and a folder of films, or 'use' and the augmentation.yaml of `medi2i drr`",
        remedy="e.g. --framing fit xray/",
    )


def fit_crop_framing(
    folders: Sequence[Path],
    target: Path,
    *,
    fitting: FittingConfig | None = None,
) -> CropFraming:
    """Compare films with some of the images to be trained on, as `medi2i drr` does with views of a CT.

    Every film is placed on the image that it is most like, relative to that image's own sides. So images
    should all show about the same rectangle of the patient, as DRRs without `--framing` do; those that are
    framed like films already need no fit.

    Raises:
        UsageError: nothing is at `target`.
        NothingUsableError: too few films fit, or no image can be read.
    """
    templates = _make_templates([item for folder in folders for item in discover(folder).items], folders[0])
    found = discover(target).items
    items = found[:: -(-len(found) // _MOST_FILMS)]  # evenly spread over the names
    progress = Progress("framing of the films", len(items))
    try:
        fitted = fit_framing(_read_films(items, progress), templates, fitting)
    finally:
        progress.close()
    used = len(fitted.estimates) - len(fitted.rejected)
    return CropFraming(
        relative_framing(fitted.distribution, templates[0].frame),
        f"framing of crops fitted to {used} of {len(items)} films",
    )


def _make_templates(items: Sequence[DatasetItem], location: Path) -> list[Template]:
    """Images evenly spread over the names, at a common scale; the isocentre is each one's middle."""
    chosen = items[:: -(-len(items) // _TEMPLATES)]
    templates = [_as_template(image) for item in chosen if (image := _read(item)) is not None]
    if not templates:
        raise NothingUsableError(
            location,
            found=f"none of {len(chosen)} images can be read",
            expected="images to compare the films with",
            remedy="see docs/dataset-folder.md for what is read",
        )
    return templates


def _as_template(image: Radiograph) -> Template:
    rows, columns = image.pixels.shape
    spacing_mm = _LONGEST_MM / max(rows, columns)
    return Template(
        image=image.pixels,
        spacing_mm=(spacing_mm, spacing_mm),
        isocenter_px=((rows - 1) / 2, (columns - 1) / 2),
        valid=image.valid,
    )


def _read_films(items: Sequence[DatasetItem], progress: Progress) -> Iterator[Radiograph]:
    for item in items:
        film = _read(item)
        if film is not None:
            yield film
        progress.advance()


def _read(item: DatasetItem) -> Radiograph | None:
    """An image, or None if it can't be read: the training itself says of each why."""
    try:
        return load_radiograph(item)
    except InputError:
        return None
