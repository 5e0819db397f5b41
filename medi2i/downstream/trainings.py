"""Segmenters of the rows: each trained once for its settings and images, resumed where it was interrupted."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from medi2i.config import dump_config
from medi2i.downstream.rows import slug_of
from medi2i.downstream.settings import FewShotConfig
from medi2i.io.atomic import write_text_atomically
from medi2i.segmentation import SegmenterConfig
from medi2i.segmentation.masked import MaskedImages, fingerprint
from medi2i.segmentation.training import is_finished, train_on
from medi2i.segmentation.unlabelled import UnlabelledFilms
from medi2i.training.engine import DeviceName, make_accelerator
from medi2i.training.interruption import StopRequest

_MARK = "trained_on.sha256"
FOLDER = "segmenters"


@dataclass(frozen=True, eq=False)
class Training:
    """One training of a row.

    Attributes:
        row: name of the row.
        config: of the segmenter, with the seed.
        images: with masks.
        digest: of the images and masks.
        fold: the outer fold that is not trained on.
        films: unlabelled, to be adapted to.
        init_from: model whose weights it starts from.
    """

    row: str
    config: SegmenterConfig
    images: Sequence[MaskedImages]
    digest: str
    fold: int | None = None
    films: UnlabelledFilms | None = None
    init_from: Path | None = None

    @cached_property
    def mark(self) -> str:
        """Hash of all that its weights depend on."""
        films = self.films.rows if self.films else ()
        start = "" if self.init_from is None else read_mark(self.init_from)
        facts = [dump_config(self.config), self.digest, fingerprint(self.images, films), start]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@dataclass(frozen=True)
class Trainings:
    """Where segmenters are trained, and how.

    Attributes:
        out: working folder; models are in `segmenters/<row>/seed<k>` or `.../seed<k>/fold<j>`.
        device: where to compute.
        stop: asked after every step.
    """

    out: Path
    device: DeviceName
    stop: StopRequest

    def train(self, training: Training) -> Path:
        """The model folder of a training; what is finished is left, what is begun goes on, else it is new.

        A folder that was trained with other settings or on other images is removed.

        Raises:
            NothingUsableError: no image to train on, or none held out.
            InterruptedRunError, NonFiniteLossError, CheckpointError: as `train_segmenter`.
        """
        config, folder = training.config, self.folder(training)
        if read_mark(folder) != training.mark:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_text_atomically(folder / _MARK, training.mark)
        if is_finished(folder):
            return folder
        return train_on(
            config,
            training.images,
            out=folder,
            accelerator=make_accelerator(self.device, config.training.precision),
            stop=self.stop,
            films=training.films,
            init_from=training.init_from,
        )

    def is_done(self, training: Training) -> bool:
        """Whether it is finished, with just these settings and images."""
        folder = self.folder(training)
        return read_mark(folder) == training.mark and is_finished(folder)

    def folder(self, training: Training) -> Path:
        """Where its model is."""
        return model_folder(self.out, training.row, training.config.seed, training.fold)


def read_mark(model: Path) -> str:
    """What tells a model of the table from one of other settings or images; empty without one."""
    path = model / _MARK
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def model_folder(out: Path, row: str, seed: int, fold: int | None = None) -> Path:
    """Where the segmenter of a row is, given its name."""
    folder = out / FOLDER / slug_of(row) / f"seed{seed}"
    return folder if fold is None else folder / f"fold{fold}"


def take_last(config: SegmenterConfig) -> SegmenterConfig:
    """Of a training on target labels: no patient is left to choose weights by, so the last ones are taken."""
    steps = config.training.steps
    every = {"validate_every": steps} if steps else {"validate_every": 10**9}
    return config.model_copy(update={"training": config.training.model_copy(update=every)})


def tune(config: SegmenterConfig, tuning: FewShotConfig) -> SegmenterConfig:
    """Of a few-shot training: few steps at a low learning rate."""
    length = {"steps": tuning.steps, "epochs": None, "validate_every": tuning.steps}
    rate = {"learning_rate": tuning.learning_rate}
    return config.model_copy(
        update={
            "training": config.training.model_copy(update=length),
            "optimizer": config.optimizer.model_copy(update=rate),
        }
    )
