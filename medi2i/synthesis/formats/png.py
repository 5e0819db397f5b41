"""medi2i's own data set folder: 16-bit PNG, a mask a structure; every medi2i command takes it as it is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from medi2i.data.dataset_folder import IMAGES, MASKS, VALID
from medi2i.errors import UsageError
from medi2i.io.atomic import write_stream_atomically, write_text_atomically
from medi2i.io.masks import write_mask_folder
from medi2i.io.new_radiograph import write_new_radiograph
from medi2i.synthesis.formats.base import Entries, SetFacts, SetWriter, Written, object_lines, patient_lines
from medi2i.synthesis.image import SyntheticImage


class PngWriter(SetWriter):
    """`images/`, `masks/<image>/<structure>.png`, `valid/`, and the tables of docs/dataset-folder.md."""

    def __init__(self, out: Path, facts: SetFacts) -> None:
        super().__init__(out, facts)
        wrong = [name for name in facts.structures if not name or name != Path(name).name]
        if wrong:
            raise UsageError(
                "--format png",
                found=f"a structure named '{wrong[0]}'",
                expected="names that can be names of files",
                remedy="rename it in the sources' dataset.json",
            )

    def write(self, image: SyntheticImage) -> Written:
        """One 16-bit image, its masks, and its valid area where that is not all of it."""
        path = self.out / IMAGES / f"{image.name}.png"
        write_new_radiograph(path, image.codes, format="png", spacing_mm=image.spacing_mm or (1.0, 1.0))
        write_mask_folder(self.out / MASKS / image.name, image.masks, self.facts.structures)
        files = [path, *(self.out / MASKS / image.name / f"{name}.png" for name in self.facts.structures)]
        if not image.valid.all():
            write_mask_folder(self.out / VALID, image.valid[None], (image.name,))
            files.append(self.out / VALID / f"{image.name}.png")
        entry = {
            "name": f"{image.name}.png",
            "patient": image.patient,
            "split": image.split,
            "spacing_mm": image.spacing_mm,
            "view": image.view,
        }
        return Written(tuple(file.relative_to(self.out).as_posix() for file in files), entry)

    def finish(self, entries: Entries) -> None:
        """`dataset.json`, `patients.csv`; `views.json` for spacings and `attributes.csv` for views."""
        described = {
            "name": "Synthetic radiographs by medi2i synthesize",
            "structures": list(self.facts.structures),
            "synthetic": True,
            "licence": self.facts.licence,
        }
        if self.facts.convention is not None:
            described["convention"] = self.facts.convention
        write_text_atomically(self.out / "dataset.json", json.dumps(described, indent=1) + "\n")
        write_stream_atomically(self.out / "patients.csv", patient_lines(entries))
        if any(entry["spacing_mm"] is not None for entry in entries()):
            write_stream_atomically(self.out / "views.json", object_lines([("views", _views(entries))]))
        if any(entry["view"] is not None for entry in entries()):
            write_stream_atomically(self.out / "attributes.csv", _attributes(entries))

    def describe(self) -> str:
        """The form of docs/dataset-folder.md."""
        return (
            "16-bit grey PNG in `images/`, bone bright; `masks/<image>/<structure>.png`, 255 inside; "
            "`valid/`, 0 where there is no image. Spacing, patients and splits are in the tables beside "
            "them. "
            "It is a data set folder of medi2i: all its commands take it as it is."
        )


def _views(entries: Entries) -> Iterator[dict[str, object]]:
    for entry in entries():
        if entry["spacing_mm"] is not None:
            yield {"name": entry["name"], "detector_spacing_mm": entry["spacing_mm"]}


def _attributes(entries: Entries) -> Iterator[str]:
    yield "file,view\n"
    for entry in entries():
        if entry["view"] is not None:
            line = io.StringIO()
            csv.writer(line, lineterminator="\n").writerow((entry["name"], entry["view"]))
            yield line.getvalue()
