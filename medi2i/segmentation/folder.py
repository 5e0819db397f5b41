"""Predicted masks of a folder of images, in the form of a data set folder."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from pathlib import Path

from medi2i.data.dataset_folder import MASKS, discover, image_stem
from medi2i.data.decoding import input_intensity, item_of
from medi2i.data.manifest import Skipped, inspect_folder, load_radiograph, write_skipped
from medi2i.errors import NothingUsableError, OutputExistsError
from medi2i.image import merge_intensity
from medi2i.io.atomic import write_text_atomically
from medi2i.io.masks import write_mask_folder
from medi2i.segmentation.prediction import Segmenter
from medi2i.training.interruption import StopRequest, stop_on_signals
from medi2i.training.progress import Progress


def segment_folder(
    segmenter: Segmenter, location: Path, out: Path, *, threshold: float = 0.5
) -> list[Skipped]:
    """Write the masks that a segmenter finds: `out/masks/<image>/<structure>.png` and `out/dataset.json`.

    Images are not copied. With the images beside them as `images/`, or linked, `out` is a data set folder.

    Args:
        location: an image, or a folder of images; masks that it has are not looked at.
        out: a new folder.
        threshold: probability from which a pixel belongs to a structure.

    Returns:
        images that could not be used; `out/skipped.jsonl` lists them.

    Raises:
        OutputExistsError: `out` holds something.
        NothingUsableError: not one image could be used.
        InterruptedRunError: Ctrl-C or SIGTERM.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExistsError(
            out, found="something", expected="a new folder", remedy="choose another --out"
        )
    folder, data = discover(location), segmenter.config.data
    salt = secrets.token_bytes(16)  # patients are not written at all
    rows, skipped = inspect_folder(folder, "source", data.source_intensity, salt=salt)
    if not rows:
        raise NothingUsableError(
            location,
            found=f"{len(skipped)} image(s), none usable; the first: {skipped[0].reason}",
            expected="projection radiographs",
            remedy="see docs/dataset-folder.md for what is read",
        )
    domain_map = merge_intensity([row.intensity for row in rows])
    out.mkdir(parents=True, exist_ok=True)
    tables = {"structures": list(segmenter.structures)}
    write_text_atomically(out / "dataset.json", json.dumps(tables, indent=1))
    write_skipped(out / "skipped.jsonl", skipped)
    stems = {row.id: Path(row.output).with_name(image_stem(Path(row.output))) for row in rows}
    uses, progress = Counter(stems.values()), Progress("segmenting", len(rows))
    with stop_on_signals() as stop:
        for row in rows:
            radiograph = load_radiograph(item_of(row, folder.root))
            mapping = input_intensity(row, domain_map, data)
            image = mapping.to_network(radiograph.pixels, radiograph.header)
            found = segmenter.predict(image, radiograph.valid) >= threshold
            name = stems[row.id] if uses[stems[row.id]] == 1 else Path(row.output)
            write_mask_folder(out / MASKS / name, found, segmenter.structures)
            progress.advance()
            _require_going_on(stop, out)
    progress.close()
    return skipped


def _require_going_on(stop: StopRequest, out: Path) -> None:
    stop.raise_if_requested(str(out), "remove the folder and run the same command again")
