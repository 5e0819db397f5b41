"""What is known to be wrong with a set, one sentence each: for its card, and for the console."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medi2i.data.manifest import read_manifest
from medi2i.synthesis.gate import Gate, outlines_not_judged
from medi2i.synthesis.settings import SynthesizeConfig
from medi2i.synthesis.sources import Sources

LIMITS_OF_ANY = (
    "Labels are projections of three-dimensional structures: they say where a structure is, not where a "
    "reader would see it.",
    "The gate finds changes of a pixel of the matrix it measures at, and no finer ones; it can't see what is "
    "neither in the source nor new.",
    "Statistics of the images are those of the runs' target images, not of any other hospital.",
)


def known_limits(
    config: SynthesizeConfig,
    sources: Sources,
    runs: Sequence[Path],
    names: Sequence[str],
    gates: Sequence[Gate] | None,
) -> tuple[str, ...]:
    """Limits of this set; the card adds those of any.

    Raises:
        CheckpointError: a run's manifest is damaged.
    """
    found = []
    if gates is None:
        found.append("No gate: nothing is known of what the images kept.")
    for name, gate in zip(names, gates or (), strict=False):
        if outlines_not_judged(gate):
            found.append(
                f"{name}: outlines were not judged, because the run's controls hold for other structures."
            )
    trained = set[str]().union(*map(_trained, runs))
    learnt = sum(row.sha256 in trained for row in sources.rows)
    if learnt:
        found.append(f"{learnt} of the {len(sources.rows)} source images were training images of a run.")
    if not sources.patients_known:
        found.append("Patients of some sources are unknown: each of these images counts as one patient.")
    unspaced = sum(row.spacing_mm is None for row in sources.rows)
    if unspaced:
        found.append(f"The spacing of {unspaced} source images is unknown; NIfTI files say 1 mm for it.")
    if any(row.valid_fraction < 1 for row in sources.rows) and config.format not in ("png", "dicom"):
        found.append(
            "Some images have areas that are no image; they are dark, and the files don't mark them."
        )
    return tuple(found)


def _trained(run: Path) -> set[str]:
    """Hashes of the source images that a run was trained on."""
    path = run / "manifest.jsonl"
    if not path.is_file():
        return set()
    return {row.sha256 for row in read_manifest(path) if (row.domain, row.split) == ("source", "train")}
