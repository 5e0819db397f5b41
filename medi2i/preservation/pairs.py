"""Honest pairs for the controls: translations of which it is known that nothing moved and nothing is missing.

Two kinds, by what the run has:

- **phantom patients**, unless the source has as many patients as the trial needs, with masks of lungs and
  ribs: DRR and true film of the same patient in the same pose, rendered apart from each other (other
  spectrum, scatter, grid, detector, processing, marker, collimator). The film is what a perfect translation
  would be, and owes nothing to the DRR's pixels.
- **the run's own source images** otherwise: each beside a film that the same physics makes of its own line
  integrals (scatter, blur, noise, processing, tone curve; no marker, no collimator). It moves nothing and
  adds no content, because each step is a curve, an even convolution, or noise; so it is honest by
  construction. What it can't be is a film that was taken: thresholds hold for translations no further from
  their source than these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from medi2i.adapters.randomisation import AppearanceDistribution, randomise_appearance
from medi2i.config import find_preset, load_config
from medi2i.data.manifest import ManifestRow
from medi2i.drr.film import FilmDistribution
from medi2i.drr.phantom import PhantomConfig, write_phantom_dataset
from medi2i.evaluation.controls import Pair, read_phantom_pairs
from medi2i.evaluation.domains import Domains, NetworkImage
from medi2i.preservation.images import masks_of, measuring_pair, patient_labels
from medi2i.preservation.settings import PreservationConfig
from medi2i.preservation.structures import kind_of

_SITE = "site_a"
_FIELD_MM = 384.0
_NEEDED_KINDS = frozenset({"lung", "rib"})
# Phantoms of controls are other patients than those of any data set that was made with a small seed.
_PHANTOM_SEEDS = 700_001
_STREAM = 11


def own_rows(domains: Domains, config: PreservationConfig) -> list[ManifestRow]:
    """One source image of each patient, of those with masks of lungs and ribs, at one matrix.

    Empty when there are fewer such patients than the trial needs, or patients are unknown: phantoms are then
    taken.
    """
    labels, known = patient_labels(domains)
    if known is None:
        return []
    fit: dict[tuple[int, int], dict[str, ManifestRow]] = {}
    for row in domains.source:
        if row.mask is not None and {kind_of(name) for name in row.structures} >= _NEEDED_KINDS:
            fit.setdefault((row.rows, row.columns), {}).setdefault(labels[row.id], row)
    rows = max(fit.values(), key=len, default={})
    needed = config.calibration_patients + config.tested_patients
    return list(rows.values())[:needed] if len(rows) >= needed else []


def own_pairs(
    domains: Domains, rows: Sequence[ManifestRow], config: PreservationConfig, *, seed: int
) -> list[Pair]:
    """Source images beside the film that physics makes of them, at the measuring matrix."""
    labels, _ = patient_labels(domains)
    look = AppearanceDistribution(film=_films(), full_scale=(6.0, 6.0))
    pairs = []
    for number, row in enumerate(rows):
        image = domains.read(row)
        generator = torch.Generator().manual_seed(
            int(np.random.default_rng([seed, _STREAM, number]).integers(2**62))
        )
        film = _film_of(image, look, generator)
        pairs.append(
            measuring_pair(
                image, film, masks_of(domains, row), side_px=config.side_px, patient=labels[row.id]
            )
        )
    return pairs


def phantom_pairs(
    folder: Path, config: PreservationConfig, *, seed: int, check: Callable[[], None] = lambda: None
) -> list[Pair]:
    """Phantom patients, rendered into `folder` unless they are there.

    Args:
        folder: data set folders are written below it, complete or not at all.
        config: how many patients, at which matrix.
        seed: of the patients.
        check: called after each; may raise to stop.
    """
    if not (folder / "truth").is_dir():
        write_phantom_dataset(phantom_config(config, seed=seed), folder, lambda done, total: check())
    return list(read_phantom_pairs(folder))


def phantom_config(config: PreservationConfig, *, seed: int) -> PhantomConfig:
    """Patients whose films are made where they differ as films of one hospital do."""
    side = config.side_px
    return PhantomConfig.model_validate(
        {
            "seed": _PHANTOM_SEEDS + seed,
            "source_patients": config.calibration_patients + config.tested_patients,
            "target_patients": 1,
            "geometry": {"rows": side, "columns": side, "detector_spacing_mm": [_FIELD_MM / side] * 2},
            "sites": [{"name": _SITE, "film": _SITE}],
            "workers": config.workers,
        }
    )


def _films() -> FilmDistribution:
    """Films of one site, without what hides anatomy or is none."""
    site = load_config(find_preset(_SITE, "film"), FilmDistribution)
    return site.model_copy(update={"marker_probability": 0.0, "collimation_probability": 0.0})


def _film_of(image: NetworkImage, look: AppearanceDistribution, generator: torch.Generator) -> np.ndarray:
    source, valid = (
        torch.from_numpy(np.asarray(plane, dtype=np.float32))[None, None]
        for plane in (image.image, image.valid)
    )
    film: np.ndarray = randomise_appearance(source, look, generator, valid)[0, 0].numpy()
    return film
