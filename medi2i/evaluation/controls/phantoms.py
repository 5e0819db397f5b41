"""Honest pairs: DRRs of phantom patients with the films of the same patients in the same pose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import load_masks, load_radiograph
from medi2i.errors import DatasetFolderError
from medi2i.evaluation.controls.pairs import Pair
from medi2i.image import IntensityConfig, Radiograph, fit_intensity


def read_phantom_pairs(folder: Path) -> Iterator[Pair]:
    """Pairs of a folder that `medi2i phantom` wrote: `drr/` as source, `truth/` as its honest translation.

    Patients are numbered by first occurrence.

    Raises:
        DatasetFolderError: a DRR has no film in `truth/`.
    """
    sources, films = discover(folder / "drr"), discover(folder / "truth")
    by_name = {item.relative.with_suffix(""): item for item in films.items}
    numbers: dict[str, int] = {}
    for item in sources.items:
        film = by_name.get(item.relative.with_suffix(""))
        if film is None:
            raise DatasetFolderError(
                folder / "truth",
                found="a DRR without its film",
                expected="one film of the same name for each DRR",
                remedy="make the phantom again",
            )
        drr, true = load_radiograph(item), load_radiograph(film)
        masks = {}
        if item.mask is not None:
            planes = load_masks(item.mask, sources.structures, drr.pixels.shape)
            masks = dict(zip(sources.structures, planes, strict=True))
        patient = numbers.setdefault(item.patient or str(item.relative), len(numbers))
        yield Pair(
            _to_network(drr), _to_network(true), drr.valid & true.valid, masks, f"patient-{patient:06d}"
        )


def _to_network(radiograph: Radiograph) -> Float32[np.ndarray, "H W"]:
    mapping = fit_intensity(radiograph, IntensityConfig())
    return mapping.to_network(radiograph.pixels, radiograph.header)
