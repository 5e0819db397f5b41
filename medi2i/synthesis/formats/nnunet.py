"""nnU-Net v2's raw layout: 2-D NIfTI with spacing, one label map or one binary data set a structure.

nnU-Net's labels exclude each other, and its regions can't express structures that cross each other (nnU-Net
issues 653, 1487, 1823). So either who wins is said, or each structure is a data set of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from medi2i.errors import UsageError
from medi2i.io.atomic import write_atomically, write_bytes_atomically, write_stream_atomically
from medi2i.synthesis.formats.base import Entries, SetFacts, SetWriter, Written, list_lines, object_lines
from medi2i.synthesis.formats.labels import hidden_pixels, label_map
from medi2i.synthesis.formats.nifti import encode_nifti
from medi2i.synthesis.image import SyntheticImage
from medi2i.synthesis.settings import OverlapForm

_ENDING = ".nii.gz"
_LARGEST_ID = 999
_TEST = "test"
_TAKEN = ("background", "ignore")


class NnunetWriter(SetWriter):
    """`DatasetXXX_Name/{imagesTr,labelsTr,imagesTs,labelsTs,dataset.json,splits_final.json}`."""

    overlaps: ClassVar[tuple[OverlapForm, ...]] = ("priority", "binary")
    chooses_overlap: ClassVar[bool] = True

    def __init__(self, out: Path, facts: SetFacts) -> None:
        super().__init__(out, facts)
        _require_free_names(facts.structures)
        parts = facts.structures if facts.overlap == "binary" else ("",)
        last = facts.dataset_id + len(parts) - 1
        if last > _LARGEST_ID:
            raise UsageError(
                f"--set nnunet.dataset_id={facts.dataset_id}",
                found=f"{len(parts)} data sets up to number {last}",
                expected=f"numbers up to {_LARGEST_ID}",
                remedy="give a smaller number",
            )
        self.folders = tuple(
            f"Dataset{facts.dataset_id + number:03d}_{facts.dataset_name}{_suffix(part)}"
            for number, part in enumerate(parts)
        )

    def write(self, image: SyntheticImage) -> Written:
        """The image in each data set, and its labels; copies are links to the first where these can be."""
        side = "Ts" if image.split == _TEST else "Tr"
        content = encode_nifti(image.codes, image.spacing_mm)
        images: list[str] = []
        labels: list[str] = []
        for number, folder in enumerate(self.folders):
            path = self.out / folder / f"images{side}" / f"{image.name}_0000{_ENDING}"
            if number == 0:
                write_bytes_atomically(path, content)
            else:
                _write_copy(path, self.out / images[0], content)
            images.append(path.relative_to(self.out).as_posix())
            label = self.out / folder / f"labels{side}" / f"{image.name}{_ENDING}"
            write_bytes_atomically(label, encode_nifti(self._labels(image, number), image.spacing_mm))
            labels.append(label.relative_to(self.out).as_posix())
        facts = {}
        if self.facts.overlap == "priority":
            chosen = self._labels(image, 0)
            facts = {"hidden_px": hidden_pixels(image.masks, chosen, self.facts.structures)}
        return Written((*images, *labels), {"name": image.name, "split": image.split}, facts)

    def finish(self, entries: Entries) -> None:
        """`dataset.json` of each data set, and `splits_final.json` where some patients are for validation."""
        training = sum(entry["split"] != _TEST for entry in entries())
        validated = any(entry["split"] == "validation" for entry in entries())
        for number, folder in enumerate(self.folders):
            described = {
                "channel_names": {"0": "xray"},
                "labels": self._label_names(number),
                "numTraining": training,
                "file_ending": _ENDING,
                "overwrite_image_reader_writer": "SimpleITKIO",
                "name": folder,
                "description": "Synthetic radiographs by medi2i synthesize; see DATASET_CARD.md",
                "licence": self.facts.licence,
            }
            path = self.out / folder / "dataset.json"
            write_stream_atomically(path, object_lines(described.items()))
            if validated:  # nnU-Net can't train a fold without validation images
                write_stream_atomically(self.out / folder / "splits_final.json", _splits(entries))

    def describe(self) -> str:
        """What to do with it in nnU-Net."""
        if self.facts.overlap == "binary":
            how = "One binary data set a structure, because structures overlap: nothing is lost."
        else:
            names = ", ".join(self.facts.structures[number] for number in self.facts.priority)
            how = f"One label map. Where structures overlap, the first of these wins: {names}."
        return (
            "nnU-Net v2 raw data: set `nnUNet_raw` to this folder. "
            f"Data sets: {', '.join(self.folders)}. {how} Images are 2-D NIfTI with spacing, 16-bit, bone "
            "bright, channel `xray`. Training and validation patients are in `imagesTr`, and "
            "`splits_final.json`, if there are any of the second kind, holds the split by patient: copy it "
            "into the data set's folder below `nnUNet_preprocessed` before training, or nnU-Net splits by "
            "image."
        )

    def _labels(self, image: SyntheticImage, number: int) -> np.ndarray:
        if self.facts.overlap == "binary":
            return image.masks[number].astype(np.uint8)
        return label_map(image.masks, self.facts.priority)

    def _label_names(self, number: int) -> dict[str, int]:
        names = (self.facts.structures[number],) if self.facts.overlap == "binary" else self.facts.structures
        return {"background": 0} | {name: value for value, name in enumerate(names, start=1)}


def _require_free_names(structures: tuple[str, ...]) -> None:
    taken = [name for name in structures if name in _TAKEN]
    if taken:
        raise UsageError(
            "--format nnunet",
            found=f"a structure named '{taken[0]}'",
            expected=f"other names than {' and '.join(_TAKEN)}, which nnU-Net has a meaning for",
            remedy="rename it in the sources' dataset.json",
        )


def _suffix(structure: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9]+", "_", structure).strip("_")
    return f"_{plain}" if plain else ""


def _write_copy(path: Path, original: Path, content: bytes) -> None:
    def write(unfinished: Path) -> None:
        try:
            os.link(original, unfinished)
        except OSError:  # another file system, or one without links
            unfinished.write_bytes(content)

    write_atomically(path, write, bytes_needed=len(content))


def _splits(entries: Entries) -> Iterator[str]:
    """One fold, in nnU-Net's form: a list of objects with `train` and `val`."""
    yield '[\n{"train": '
    yield from list_lines(entry["name"] for entry in entries() if entry["split"] == "train")
    yield ',\n"val": '
    yield from list_lines(entry["name"] for entry in entries() if entry["split"] == "validation")
    yield "}\n]\n"
