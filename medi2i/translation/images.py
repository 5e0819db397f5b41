"""The images of a manifest through a trained method, into a data set folder, one after the other."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medi2i.adapters import Direction
from medi2i.data.dataset_folder import image_stem
from medi2i.data.decoding import input_intensity, item_of
from medi2i.data.manifest import ManifestRow, file_sha256, load_radiograph
from medi2i.data.outputs import (
    PROVENANCE,
    carry_masks,
    image_path,
    keep_records,
    output_names,
    write_tables,
)
from medi2i.errors import InputError
from medi2i.image import IntensityMap, Radiograph, to_full_scale
from medi2i.io import write_radiograph
from medi2i.training.interruption import StopRequest
from medi2i.training.progress import Progress
from medi2i.translation.delivery import Delivery
from medi2i.translation.styles import Look, choose_looks
from medi2i.translation.translator import Translator, domains


def write_translations(
    translator: Translator,
    rows: Sequence[ManifestRow],
    root: Path,
    out: Path,
    *,
    direction: Direction,
    stop: StopRequest,
    looks: Sequence[Look] | None = None,
    delivery: Delivery | None = None,
) -> None:
    """Translate the images of a manifest into `out/images`, with their masks and tables.

    What an earlier, interrupted call finished with the same weights is left as it is. With several looks, an
    image's masks are carried to each of them.

    Args:
        looks: of each image; without them, the one that the method chooses itself.
        delivery: what is asked of the files; plain ones without it.

    Raises:
        InterruptedRunError: a stop was requested; finished images stay.
        CheckpointError: the network's output is not finite.
    """
    looks = choose_looks(translator, direction) if looks is None else looks
    delivery = Delivery() if delivery is None else delivery
    works = [_Work(row, look, _output_row(row, look)) for row in rows for look in looks]
    outputs = [work.output for work in works]
    keys = {
        work.output.id: record_key(work.row, translator, direction, work.look, delivery) for work in works
    }
    finished = keep_records(out, set(keys.values()))
    write_tables(outputs, out)
    carry_masks(outputs, root, out, afresh=delivery.pseudonyms is not None)
    names = output_names(outputs)
    progress = Progress("translating", len(works))
    with (out / PROVENANCE).open("a", encoding="utf-8") as stream:
        for work in works:
            key = keys[work.output.id]
            if key not in finished:
                path = image_path(out, names[work.output.id])
                record = _translate_one(translator, work, root, path, direction, delivery)
                record = {"key": key, "output": path.relative_to(out).as_posix()} | record
                record |= delivery.write_masks(work.row, root, path, out)
                stream.write(json.dumps(record) + "\n")
                stream.flush()
            progress.advance()
            stop.raise_if_requested(str(out), "run the same command again to continue")
    progress.close()


@dataclasses.dataclass(frozen=True)
class _Work:
    """One look of one image; `output` is its row as if it were an image of its own."""

    row: ManifestRow
    look: Look
    output: ManifestRow


def _output_row(row: ManifestRow, look: Look) -> ManifestRow:
    """The row under a name that ends in the look's suffix."""
    if not look.suffix:
        return row
    path = Path(row.output)
    stem = image_stem(path)
    output = path.with_name(f"{stem}{look.suffix}{path.name[len(stem) :]}")
    return dataclasses.replace(row, id=f"{row.id}{look.suffix}", output=output.as_posix())


def _require_unchanged(row: ManifestRow, root: Path) -> None:
    """Provenance states the hash of the manifest, so the file must still be that one."""
    if file_sha256(root / row.file) != row.sha256:
        raise InputError(
            root / row.file,
            found="other content than when the run began",
            expected="the file that manifest.jsonl lists",
            remedy="put it back, or start a new run",
        )


def _translate_one(
    translator: Translator, work: _Work, root: Path, path: Path, direction: Direction, delivery: Delivery
) -> dict[str, Any]:
    row, look = work.row, work.look
    _require_unchanged(row, root)
    radiograph = load_radiograph(item_of(row, root))
    incoming = input_intensity(row, translator.intensities[domains(direction)[0]], translator.data)
    outgoing = translator.output_intensity(incoming, direction)
    image = incoming.to_network(radiograph.pixels, radiograph.header)
    translated, how = translator.translate(
        image, radiograph.valid, direction, style=look.style, attributes=look.attributes
    )
    stored = (
        _as_stored(radiograph)
        if translator.keeps_images
        else outgoing.to_stored(translated, radiograph.header)
    )
    write_radiograph(
        path,
        stored,
        header=radiograph.header,
        template=root / row.file,
        method=translator.origin["method"],
        options=delivery.options(row, translator.origin, direction, look),
    )
    return {
        "id": row.id,
        "input_sha256": delivery.hash_of(row),
        "output_sha256": file_sha256(path),
        "direction": direction,
        **translator.origin,
        **delivery.cover_facts(look),
        **how,
        "input_intensity": incoming.to_dict(),
        "output_intensity": outgoing.to_dict(),
        "clipped_fraction": incoming.clipped_fraction(radiograph.pixels, radiograph.valid, radiograph.header),
        "bits_stored": radiograph.header.bits_stored,
        "valid_fraction": row.valid_fraction,
    }


def _as_stored(radiograph: Radiograph) -> np.ndarray:
    """An image's own codes, or values: networks see clipped ones, and none outside the valid area."""
    full_scale = 2 * to_full_scale(radiograph.pixels, radiograph.header) - 1
    return IntensityMap(low=0.0, high=1.0).to_stored(full_scale, radiograph.header)


def record_key(
    row: ManifestRow, translator: Translator, direction: Direction, look: Look, delivery: Delivery
) -> str:
    """What marks one look of one image in the provenance: the same for the same input, weights and wishes."""
    weights = translator.origin["weights_sha256"]
    facts = (row.id, row.output, delivery.hash_of(row), weights, direction, look.key, *delivery.marks)
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:24]
