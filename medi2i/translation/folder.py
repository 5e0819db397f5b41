"""Translate a file or folder with a trained run and write a data set folder: images, masks, provenance."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from medi2i.adapters import Direction
from medi2i.adapters.base import StyleKind
from medi2i.data.dataset_folder import DatasetFolder, discover, tell_others
from medi2i.data.manifest import (
    ManifestRow,
    Skipped,
    inspect_folder,
    read_manifest,
    write_manifest,
    write_skipped,
)
from medi2i.data.outputs import (
    PROVENANCE,
    require_free,
    require_same_translation,
)
from medi2i.data.pseudonyms import choose_pseudonyms, discover_covered, write_key
from medi2i.errors import NothingUsableError, UsageError
from medi2i.io.format import Compression
from medi2i.io.hold import hold_folder
from medi2i.training.engine import DeviceName
from medi2i.training.interruption import StopRequest, stop_on_signals
from medi2i.training.progress import Progress
from medi2i.translation.delivery import Delivery
from medi2i.translation.images import record_key, write_translations
from medi2i.translation.styles import StyleRequest, choose_looks, require_direction
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
    compression: Compression = "none",
    segmentations: bool = False,
    strip_identity: bool = False,
    key: Path | None = None,
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
        compression: lossless, of DICOM images.
        segmentations: write the masks of DICOM images as DICOM SEG, too (needs highdicom).
        strip_identity: leave out of files, names and tables whose images these are. No de-identification:
            what the pixels show stays.
        key: with `strip_identity`, the file that leads from old to new names.

    Returns:
        images that could not be used; `out/skipped.jsonl` lists them.

    Raises:
        OutputExistsError: `out` holds something else, or another translation.
        NothingUsableError: not one image could be used.
        UsageError: there is no such run, or its method has no such style, attributes or direction; or
            `strip_identity` and `key` are not given together.
        InputError: a reference can't be read.
        EnvironmentProblemError: `segmentations` without highdicom.
        InterruptedRunError: Ctrl-C or SIGTERM; calling again continues.
    """
    require_free(out)
    _require_key_use(strip_identity, key)
    translator = load_translator(run, device=device)
    require_direction(translator, direction)
    request = StyleRequest(style, tuple(references), draws, attributes or {})
    looks = choose_looks(translator, direction, request)
    with stop_on_signals() as stop, hold_folder(out):
        folder = discover_covered(location) if strip_identity else discover(location)
        pseudonyms = choose_pseudonyms(folder, key, out) if strip_identity else None
        delivery = Delivery(compression, segmentations, pseudonyms)
        with nullcontext() if pseudonyms is None else pseudonyms.covering():
            rows, skipped = _inspect(translator, folder, location, out, direction, delivery, stop)
            delivery.require_possible(rows, folder.root)
            keys = {record_key(row, translator, direction, look, delivery) for row in rows for look in looks}
            require_same_translation(out, keys)
            if pseudonyms is None or key is None:
                rows = told = _keep_patients(rows, out)
            else:
                told = pseudonyms.cover_rows(rows)
                write_key(key, pseudonyms)
            _begin(out, told, skipped)
            write_translations(
                translator,
                rows,
                folder.root,
                out,
                direction=direction,
                stop=stop,
                looks=looks,
                delivery=delivery,
            )
    return skipped


def _begin(out: Path, rows: list[ManifestRow], skipped: list[Skipped]) -> None:
    """Make the folder, and say what goes into it and what does not."""
    out.mkdir(parents=True, exist_ok=True)
    (out / PROVENANCE).touch()  # from here on, the folder is known as this translation's
    write_manifest(out / "manifest.jsonl", rows)
    write_skipped(out / "skipped.jsonl", skipped)


def _inspect(
    translator: Translator,
    folder: DatasetFolder,
    location: Path,
    out: Path,
    direction: Direction,
    delivery: Delivery,
    stop: StopRequest,
) -> tuple[list[ManifestRow], list[Skipped]]:
    """Read all images once; rows and skipped images have the names under which they are written."""
    domain, pseudonyms = domains(direction)[0], delivery.pseudonyms
    tell_others(folder, named=pseudonyms is None)
    reading = Progress("reading", len(folder.items))
    rows, skipped = inspect_folder(
        folder,
        domain,
        translator.data.intensity(domain),
        salt=secrets.token_bytes(16) if pseudonyms is None else pseudonyms.secret,
        progress=lambda done, total: _tick(reading, stop, out),
    )
    reading.close()
    if pseudonyms is not None:
        rows, skipped = pseudonyms.rename(rows, folder.root), pseudonyms.cover_skipped(skipped)
    if not rows:
        raise NothingUsableError(
            location,
            found=f"{len(skipped)} image(s), none usable; the first: {skipped[0].reason}",
            expected="projection radiographs",
            remedy="see docs/dataset-folder.md for what is read",
        )
    return rows, skipped


def _keep_patients(rows: list[ManifestRow], out: Path) -> list[ManifestRow]:
    """Patients as an interrupted call wrote them: the hashes' salt is thrown away with each call."""
    if not (out / "manifest.jsonl").is_file():
        return rows
    called = {row.sha256: row.patient for row in read_manifest(out / "manifest.jsonl")}
    return [dataclasses.replace(row, patient=called.get(row.sha256, row.patient)) for row in rows]


def _require_key_use(strip_identity: bool, key: Path | None) -> None:
    if key is not None and not strip_identity:
        raise UsageError(
            "--key",
            found="no --strip-identity",
            expected="both: the key leads from the images' names to those that replace them",
            remedy="add --strip-identity, or drop --key",
        )


def _tick(progress: Progress, stop: StopRequest, out: Path) -> None:
    progress.advance()
    stop.raise_if_requested(str(out), "run the same command again to continue")
