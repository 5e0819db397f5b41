"""A Medical Segmentation Decathlon datalist, as MONAI reads it, beside 2-D NIfTI files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from medi2i.io.atomic import write_bytes_atomically, write_stream_atomically
from medi2i.synthesis.formats.base import Entries, SetWriter, Written, object_lines
from medi2i.synthesis.formats.labels import hidden_pixels, label_map
from medi2i.synthesis.formats.nifti import encode_nifti
from medi2i.synthesis.image import SyntheticImage
from medi2i.synthesis.settings import OverlapForm

DATALIST = "datalist.json"
_KEYS = {"train": "training", "validation": "validation", "test": "test"}


class DecathlonWriter(SetWriter):
    """`datalist.json`, `images/`, and `labels/` of one channel a structure, or one label map."""

    overlaps: ClassVar[tuple[OverlapForm, ...]] = ("planes", "priority")

    def write(self, image: SyntheticImage) -> Written:
        """One image and its labels."""
        path, label = (f"{folder}/{image.name}.nii.gz" for folder in ("images", "labels"))
        write_bytes_atomically(self.out / path, encode_nifti(image.codes, image.spacing_mm))
        planes, facts = image.masks.astype(np.uint8), {}
        if self.facts.overlap == "priority":
            planes = label_map(image.masks, self.facts.priority)
            facts = {"hidden_px": hidden_pixels(image.masks, planes, self.facts.structures)}
        write_bytes_atomically(self.out / label, encode_nifti(planes, image.spacing_mm))
        item = {"image": path, "label": label, "patient": image.patient}
        return Written((path, label), {"split": image.split, "item": item}, facts)

    def finish(self, entries: Entries) -> None:
        """`datalist.json`."""
        counts = dict.fromkeys(_KEYS, 0)
        for entry in entries():
            counts[entry["split"]] += 1
        names = self.facts.structures
        if self.facts.overlap == "priority":
            labels = {"0": "background"} | {str(n): name for n, name in enumerate(names, start=1)}
        else:
            labels = {str(n): name for n, name in enumerate(names)}
        members: list[tuple[str, object]] = [
            ("name", "Synthetic radiographs by medi2i synthesize"),
            ("description", "See DATASET_CARD.md"),
            ("licence", self.facts.licence),
            ("modality", {"0": "xray"}),
            ("labels", labels),
            ("label_form", "channels" if self.facts.overlap == "planes" else "label map"),
            ("numTraining", counts["train"] + counts["validation"]),
            ("numTest", counts["test"]),
        ]
        # MONAI fails on an empty list, and says clearly that a key is not there
        members += [(key, _items(entries, split)) for split, key in _KEYS.items() if counts[split]]
        write_stream_atomically(self.out / DATALIST, object_lines(members))

    def describe(self) -> str:
        """How MONAI reads it."""
        if self.facts.overlap == "planes":
            how = (
                "Labels have one channel a structure, the last axis, so that overlap is kept: load them with "
                "`EnsureChannelFirstd('label', channel_dim=-1)`, images with `channel_dim='no_channel'`."
            )
        else:
            names = ", ".join(self.facts.structures[number] for number in self.facts.priority)
            how = f"Labels are one map. Where structures overlap, the first of these wins: {names}."
        return (
            f"2-D NIfTI with spacing, 16-bit, bone bright, axes (column, row); `{DATALIST}` with the lists "
            f"`training`, `validation` and `test`, for MONAI's `load_decathlon_datalist`. {how}"
        )


def _items(entries: Entries, split: str) -> Iterator[Mapping[str, Any]]:
    return (entry["item"] for entry in entries() if entry["split"] == split)
