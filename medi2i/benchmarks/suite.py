"""A suite: which rows, on which data, with which seeds, measured how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from medi2i.adaptation import AdaptConfig
from medi2i.benchmarks.closeness import TranslationMeasure
from medi2i.benchmarks.downstream import DownstreamMeasure
from medi2i.benchmarks.fcn_score import FCNScoreMeasure
from medi2i.benchmarks.structure import StructureMeasure
from medi2i.benchmarks.styles import StylesMeasure
from medi2i.config import Config, find_preset, load_config
from medi2i.drr.phantom import PhantomConfig
from medi2i.errors import ConfigError

_NAME = re.compile(r"[a-z0-9][a-z0-9_+.-]*")


def _check_name(name: str) -> str:
    """Names become folders, on any system."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"'{name}': small letters, digits and _ + . - only")
    return name


Name = Annotated[str, AfterValidator(_check_name)]

MeasureConfig = Annotated[
    TranslationMeasure | StructureMeasure | FCNScoreMeasure | DownstreamMeasure | StylesMeasure,
    Field(discriminator="name"),
]


class PhantomData(Config):
    """A phantom data set, made once below the benchmark's folder.

    A fixed share of its patients, the last ones, is validation and test in every run, so that seeds differ
    in the training alone.

    Attributes:
        config: a preset of configs/phantom or a YAML file.
        set: changes of it, as `--set` makes them.
    """

    config: str = "default"
    set: tuple[str, ...] = ()

    def load(self) -> PhantomConfig:
        """What is to be rendered.

        Raises:
            ConfigError: no such preset, or a wrong change.
        """
        return load_config(find_preset(self.config, "phantom"), PhantomConfig, self.set)


class DataSet(Config):
    """Two folders, or a phantom.

    Attributes:
        source, target, truth: as `medi2i adapt` takes them.
        films: labelled films, for measures that test a segmenter on films; never trained on.
        phantom: made instead of `source`, `target` and `truth`.
    """

    source: str | None = None
    target: str | None = None
    truth: str | None = None
    films: str | None = None
    phantom: PhantomData | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> DataSet:
        if self.phantom is not None and (self.source or self.target or self.truth):
            raise ValueError("give either 'phantom' or 'source' and 'target'")
        return self


class RowConfig(Config):
    """One row of the table: a preset of configs/adapt, and changes of it.

    Attributes:
        config: a preset or a YAML file; the suite's `base.config` without it.
        set: changes, as `--set` makes them; after those of `base`.
        about: what the row is, for the table.
    """

    config: str | None = None
    set: tuple[str, ...] = ()
    about: str = ""


class SuiteConfig(Config):
    """A benchmark: every row on every data set with every seed.

    Attributes:
        name: of the table.
        about: what it answers, for the head of the table.
        data: data sets by name.
        base: preset of rows that name none, and changes made in all rows.
        rows: rows by name, in the order of the table.
        seeds: of the trainings; each makes one run a row.
        measures: what is computed of each run, once.
        reference: the row that others are compared with, image by image; none without it.
    """

    name: Name
    about: str = ""
    data: Mapping[Name, DataSet] = Field(min_length=1)
    base: RowConfig = RowConfig()
    rows: Mapping[Name, RowConfig] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0, 1, 2), min_length=1)
    measures: tuple[MeasureConfig, ...] = Field(default=(TranslationMeasure(),), min_length=1)
    reference: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> SuiteConfig:
        names = [measure.name for measure in self.measures]
        if len(set(names)) < len(names):
            raise ValueError("a measure named twice")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed given twice")
        if self.reference is not None and self.reference not in self.rows:
            raise ValueError(f"reference '{self.reference}' is no row")
        return self

    def adapt_config(self, row: str, seed: int) -> AdaptConfig:
        """Settings of one row's runs, without their folders.

        Raises:
            ConfigError: no such preset, or a wrong change.
        """
        settings = self.rows[row]
        preset = settings.config or self.base.config
        if preset is None:
            raise ConfigError(
                f"rows.{row}",
                found="no 'config', and none in 'base'",
                expected="a preset of configs/adapt",
                remedy="name one",
            )
        changes = [*self.base.set, *settings.set, f"seed={seed}"]
        return load_config(find_preset(preset, "adapt"), AdaptConfig, changes)
