"""What went into a run: one row an image, without any identity."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from medi2i.data.dataset_folder import DatasetFolder, DatasetItem
from medi2i.errors import CheckpointError, MaskMismatchError, SameDomainError, UnreadableImageError
from medi2i.image import (
    Domain,
    IntensityConfig,
    IntensityMap,
    Radiograph,
    SpacingMm,
    SpacingOrigin,
    fit_intensity,
)
from medi2i.io.atomic import write_text_atomically
from medi2i.io.decoder_pool import decoders, read_all

_MOST_NOTES = 8


@dataclass(frozen=True)
class ManifestRow:
    """One image of a run.

    Attributes:
        id: name of the image in results and reports, e.g. `source-0012`.
        file: path below the domain's folder as given on the command line.
        output: path below `translated/images`, before a change of suffix.
        mask, valid: paths below the domain's folder, or None.
        patient: salted hash, None when unknown; the salt is thrown away, so it can't be traced back.
        intensity: the image's own robust range.
        valid_fraction: how much of the matrix holds an image.
        attributes: how it was taken, as far as that is known: those the method is told of, by name.
    """

    id: str
    domain: Domain
    file: str
    output: str
    sha256: str
    rows: int
    columns: int
    intensity: IntensityMap
    valid_fraction: float
    bits_stored: int | None = None
    mask: str | None = None
    valid: str | None = None
    patient: str | None = None
    split: str = ""
    spacing_mm: SpacingMm | None = None
    spacing_origin: SpacingOrigin = "unknown"
    structures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Skipped:
    """An image that could not be used, and why."""

    domain: Domain
    file: str
    reason: str


def inspect_folder(
    folder: DatasetFolder,
    domain: Domain,
    intensity: IntensityConfig,
    *,
    salt: bytes,
    attributes: Collection[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[ManifestRow], list[Skipped]]:
    """Read every image of a folder once; images that can't be read are listed, not fatal.

    Args:
        attributes: names of what is to be known of how images were taken; without any, no header is asked.

    Raises:
        MaskMismatchError: a mask doesn't fit its image.
    """

    def look(index: int, item: DatasetItem) -> ManifestRow | Skipped:
        try:
            radiograph, known = load_described(item, acquisition=bool(attributes))
        except UnreadableImageError as error:
            reason = f"{error.found}; expected {error.expected}; {error.remedy}"
            return Skipped(domain, _below(item.path, folder.root), reason)
        if item.mask is not None:
            load_masks(item.mask, folder.structures, radiograph.pixels.shape)
        row = _row(index, item, folder, domain, radiograph, intensity, salt)
        known = {name: v for name, v in {**known, **item.attributes}.items() if name in attributes}
        return dataclasses.replace(row, attributes=known)

    found = read_all(folder.items, look, progress)
    rows = [one for one in found if isinstance(one, ManifestRow)]
    skipped = [one for one in found if isinstance(one, Skipped)]
    return rows, skipped


def load_radiograph(item: DatasetItem) -> Radiograph:
    """One image, with the valid area and spacing that its folder gives.

    Raises:
        UnreadableImageError: it can't be decoded or is no radiograph.
        MaskMismatchError: the folder's valid area has another matrix.
    """
    return load_described(item, acquisition=False)[0]


def load_described(item: DatasetItem, *, acquisition: bool = True) -> tuple[Radiograph, dict[str, str]]:
    """As `load_radiograph`; with it, if asked for, how it was taken by its own header.

    Raises:
        As `load_radiograph`.
    """
    radiograph, known = decoders().read_radiograph(item.path, acquisition=acquisition)
    header = radiograph.header
    if header.spacing_mm is None and item.spacing_mm is not None:
        header = dataclasses.replace(header, spacing_mm=item.spacing_mm, spacing_origin=item.spacing_origin)
    valid = radiograph.valid
    if item.valid is not None:
        given = load_masks(item.valid, ("valid",), radiograph.pixels.shape)[0]
        valid = valid & given
    return dataclasses.replace(radiograph, header=header, valid=valid), known


def load_masks(path: Path, structures: tuple[str, ...], shape: tuple[int, ...]) -> Bool[np.ndarray, "K H W"]:
    """Masks of one image in the order of `structures`, from either form.

    Raises:
        MaskMismatchError: another matrix than the image, or other structures.
    """
    if path.suffix == ".png" and not path.is_dir():
        masks = decoders().read_radiograph(path)[0].pixels[None] > 0
    else:
        masks = decoders().read_masks(path, structures)
    if masks.shape[1:] != tuple(shape):
        raise MaskMismatchError(
            path,
            found=f"a mask of {masks.shape[1]} rows x {masks.shape[2]} columns",
            expected=f"the image's {shape[0]} x {shape[1]}",
            remedy="resample the mask to its image",
        )
    return masks


def require_different_domains(
    source: Iterable[ManifestRow], target: Iterable[ManifestRow], *, named: str = "--src and --tgt"
) -> None:
    """Refuse to translate a domain into itself, or to adapt to it.

    Args:
        source, target: images of the two.
        named: what named their folders, for the remedy.

    Raises:
        SameDomainError: a file's content is in both domains.
    """
    known = {row.sha256: row for row in source}
    shared = [(known[row.sha256], row) for row in target if row.sha256 in known]
    if shared:
        raise SameDomainError(
            shared[0][0].file,
            found=f"{len(shared)} image(s) with the same content in source and target",
            expected="two different domains",
            remedy=f"check {named}",
        )


def count_notes(rows: Iterable[ManifestRow]) -> list[str]:
    """What readers had to say of images, the commonest first, each with the number of images it holds for."""
    counts = Counter(f"{row.domain}: {note}" for row in rows for note in row.notes)
    lines = [f"{note} ({count} image(s))" for note, count in counts.most_common(_MOST_NOTES)]
    left = len(counts) - len(lines)
    return [*lines, f"{left} more remarks on images in manifest.jsonl"] if left > 0 else lines


def write_manifest(path: Path, rows: Iterable[ManifestRow]) -> None:
    """One JSON object a line."""
    write_text_atomically(path, "".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in rows))


def read_manifest(path: Path) -> list[ManifestRow]:
    """Inverse of `write_manifest`.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        return [_from_json(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            path,
            found=f"no readable manifest ({type(error).__name__})",
            expected="the manifest of a run",
            remedy="start the run anew",
        ) from error


def write_skipped(path: Path, skipped: Iterable[Skipped]) -> None:
    """One JSON object a line; an empty file says that nothing was skipped."""
    write_text_atomically(path, "".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in skipped))


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _from_json(values: dict[str, Any]) -> ManifestRow:
    values["intensity"] = IntensityMap.from_dict(values["intensity"])
    for key in ("structures", "notes"):
        values[key] = tuple(values[key])
    if values["spacing_mm"] is not None:
        values["spacing_mm"] = tuple(values["spacing_mm"])
    return ManifestRow(**values)


