"""COCO: 16-bit PNG and one file of annotations a split, masks as run-length codes; overlap is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from medi2i.data.tables import SPLITS
from medi2i.io.atomic import write_stream_atomically
from medi2i.io.new_radiograph import write_new_radiograph
from medi2i.synthesis.formats.base import Entries, SetWriter, Written, object_lines
from medi2i.synthesis.formats.run_length import bounding_box, compress, run_lengths
from medi2i.synthesis.image import SyntheticImage


class CocoWriter(SetWriter):
    """`images/` and `annotations/<split>.json`."""

    def write(self, image: SyntheticImage) -> Written:
        """One image; its annotations wait for the tables."""
        path = f"images/{image.name}.png"
        write_new_radiograph(
            self.out / path, image.codes, format="png", spacing_mm=image.spacing_mm or (1.0, 1.0)
        )
        rows, columns = image.codes.shape
        entry = {
            "split": image.split,
            "image": {
                "file_name": path,
                "height": rows,
                "width": columns,
                "spacing_mm": image.spacing_mm,
                "patient": image.patient,
            },
            "masks": [
                {
                    "category_id": number,
                    "segmentation": {"size": [rows, columns], "counts": compress(run_lengths(mask))},
                    "area": int(mask.sum()),
                    "bbox": bounding_box(mask),
                    "iscrowd": 0,
                }
                for number, mask in enumerate(image.masks, start=1)
                if mask.any()
            ],
        }
        return Written((path,), entry)

    def finish(self, entries: Entries) -> None:
        """`annotations/<split>.json` of each split that has images."""
        found = {str(entry["split"]) for entry in entries()}
        categories = [
            {"id": number, "name": name, "supercategory": "anatomy"}
            for number, name in enumerate(self.facts.structures, start=1)
        ]
        about = {
            "description": "Synthetic radiographs by medi2i synthesize; see DATASET_CARD.md",
            "licence": self.facts.licence,
        }
        for split in (name for name in SPLITS if name in found):
            members: list[tuple[str, object]] = [
                ("info", about),
                ("licenses", [{"id": 1, "name": self.facts.licence, "url": ""}]),
                ("categories", categories),
                ("images", _images(entries, split)),
                ("annotations", _annotations(entries, split)),
            ]
            write_stream_atomically(self.out / "annotations" / f"{split}.json", object_lines(members))

    def describe(self) -> str:
        """What reads it."""
        return (
            "16-bit grey PNG in `images/`, bone bright; `annotations/train.json`, `validation.json` and "
            "`test.json` in COCO's form, one annotation a structure that is there, its mask as compressed "
            "run-length code: overlap is kept. pycocotools reads them; `file_name` starts from this folder. "
            "`spacing_mm` (row, column) of each image is an addition."
        )


def _numbered(entries: Entries, split: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    return enumerate((entry for entry in entries() if entry["split"] == split), start=1)


def _images(entries: Entries, split: str) -> Iterator[dict[str, Any]]:
    for number, entry in _numbered(entries, split):
        yield {"id": number, **entry["image"], "license": 1}


def _annotations(entries: Entries, split: str) -> Iterator[dict[str, Any]]:
    count = 0
    for number, entry in _numbered(entries, split):
        for mask in entry["masks"]:
            count += 1
            yield {"id": count, "image_id": number, **mask}
