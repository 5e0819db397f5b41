"""Translate a file or folder with a trained run and write a data set folder: images, masks, provenance."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medi2i.adapters import Direction
from medi2i.adapters.base import StyleKind
from medi2i.data.dataset_folder import discover, image_stem
from medi2i.data.decoding import input_intensity, item_of
from medi2i.data.manifest import (
    ManifestRow,
    Skipped,
    file_sha256,
    inspect_folder,
    load_radiograph,
    write_manifest,
    write_skipped,
)
from medi2i.data.outputs import (
    PROVENANCE,
    carry_masks,
    image_path,
    keep_records,
    output_names,
    require_free,
    require_same_translation,
    write_tables,
)
from medi2i.errors import InputError, NothingUsableError
from medi2i.io import write_radiograph
from medi2i.training.engine import DeviceName
from medi2i.training.interruption import StopRequest, stop_on_signals
from medi2i.training.progress import Progress
from medi2i.translation.styles import Look, StyleRequest, choose_looks, require_direction
from medi2i.translation.translator import Translator, domains, load_translator


def translate(
    run: Path,
    location: Path,
    *,
    out: Path,
    direction: Direction = "source-to-target",
    device: DeviceName = "auto",
    style: StyleKind | None = None,
    references: Sequence[Path] = (),
    draws: int = 1,
    attributes: Mapping[str, str] | None = None,
) -> list[Skipped]:
    """Translate a file or folder with a trained run and write a data set folder.

    Args:
        run: a run folder of `medi2i adapt`.
        location: an image, or a data set folder.
        out: new folder, or one that an interrupted translation left.
        direction: which way.
        device: where to compute.
        style: which look, of a method that has several; None takes the method's own choice.
        references: images or folders of the output's domain, for the styles `reference` and `interpolate`.
        draws: looks of each image; with several, names end in `_s00`, `_s01`, ...
        attributes: acquisition attributes of the output, of a method that knows them.

    Returns:
        images that could not be used; `out/skipped.jsonl` lists them.

    Raises:
        OutputExistsError: `out` holds something else, or another translation.
        NothingUsableError: not one image could be used.
        UsageError: there is no such run, or its method has no such style, attributes or direction.
        InputError: a reference can't be read.
        InterruptedRunError: Ctrl-C or SIGTERM; calling again continues.
    """
    require_free(out)
    translator = load_translator(run, device=device)
    require_direction(translator, direction)
    request = StyleRequest(style, tuple(references), draws, attributes or {})
    looks = choose_looks(translator, direction, request)
    with stop_on_signals() as stop:
        folder = discover(location)
        domain = domains(direction)[0]
        reading = Progress("reading", len(folder.items))
        rows, skipped = inspect_folder(
            folder,
            domain,
            translator.data.intensity(domain),
            salt=secrets.token_bytes(16),
            progress=lambda done, total: _tick(reading, stop, out),
        )
        reading.close()
        if not rows:
            raise NothingUsableError(
                location,
                found=f"{len(skipped)} image(s), none usable; the first: {skipped[0].reason}",
                expected="projection radiographs",
                remedy="see docs/dataset-folder.md for what is read",
            )
        keys = {_key(row, translator, direction, look) for row in rows for look in looks}
        require_same_translation(out, keys)
        out.mkdir(parents=True, exist_ok=True)
        (out / PROVENANCE).touch()  # from here on, the folder is known as this translation's
        write_manifest(out / "manifest.jsonl", rows)
        write_skipped(out / "skipped.jsonl", skipped)
        write_translations(translator, rows, folder.root, out, direction=direction, stop=stop, looks=looks)
    return skipped


def write_translations(
    translator: Translator,
    rows: Sequence[ManifestRow],
    root: Path,
    out: Path,
    *,
    direction: Direction,
    stop: StopRequest,
    looks: Sequence[Look] | None = None,
) -> None:
    """Translate the images of a manifest into `out/images`, with their masks and tables.

    What an earlier, interrupted call finished with the same weights is left as it is. With several looks, an
    image's masks are carried to each of them.

    Args:
        looks: of each image; without them, the one that the method chooses itself.

    Raises:
        InterruptedRunError: a stop was requested; finished images stay.
        CheckpointError: the network's output is not finite.
    """
    looks = choose_looks(translator, direction) if looks is None else looks
    works = [_Work(row, look, _output_row(row, look)) for row in rows for look in looks]
    outputs = [work.output for work in works]
    keys = {work.output.id: _key(work.row, translator, direction, work.look) for work in works}
    finished = keep_records(out, set(keys.values()))
    write_tables(outputs, out)
    carry_masks(outputs, root, out)
    names = output_names(outputs)
    progress = Progress("translating", len(works))
    with (out / PROVENANCE).open("a", encoding="utf-8") as stream:
        for work in works:
            key = keys[work.output.id]
            if key not in finished:
                path = image_path(out, names[work.output.id])
                record = _translate_one(translator, work, root, path, direction)
                record = {"key": key, "output": path.relative_to(out).as_posix()} | record
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


def _tick(progress: Progress, stop: StopRequest, out: Path) -> None:
    progress.advance()
    stop.raise_if_requested(str(out), "run the same command again to continue")


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
    translator: Translator, work: _Work, root: Path, path: Path, direction: Direction
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
    write_radiograph(
        path,
        outgoing.to_stored(translated, radiograph.header),
        header=radiograph.header,
        template=root / row.file,
        method=translator.origin["method"],
    )
    return {
        "id": row.id,
        "input_sha256": row.sha256,
        "output_sha256": file_sha256(path),
        "direction": direction,
        **translator.origin,
        **look.facts,
        **how,
        "input_intensity": incoming.to_dict(),
        "output_intensity": outgoing.to_dict(),
        "clipped_fraction": incoming.clipped_fraction(radiograph.pixels, radiograph.valid, radiograph.header),
        "bits_stored": radiograph.header.bits_stored,
        "valid_fraction": row.valid_fraction,
    }


def _key(row: ManifestRow, translator: Translator, direction: Direction, look: Look) -> str:
    facts = (row.id, row.output, row.sha256, translator.origin["weights_sha256"], direction, look.key)
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:24]
