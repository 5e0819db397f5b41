"""What the rows share: labels, images of each kind, framing, settings; all of it without a test film."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from medi2i.data.dataset_folder import DatasetFolder, metadata_root
from medi2i.data.outputs import read_provenance
from medi2i.downstream.framing import choose_framing
from medi2i.downstream.labels import Labels, match_labels, read_convention
from medi2i.downstream.material import (
    Material,
    gather_histogram,
    gather_source,
    gather_translated,
)
from medi2i.downstream.rows import Images, Row, adapt_segmenter, learns_from_films
from medi2i.downstream.settings import DownstreamConfig
from medi2i.downstream.trainings import Training, Trainings
from medi2i.errors import NothingUsableError
from medi2i.evaluation import Domains
from medi2i.segmentation import SegmenterConfig
from medi2i.segmentation.framing import CropFraming
from medi2i.segmentation.unlabelled import UnlabelledFilms, inspect_films
from medi2i.training.engine import DeviceName
from medi2i.training.interruption import StopRequest

DATA = "data"


@dataclass(frozen=True)
class Ground:
    """A run, and what of it segmenters learn from.

    Attributes:
        config: settings of the table.
        domains: the run's images.
        translated: its translations.
        source, target: its folders, as they were given.
        out: working folder.
        labels: which structures are scored.
        device: where to compute.
        stop: asked after every step.
        shard: (i, n): which share of the job this is.
    """

    config: DownstreamConfig
    domains: Domains
    translated: Path
    source: Path
    target: Path
    out: Path
    labels: Labels
    device: DeviceName
    stop: StopRequest
    shard: tuple[int, int] = (1, 1)
    _gathered: dict[Images, Material] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """Links to images, and their masks as segmenters learn them; each share of a job has its own."""
        number, count = self.shard
        return self.out / (DATA if count == 1 else f"{DATA}-{number}-of-{count}")

    @cached_property
    def segmenter(self) -> SegmenterConfig:
        """Settings that all rows' segmenters start from."""
        return self.config.segmenter.load()

    @cached_property
    def framing(self) -> CropFraming:
        """Of the rows with framing."""
        return choose_framing(
            self.config.framing,
            self.segmenter.data.framing,
            source=self.source,
            material=self.material("source"),
            domains=self.domains,
            target=self.target,
            out=self.out,
        )

    @cached_property
    def unlabelled(self) -> UnlabelledFilms:
        """The run's films of the target domain, without their masks."""
        return inspect_films(self.target, self.segmenter.data)

    @cached_property
    def translated_by(self) -> str:
        """Hash of the weights that translated."""
        weights = {str(record.get("weights_sha256")) for record in read_provenance(self.translated)}
        return hashlib.sha256("|".join(sorted(weights)).encode()).hexdigest()

    @cached_property
    def trainings(self) -> Trainings:
        """Where segmenters are trained."""
        return Trainings(self.out, self.device, self.stop)

    def material(self, images: Images) -> Material:
        """Images of one kind of the source, read once."""
        if images not in self._gathered:
            self._gathered[images] = self._gather(images)
        return self._gathered[images]

    def train(self, row: Row, seed: int) -> Path:
        """The segmenter of a row without target labels."""
        return self.trainings.train(self._training(row, seed))

    def is_trained(self, row: Row, seed: int) -> bool:
        """Whether the segmenter of a row without target labels is finished."""
        return self.trainings.is_done(self._training(row, seed))

    def _training(self, row: Row, seed: int) -> Training:
        material = self.material(row.images)
        config = adapt_segmenter(self.segmenter, row, self.framing.framing)
        return Training(
            row.name,
            config.model_copy(update={"seed": seed}),
            material.split(config.data, seed=seed, as_in=self.material("source")),
            material.digest,
            films=self.unlabelled if learns_from_films(row) else None,
        )

    def _gather(self, images: Images) -> Material:
        data, place = self.segmenter.data, self.data / images
        if images == "source":
            return gather_source(self.domains, self.labels, data, place)
        if images == "histogram":
            return gather_histogram(self.domains, self.labels, data, place, self.stop)
        return gather_translated(self.domains, self.translated, self.labels, data, place)


def find_labels(config: DownstreamConfig, domains: Domains, source: Path, films: DatasetFolder) -> Labels:
    """Which structures of the run's source are which labels of the films.

    Raises:
        NothingUsableError: the source has no masks.
        UsageError, MaskMismatchError: names don't fit, see `match_labels`.
    """
    structures = next((row.structures for row in domains.source if row.structures), ())
    if not structures:
        raise NothingUsableError(
            source,
            found="source images without masks",
            expected="masks, which segmenters learn from",
            remedy="run `medi2i adapt` on a source folder with masks/, or leave --target-labels out",
        )
    conventions = read_convention(metadata_root(source)), read_convention(films.root)
    return match_labels(structures, films.structures, config.structures, conventions=conventions)
