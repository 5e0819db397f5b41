"""Whether translation helps: a segmenter trained on a run's translations, tested on labelled films."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from medi2i.benchmarks.finished import FinishedRun
from medi2i.benchmarks.folders import Folders
from medi2i.benchmarks.measure import Measured, MeasureSettings, mean_values
from medi2i.data.dataset_folder import DatasetFolder, DatasetItem, discover
from medi2i.data.manifest import load_masks, load_radiograph
from medi2i.downstream.labels import Labels
from medi2i.downstream.table import mean_defined
from medi2i.errors import UsageError
from medi2i.image import Radiograph
from medi2i.metrics.overlap import dice
from medi2i.segmentation import SegmenterChoice, load_segmenter, segment_image, train_segmenter


class DownstreamMeasure(MeasureSettings):
    """Dice on labelled films of a segmenter that learned from the run's translated images and their masks.

    No film and no label of the test is used before the scoring. Values: `dice_<structure>` for each of
    `structures`, its mean over films where it is drawn or found, and `dice`, the mean over films of the mean
    over their structures. The seed of the segmenter is the run's.

    Attributes:
        segmenter: its settings: framing and appearance randomisation stand there, the same for all rows.
        structures: structure of the films to structures of the source that together are it.
    """

    name: Literal["downstream"] = "downstream"
    segmenter: SegmenterChoice = SegmenterChoice()
    structures: dict[str, tuple[str, ...]] = Field(
        default={"left_lung": ("left_lung",), "right_lung": ("right_lung",)}, min_length=1
    )

    def check(self, folders: Folders) -> None:
        """The segmenter's settings, the films' masks, and the structures of films and source."""
        self.segmenter.load()
        self._read_films(folders.films)
        if folders.are_there:
            self._require_sources(folders.source)

    def measure(self, run: FinishedRun) -> Measured:
        """Train, then score every film.

        Raises:
            UsageError: the data set has no labelled films, or a structure is not there.
        """
        films = self._read_films(run.films)
        self._require_sources(run.folder / "translated")
        model = train_segmenter(
            self.segmenter.load(),
            [run.folder / "translated"],
            out=run.folder / "measures" / "downstream_segmenter",
            device=run.device,
            seed=run.config.seed,
            resume=True,
        )
        segmenter = load_segmenter(model, device=run.device)
        patients = _number_patients(films)
        rows: list[dict[str, Any]] = []
        for number, item in enumerate(films.items):
            if item.mask is not None:
                radiograph = load_radiograph(item)
                found = segment_image(segmenter, radiograph.pixels, radiograph.valid)
                scores = self._score(found, segmenter.structures, item, radiograph, films)
                rows.append({"id": f"film-{number:04d}", "patient": patients[number], **scores})
        return Measured(mean_values(rows, ["dice", *(f"dice_{name}" for name in self.structures)]), rows)

    def _read_films(self, location: Path | None) -> DatasetFolder:
        if location is None:
            raise UsageError(
                "measure 'downstream'",
                found="no labelled films",
                expected="'films' in the data set",
                remedy="give it with --set data.NAME.films=DIR",
            )
        films = discover(location)
        _require_names(self.structures, films, location)
        return films

    def _require_sources(self, location: Path) -> None:
        """The segmenter learns the structures that its images have, by their names."""
        names = [name for parts in self.structures.values() for name in parts]
        _require_names(names, discover(location), location)

    def _score(
        self,
        found: np.ndarray,
        names: tuple[str, ...],
        item: DatasetItem,
        radiograph: Radiograph,
        films: DatasetFolder,
    ) -> dict[str, float]:
        labels = Labels(self.structures)
        masks = load_masks(Path(item.mask or ""), films.structures, found.shape[1:])
        scores = dice(labels.unite(found, names), labels.choose(masks, films.structures), radiograph.valid)
        mean = float(mean_defined(scores))
        return {"dice": mean} | {
            f"dice_{name}": float(score) for name, score in zip(self.structures, scores, strict=True)
        }


def _number_patients(films: DatasetFolder) -> list[str | None]:
    """A label without identity for each film's patient, by first occurrence; None when unknown."""
    numbers: dict[str, int] = {}
    return [
        None if item.patient is None else f"patient-{numbers.setdefault(item.patient, len(numbers)):06d}"
        for item in films.items
    ]


def _require_names(wanted: Iterable[str], folder: DatasetFolder, where: Path) -> None:
    if not folder.has_masks:
        raise UsageError(
            where,
            found="images without masks",
            expected=f"masks of {', '.join(wanted)}",
            remedy="add them, or leave out the measure downstream for these data",
        )
    missing = [name for name in wanted if name not in folder.structures]
    if missing:
        raise UsageError(
            where,
            found=f"no structure '{missing[0]}'",
            expected=f"structures among {', '.join(folder.structures)}",
            remedy="mend 'structures' of the measure downstream",
        )
