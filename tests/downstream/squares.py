"""A run on squares, and films of squares in another look: what the downstream table is measured on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medi2i.adapters import IdentityConfig
from medi2i.config import dump_config
from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import inspect_folder
from medi2i.data.settings import DataConfig
from medi2i.data.split import SplitConfig, assign_splits
from medi2i.downstream import Case, DownstreamConfig, DownstreamResult, measure_downstream
from medi2i.evaluation import Domains
from medi2i.image import IntensityConfig, merge_intensity
from medi2i.io.masks import write_mask_folder
from medi2i.training.interruption import StopRequest
from medi2i.translation import Translator, write_translations
from tests.segmentation.squares import NAMES, SIDE, tiny_config, write_squares
from tests.tiny_data import save_png, write_patients


@dataclass(frozen=True)
class SquaresRun:
    """Folders of a run of the identity, and labelled films."""

    domains: Domains
    source: Path
    target: Path
    translated: Path
    films: Path
    settings: Path

    def config(self, **changes: Any) -> DownstreamConfig:
        """Smallest settings: one seed, two folds, three steps."""
        values: dict[str, Any] = {
            "seeds": [0],
            "folds": 2,
            "framing": "auto",
            "segmenter": {"config": str(self.settings)},
            "tuning": {"steps": 2},
        }
        return DownstreamConfig.model_validate(values | changes)

    def measure(self, config: DownstreamConfig, out: Path, **others: Any) -> DownstreamResult:
        """The table."""
        stop = others.pop("stop", StopRequest())
        return measure_downstream(config, self.case(out, **others), stop=stop)

    def case(self, out: Path, **others: Any) -> Case:
        """What is measured."""
        given = {
            "domains": self.domains,
            "translated": self.translated,
            "source": self.source,
            "target": self.target,
            "films": self.films,
            "out": out,
            "device": "cpu",
        }
        return Case(**(given | others))


def make_run(folder: Path, *, steps: int = 3) -> SquaresRun:
    """Twelve source images, five films without labels, and six with."""
    source, target = write_squares(folder / "source"), write_films(folder / "target", range(40, 45))
    films = write_films(folder / "films", range(60, 66))
    domains = make_domains(source, target)
    translator = Translator(
        adapter=IdentityConfig().build(seed=0),
        data=domains.data,
        intensities=domains.intensities,
        device=torch.device("cpu"),
        origin={"method": "identity", "step": 0, "weights_sha256": "0"},
    )
    translated = folder / "translated"
    translated.mkdir()
    write_translations(
        translator, domains.source, source, translated, direction="source-to-target", stop=StopRequest()
    )
    training = {"steps": steps, "batch_size": 4, "average": 0.9, "validate_every": steps}
    settings = folder / "segmenter.yaml"
    settings.write_text(dump_config(tiny_config(training=training)))
    return SquaresRun(domains, source, target, translated, films, settings)


def make_domains(source: Path, target: Path) -> Domains:
    """The two folders as a run reads them."""
    rows = {}
    for name, location in (("source", source), ("target", target)):
        found, _ = inspect_folder(discover(location), name, IntensityConfig(), salt=b"salt")
        rows[name], _ = assign_splits(found, SplitConfig(), seed=0)
    return Domains(
        source=rows["source"],
        target=rows["target"],
        source_root=source,
        target_root=target,
        intensities={
            name: merge_intensity([row.intensity for row in found if row.split == "train"])
            for name, found in rows.items()
        },
        data=DataConfig(working_size=32, crop_size=32),
    )


def write_films(folder: Path, numbers: range, *, patients: bool = True) -> Path:
    """8-bit films of squares at 40 x 36 pixels, darker than the source's, each of a patient of its own."""
    for number in numbers:
        rng = np.random.default_rng(number)
        top, left = rng.integers(2, 18, size=2)
        masks = np.zeros((2, 40, 36), dtype=bool)
        masks[1, top : top + 16, left : left + 16] = True
        masks[0, top + 4 : top + 12, left + 4 : left + 12] = True
        scene = (0.05 + 0.2 * masks[1] + 0.5 * masks[0] + 0.1 * rng.random((40, 36))) ** 1.5
        save_png(folder / "images" / f"film_{number}.png", scene, bits=8)
        write_mask_folder(folder / "masks" / f"film_{number}", masks, NAMES)
    (folder / "dataset.json").write_text(json.dumps({"structures": NAMES}))
    if patients:
        write_patients(folder, [(f"film_{number}.png", f"person-{number}") for number in numbers])
    return folder


__all__ = ["NAMES", "SIDE", "SquaresRun", "make_domains", "make_run", "write_films"]
