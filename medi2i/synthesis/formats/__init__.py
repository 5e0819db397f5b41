"""Formats of a set: a new one is a file with a `SetWriter`, one entry here, and its name in the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medi2i.errors import UsageError
from medi2i.synthesis.formats.base import Entries, SetFacts, SetWriter, Written
from medi2i.synthesis.formats.coco import CocoWriter
from medi2i.synthesis.formats.decathlon import DecathlonWriter
from medi2i.synthesis.formats.dicom import DicomWriter
from medi2i.synthesis.formats.labels import priority_order
from medi2i.synthesis.formats.nnunet import NnunetWriter
from medi2i.synthesis.formats.png import PngWriter
from medi2i.synthesis.settings import FormatName, OverlapForm, SynthesizeConfig

__all__ = ["WRITERS", "Entries", "SetFacts", "SetWriter", "Written", "make_writer"]

WRITERS: Mapping[FormatName, type[SetWriter]] = {
    "png": PngWriter,
    "nnunet": NnunetWriter,
    "decathlon": DecathlonWriter,
    "coco": CocoWriter,
    "dicom": DicomWriter,
}


def make_writer(
    config: SynthesizeConfig,
    out: Path,
    structures: tuple[str, ...],
    convention: str | None,
    *,
    keys: tuple[str, str] = ("", ""),
) -> SetWriter:
    """The writer that settings ask for.

    Args:
        config: settings.
        out: the set's folder.
        structures: names of the mask planes.
        convention: what masks of lungs mean, if known.
        keys: hashes of the source images, and of all that the images of the set depend on.

    Raises:
        UsageError: the format can't write overlap like that, or the choice is missing; a name is no
            structure.
        EnvironmentProblemError: the format needs a package that isn't installed.
    """
    kind = WRITERS[config.format]
    overlap = _choose_overlap(config, kind)
    if config.priority and overlap != "priority":
        raise UsageError(
            f"--priority {','.join(config.priority)}",
            found=f"--format {config.format} with overlap kept",
            expected="a format that writes one label map: --overlap priority",
            remedy="add --overlap priority, or drop it",
        )
    facts = SetFacts(
        structures=structures,
        overlap=overlap,
        priority=priority_order(structures, config.priority),
        dataset_id=config.nnunet.dataset_id,
        dataset_name=config.nnunet.dataset_name,
        licence=config.licence,
        convention=convention,
        sources_key=keys[0],
        set_key=keys[1],
    )
    return kind(out, facts)


def _choose_overlap(config: SynthesizeConfig, kind: type[SetWriter]) -> OverlapForm:
    offered = " or ".join(kind.overlaps)
    if config.overlap is None and kind.chooses_overlap:
        raise UsageError(
            f"--format {config.format}",
            found="no --overlap: structures overlap in projections, and its labels exclude each other",
            expected=offered,
            remedy="--overlap binary writes a data set a structure, --overlap priority one label map",
        )
    if config.overlap is not None and config.overlap not in kind.overlaps:
        raise UsageError(
            f"--overlap {config.overlap}",
            found=f"--format {config.format}",
            expected=offered,
            remedy="choose one of these, or another format",
        )
    return config.overlap or kind.overlaps[0]
