"""What is known of each image of a domain after reading it once."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from medi2i.data.dataset_folder import DatasetFolder, DatasetItem
from medi2i.data.manifest import file_sha256, load_described, load_masks
from medi2i.data.table_files import read_json
from medi2i.errors import MaskMismatchError, UnreadableImageError
from medi2i.image import Domain, Radiograph, SpacingMm
from medi2i.io.decoder_pool import read_all
from medi2i.preflight.looks import make_thumbnail
from medi2i.preflight.masks import MaskFacts, measure_masks
from medi2i.preflight.writing import Writing, find_writing

_ROBUST = (0.5, 99.5)  # percentiles
_PATIENT_DIGITS = 16


@dataclass(frozen=True)
class ImageFacts:
    """One image, without any identity.

    Attributes:
        id: as in a run's manifest, e.g. `source-0012`.
        file: path below the domain's folder.
        sha256: of the file.
        patient: salted hash, None when unknown.
        split: the user's, empty without one.
        shape: rows, columns of the matrix.
        format: file family.
        bits_stored: None for floating point.
        levels: number of different values, at most 65536 are told apart.
        spacing_mm: (row, column), None when unknown.
        field_px: rows, columns of the rectangle around the exposed field.
        exposed: share of the matrix that shows anything.
        contrast: robust range of the exposed field through the range that the stored bits can express;
            through the largest magnitude for floating point.
        view: PA, AP, lateral or oblique, as stated; None when nothing says so.
        thumbnail: (32, 32) ranks.
        writing: marks and lines of text.
        masks: what its masks show; None without masks.
        mask_problem: why its masks or its valid area can't be used; None if they can.
        notes: what the reader had to say.
    """

    id: str
    file: str
    sha256: str
    patient: str | None
    split: str
    shape: tuple[int, int]
    format: str
    bits_stored: int | None
    levels: int
    spacing_mm: SpacingMm | None
    field_px: tuple[int, int]
    exposed: float
    contrast: float
    view: str | None
    thumbnail: Float64[np.ndarray, "32 32"] = field(repr=False)
    writing: Writing
    masks: MaskFacts | None = None
    mask_problem: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unusable:
    """An image that can't be used, and why."""

    id: str
    file: str
    reason: str


@dataclass(frozen=True)
class DomainFacts:
    """One domain.

    Attributes:
        domain: which of the two.
        images: those that can be read.
        unusable: those that can't.
        structures: names of the mask planes; empty without masks.
        convention: what `dataset.json` says of lung masks: projected, film, both, or None.
        problem: why the folder can't be read as it is; None if it can.
    """

    domain: Domain
    images: tuple[ImageFacts, ...] = ()
    unusable: tuple[Unusable, ...] = ()
    structures: tuple[str, ...] = ()
    convention: str | None = None
    problem: str | None = None

    @property
    def patients(self) -> int:
        """Number of known patients; an image of an unknown one counts as one."""
        return len({image.patient or image.id for image in self.images})


def survey_folder(
    folder: DatasetFolder,
    domain: Domain,
    *,
    salt: bytes,
    progress: Callable[[int, int], None] | None = None,
) -> DomainFacts:
    """Read every image of a folder once; nothing of one image is fatal.

    Args:
        folder: as discovered.
        domain: its role.
        salt: of the patients' hashes; the same for both domains, and thrown away.
        progress: told the number of images done and their total.
    """

    def look(number: int, item: DatasetItem) -> ImageFacts | Unusable:
        name, file = f"{domain}-{number:04d}", item.path.relative_to(folder.root).as_posix()
        try:
            return _survey_image(item, name, file, folder.structures, salt)
        except UnreadableImageError as error:
            return Unusable(name, file, f"{error.found}; expected {error.expected}")
        except MaskMismatchError as error:  # the valid area's; masks of structures are looked at below
            return Unusable(name, file, f"its valid area has {error.found}")

    found = read_all(folder.items, look, progress)
    images = [one for one in found if isinstance(one, ImageFacts)]
    unusable = [one for one in found if isinstance(one, Unusable)]
    stated = read_json(folder.root / "dataset.json").get("convention")
    convention = stated if stated in ("projected", "film", "both") else None
    return DomainFacts(domain, tuple(images), tuple(unusable), folder.structures, convention)


def describe_files(domains: tuple[DomainFacts, ...]) -> str:
    """Lines of `images.jsonl`: which file an id is, as a run's manifest says it."""
    lines = []
    for domain in domains:
        named = [(image.id, image.file) for image in domain.images]
        named += [(image.id, image.file) for image in domain.unusable]
        lines += [{"id": name, "domain": domain.domain, "file": file} for name, file in named]
    return "".join(json.dumps(line) + "\n" for line in lines)


def _survey_image(
    item: DatasetItem, name: str, file: str, structures: tuple[str, ...], salt: bytes
) -> ImageFacts:
    radiograph, known = load_described(item)
    header, patient = radiograph.header, radiograph.patient_id or item.patient
    masks, problem = _survey_masks(item.mask, structures, radiograph)
    view = item.attributes.get("view") or known.get("view")
    return ImageFacts(
        id=name,
        file=file,
        sha256=file_sha256(item.path),
        patient=_hash(patient, salt) if patient else None,
        split=item.split or "",
        shape=(header.rows, header.columns),
        format=header.format,
        bits_stored=header.bits_stored,
        levels=int(np.unique(radiograph.pixels).size),
        spacing_mm=header.spacing_mm,
        field_px=_field(radiograph.valid),
        exposed=float(radiograph.valid.mean()),
        contrast=_contrast(radiograph),
        view=view,
        thumbnail=make_thumbnail(radiograph.pixels, radiograph.valid),
        writing=find_writing(radiograph.pixels),
        masks=masks,
        mask_problem=problem,
        notes=header.notes,
    )


def _survey_masks(
    path: Path | None, structures: tuple[str, ...], radiograph: Radiograph
) -> tuple[MaskFacts | None, str | None]:
    if path is None:
        return None, None
    try:
        planes = load_masks(path, structures, radiograph.pixels.shape)
    except MaskMismatchError as error:
        return None, f"{error.found}; expected {error.expected}"
    return measure_masks(planes, structures), None


def _hash(patient: str, salt: bytes) -> str:
    return hmac.new(salt, patient.encode(), "sha256").hexdigest()[:_PATIENT_DIGITS]


def _field(valid: np.ndarray) -> tuple[int, int]:
    """Rows and columns of the rectangle around what is exposed; the matrix if nothing is."""
    if not valid.any():
        return int(valid.shape[0]), int(valid.shape[1])
    rows, columns = (np.flatnonzero(valid.any(axis=axis)) for axis in (1, 0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def _contrast(radiograph: Radiograph) -> float:
    values = radiograph.pixels[radiograph.valid] if radiograph.valid.any() else radiograph.pixels
    low, high = np.percentile(values, _ROBUST)
    full = radiograph.header.value_range
    whole = full[1] - full[0] if full else float(np.abs(values).max())
    return float((high - low) / whole) if whole > 0 else 0.0
