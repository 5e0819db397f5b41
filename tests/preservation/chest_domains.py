"""Drawn chests as the domains of a run, and thresholds from others of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import inspect_folder
from medi2i.data.settings import DataConfig
from medi2i.evaluation import Domains
from medi2i.evaluation.verdict import Controls
from medi2i.image import IntensityConfig, merge_intensity
from medi2i.io.masks import write_mask_folder
from medi2i.preservation import PreservationConfig, RunControls, compose_controls, score_image
from medi2i.preservation.trial import UNCHANGED
from tests.evaluation.controls.chests import SIDE, chest

CONFIG = PreservationConfig(
    side_px=SIDE,
    worst=2,
    content_images=2,
    hidden_images=2,
    controls={"rib_length_px": 48, "nodule_radius_px": (4.0, 6.0)},
)
SEEDS = (1, 2, 3, 4)
STRUCTURES = tuple(chest(0).masks)


def write_domains(folder: Path) -> Domains:
    """Source: the chests of `SEEDS` with masks, 2 mm a pixel; target: films of eight others."""
    for seed in SEEDS:
        _write(folder / "drr", f"p{seed}.png", chest(seed).source)
        planes = np.stack(list(chest(seed).masks.values()))
        write_mask_folder(folder / "drr" / "masks" / f"p{seed}", planes, STRUCTURES)
    for seed in range(50, 58):
        # without noise, what is black or white would be taken for collimated
        noise = 0.02 * np.random.default_rng(seed).normal(size=(SIDE, SIDE))
        _write(folder / "film", f"p{seed}.png", 0.8 * chest(seed).translated + noise)
    described = {"structures": STRUCTURES, "spacing_mm": [2.0, 2.0]}
    (folder / "drr" / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    rows, maps = {}, {}
    for name, domain in (("drr", "source"), ("film", "target")):
        found, _ = inspect_folder(discover(folder / name), domain, IntensityConfig(), salt=b"salt")
        splits = ["test", "train"] * len(found)
        rows[domain] = [replace(row, split=split) for row, split in zip(found, splits, strict=False)]
        maps[domain] = merge_intensity([row.intensity for row in found])
    data = DataConfig(working_size=None, crop_size=SIDE)
    return Domains(rows["source"], rows["target"], folder / "drr", folder / "film", maps, data)


def _write(folder: Path, name: str, image: np.ndarray) -> None:
    path = folder / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint((image + 1) / 2 * 65535).astype(np.uint16)).save(path)
    patients = folder / "patients.csv"
    if not patients.is_file():
        patients.write_text("file,patient\n", encoding="utf-8")
    with patients.open("a", encoding="utf-8") as stream:
        stream.write(f"{name},{name}\n")


def make_controls() -> RunControls:
    """Thresholds from honest films of five other chests; that the controls passed is taken as given."""
    blocks = [{UNCHANGED: score_image(chest(seed), CONFIG)[0]} for seed in range(20, 25)]
    kinds = frozenset({"lung", "heart", "spine", "rib"})
    found = compose_controls(blocks, [], config=CONFIG, kinds=kinds, source="drawn chests")
    return replace(found, judgement=replace(found.judgement, controls=Controls("passed")))