def _row(
    index: int,
    item: DatasetItem,
    folder: DatasetFolder,
    domain: Domain,
    radiograph: Radiograph,
    intensity: IntensityConfig,
    salt: bytes,
) -> ManifestRow:
    header = radiograph.header
    patient = radiograph.patient_id or item.patient
    return ManifestRow(
        id=f"{domain}-{index:04d}",
        domain=domain,
        file=_below(item.path, folder.root),
        output=item.relative.as_posix(),
        sha256=file_sha256(item.path),
        rows=header.rows,
        columns=header.columns,
        intensity=fit_intensity(radiograph, intensity),
        valid_fraction=float(radiograph.valid.mean()),
        bits_stored=header.bits_stored,
        mask=_below(item.mask, folder.root) if item.mask else None,
        valid=_below(item.valid, folder.root) if item.valid else None,
        patient=hmac.new(salt, patient.encode(), "sha256").hexdigest()[:16] if patient else None,
        split=item.split or "",
        spacing_mm=header.spacing_mm,
        spacing_origin=header.spacing_origin,
        structures=folder.structures if item.mask else (),
        notes=header.notes,
    )


def _below(path: Path, root: Path) -> str:
    # not resolved: a link in the folder keeps the name it has there
    return path.relative_to(root).as_posix()
