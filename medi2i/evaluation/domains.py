"""The two domains of a run, image by image, and what is said of each as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medi2i.data.decoding import input_intensity, item_of, resize, working_shape
from medi2i.data.manifest import ManifestRow, load_radiograph
from medi2i.data.outputs import read_provenance
from medi2i.data.settings import DataConfig
from medi2i.data.tables import SPLITS
from medi2i.image import IntensityMap
from medi2i.io import read_radiograph


@dataclass(frozen=True)
class NetworkImage:
    """A whole image (H, W) in [-1, 1] as the networks see it, at its own matrix."""

    row: ManifestRow
    image: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class Domains:
    """Where a run's images are and how they become [-1, 1]."""

    source: list[ManifestRow]
    target: list[ManifestRow]
    source_root: Path
    target_root: Path
    intensities: dict[str, IntensityMap]
    data: DataConfig

    @property
    def edge_unit(self) -> str:
        """Unit of edge displacements: px for all images as soon as the spacing of one is unknown."""
        return "px" if any(row.spacing_mm is None for row in self.source) else "mm"

    def rows(self, domain: str, *splits: str) -> list[ManifestRow]:
        """Rows of one domain; all splits unless some are named."""
        rows = self.source if domain == "source" else self.target
        return [row for row in rows if not splits or row.split in splits]

    def images(self, domain: str, *splits: str) -> Iterator[NetworkImage]:
        """Whole images of one domain, one at a time; all splits unless some are named."""
        return map(self.read, self.rows(domain, *splits))

    def read(self, row: ManifestRow) -> NetworkImage:
        """One image, decoded.

        Raises:
            UnreadableImageError: it can't be decoded any more.
        """
        root = self.source_root if row.domain == "source" else self.target_root
        radiograph = load_radiograph(item_of(row, root))
        mapping = input_intensity(row, self.intensities[row.domain], self.data)
        return NetworkImage(row, mapping.to_network(radiograph.pixels, radiograph.header), radiograph.valid)


Translation = Callable[[NetworkImage], np.ndarray]


def tensors(images: Iterable[NetworkImage]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """`(image (1, H, W), valid (1, H, W))` for `DomainAdapter.fit`."""
    for image in images:
        yield torch.from_numpy(image.image)[None], torch.from_numpy(image.valid).float()[None]


def at_working_scale(image: NetworkImage, size: int | None) -> tuple[Tensor, Tensor]:
    """Image (1, H, W) and its valid area (1, H, W) bool at working scale."""
    shape = working_shape(image.row.rows, image.row.columns, size)
    valid = resize(torch.from_numpy(image.valid).float()[None], shape) > 0.5
    return resize(torch.from_numpy(image.image)[None], shape), valid


def translated_images(domains: Domains, folder: Path) -> Translation:
    """Translations as they were written, brought back to [-1, 1] by the map they were written with."""
    records = {record["id"]: record for record in read_provenance(folder)}

    def read(image: NetworkImage) -> np.ndarray:
        record = records[image.row.id]
        radiograph = read_radiograph(folder / record["output"])
        outgoing = IntensityMap.from_dict(record["output_intensity"])
        return outgoing.to_network(radiograph.pixels, radiograph.header)

    return read


def patients(rows: Sequence[ManifestRow]) -> list[str] | None:
    """A label for the patient of each image, or None as soon as one is unknown.

    Labels number the patients by first occurrence: the manifest's hashes are salted anew in each run, and a
    drawing over them in their order would be, too.
    """
    numbers: dict[str, int] = {}
    labels = [numbers.setdefault(row.patient, len(numbers)) for row in rows if row.patient is not None]
    return [f"patient-{number:06d}" for number in labels] if len(labels) == len(rows) else None


def units(rows: Sequence[ManifestRow]) -> list[str] | None:
    """`patients` for distances between sets; None when unknown, and for a set of one patient."""
    labels = patients(rows)
    return labels if labels is not None and len(set(labels)) > 1 else None


def describe_domain(rows: Sequence[ManifestRow], skipped: int) -> dict[str, Any]:
    """Counts that the report's data card shows; no names, no identities."""
    labels = patients(rows)
    sizes = sorted({(row.rows, row.columns) for row in rows})
    return {
        "n_images": len(rows),
        "n_skipped": skipped,
        "n_patients": len(set(labels)) if labels is not None else None,
        "patients_unknown": labels is None,
        "splits": {name: sum(row.split == name for row in rows) for name in SPLITS},
        "matrix_smallest": list(sizes[0]),
        "matrix_largest": list(sizes[-1]),
        "bits_stored": sorted({row.bits_stored for row in rows if row.bits_stored is not None}),
        "spacing_origins": {
            origin: sum(row.spacing_origin == origin for row in rows)
            for origin in sorted({row.spacing_origin for row in rows})
        },
        "structures": list(next((row.structures for row in rows if row.structures), ())),
        "mean_valid_fraction": float(np.mean([row.valid_fraction for row in rows])),
        "attributes": {
            name: dict(Counter(row.attributes.get(name, "unknown") for row in rows).most_common())
            for name in sorted({name for row in rows for name in row.attributes})
        },
    }
