"""From two folders to a manifest: every image read once, split by patient, written down."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from medi2i.adaptation.attributes import check_stated, describe_attributes, told_attributes
from medi2i.adaptation.pairs import pair_splits
from medi2i.adaptation.settings import AdaptConfig
from medi2i.adaptation.truth import check_truth
from medi2i.config import dump_config
from medi2i.data.classes import bin_exposure, wanted_attributes
from medi2i.data.dataset_folder import discover, metadata_root, tell_others
from medi2i.data.manifest import (
    ManifestRow,
    Skipped,
    count_notes,
    inspect_folder,
    read_manifest,
    require_different_domains,
    write_manifest,
    write_skipped,
)
from medi2i.data.split import assign_splits
from medi2i.errors import NothingUsableError
from medi2i.evaluation import Domains
from medi2i.image import Domain, merge_intensity
from medi2i.io.atomic import write_text_atomically
from medi2i.training.progress import Progress

Ticker = Callable[[Progress], Callable[[], None]]
DOMAINS: tuple[Domain, ...] = ("source", "target")


@dataclass(frozen=True)
class Preparation:
    """What was found in the two folders.

    Attributes:
        rows: usable images of each domain, with their split.
        skipped: images that could not be used.
        warnings: what the report has to say.
    """

    rows: dict[Domain, list[ManifestRow]]
    skipped: list[Skipped] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def skipped_of(self, domain: Domain) -> int:
        """Images of a domain that could not be used."""
        return sum(skipped.domain == domain for skipped in self.skipped)


def inspect_domains(config: AdaptConfig, ticker: Ticker, *, paired: bool = False) -> Preparation:
    """Read every image once and split by patient; nothing is written.

    With `paired`, images of one name belong together, and a target image has the split of its source image.

    Raises:
        UsageError: a folder is missing, or the domains hold the same files.
        NothingUsableError: a domain has no usable images.
        InputError: tables, masks or true images don't fit.
    """
    salt = secrets.token_bytes(16)  # never written: a hash can't be traced back to an identity
    found = Preparation({})
    for name in DOMAINS:
        found.rows[name] = _inspect_domain(config, name, salt, ticker, found.skipped)
    require_different_domains(found.rows["source"], found.rows["target"])
    for name in DOMAINS:
        if paired and name == "target":
            found.rows[name] = pair_splits(found.rows["source"], found.rows[name])
        found.rows[name], warnings = assign_splits(found.rows[name], config.data.split, seed=config.seed)
        found.rows[name] = bin_exposure(found.rows[name])
        found.warnings.extend([*warnings, *count_notes(found.rows[name])])
    found.warnings.extend(describe_attributes(config, found.rows))
    found.warnings.extend(check_truth(config.truth, found.rows["source"]))
    return found


def read_preparation(out: Path) -> Preparation | None:
    """What `write_preparation` left in a run folder; None if it did not come to its end.

    Raises:
        CheckpointError: the manifest is damaged.
    """
    manifest = out / "manifest.jsonl"
    if not manifest.is_file():
        return None
    every = read_manifest(manifest)
    notes = json.loads((out / "preparation.json").read_text(encoding="utf-8"))
    return Preparation(
        {name: [row for row in every if row.domain == name] for name in DOMAINS},
        [Skipped(**skipped) for skipped in notes["skipped"]],
        notes["warnings"],
    )


def write_preparation(found: Preparation, config: AdaptConfig, out: Path) -> None:
    """`config.yaml`, `skipped.jsonl`, `preparation.json`, and, as the mark of completeness, the manifest."""
    out.mkdir(parents=True, exist_ok=True)
    write_text_atomically(out / "config.yaml", dump_config(config))
    write_skipped(out / "skipped.jsonl", found.skipped)
    notes = {"warnings": found.warnings, "skipped": [vars(skipped) for skipped in found.skipped]}
    write_text_atomically(out / "preparation.json", json.dumps(notes))
    write_manifest(out / "manifest.jsonl", [*found.rows["source"], *found.rows["target"]])


def to_domains(found: Preparation, config: AdaptConfig) -> Domains:
    """The domains with the intensity maps of their training images."""
    rows = found.rows
    return Domains(
        source=rows["source"],
        target=rows["target"],
        source_root=metadata_root(config.folder("source")),
        target_root=metadata_root(config.folder("target")),
        intensities={
            name: merge_intensity([row.intensity for row in rows[name] if row.split == "train"])
            for name in rows
        },
        data=config.data,
    )


def _inspect_domain(
    config: AdaptConfig, name: Domain, salt: bytes, ticker: Ticker, skipped: list[Skipped]
) -> list[ManifestRow]:
    folder = discover(config.folder(name))
    tell_others(folder)
    told = told_attributes(config)
    if told is not None:
        check_stated(folder, told)
    progress = Progress(f"reading {name}", len(folder.items))
    tick = ticker(progress)
    rows, unusable = inspect_folder(
        folder,
        name,
        config.data.intensity(name),
        salt=salt,
        attributes=wanted_attributes(told) if told is not None else (),
        progress=lambda done, total: tick(),
    )
    progress.close()
    skipped += unusable
    if not rows:
        raise NothingUsableError(
            config.folder(name),
            found=f"{len(unusable)} image(s), none usable; the first: {unusable[0].file}: "
            f"{unusable[0].reason}",
            expected="projection radiographs or DRRs",
            remedy="see docs/dataset-folder.md for what is read",
        )
    return rows
