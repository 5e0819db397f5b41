"""Data set folders that segmenters learn from: one picture of each kind, with the films' labels as masks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from medi2i.adapters import HistogramConfig
from medi2i.data.dataset_folder import IMAGES, MASKS, VALID, discover, image_stem
from medi2i.data.manifest import ManifestRow, file_sha256, inspect_folder, load_masks
from medi2i.data.outputs import read_provenance
from medi2i.data.settings import DataConfig
from medi2i.data.split import assign_splits
from medi2i.downstream.films import Film, Films
from medi2i.downstream.labels import Labels
from medi2i.errors import InputError, NothingUsableError
from medi2i.evaluation import Domains, tensors
from medi2i.io.atomic import replace_folder_atomically
from medi2i.io.masks import write_mask_nifti
from medi2i.segmentation.masked import MaskedImages, with_intensity
from medi2i.training.interruption import StopRequest
from medi2i.translation import Translator, write_translations

_MARK = "content.sha256"


@dataclass(frozen=True)
class _Picture:
    """One image of a kind: its file, and the masks and valid area that go with it."""

    name: str
    image: Path
    sha256: str
    valid: Path | None
    mask: Path
    names: tuple[str, ...]
    shape: tuple[int, int]
    patient: str | None


@dataclass(frozen=True)
class Material:
    """Images of one kind, read once.

    Attributes:
        folder: the data set folder.
        digest: of its images and masks.
        rows: with patients, without splits.
    """

    folder: Path
    digest: str
    rows: tuple[ManifestRow, ...]

    def split(self, data: DataConfig, *, seed: int, as_in: Material) -> list[MaskedImages]:
        """With splits by patient that are those of another kind: all kinds hold the same views.

        Raises:
            NothingUsableError: fewer than three different images.
        """
        drawn, _ = assign_splits(list(as_in.rows), data.split, seed=seed)
        split_of = {_stem(row): row.split for row in drawn}
        rows = [dataclasses.replace(row, split=split_of.get(_stem(row), "train")) for row in self.rows]
        return [with_intensity(rows, self.folder)]

    def choose(self, patients: Sequence[int]) -> list[MaskedImages]:
        """Images of some patients to train on.

        None is left to choose the weights by, so the same images stand as held out: the last weights are
        taken where these are asked at the end only.
        """
        wanted = {str(patient) for patient in patients}
        chosen = [row for row in self.rows if row.patient in wanted]
        parts = [
            [dataclasses.replace(row, split=split) for row in chosen] for split in ("train", "validation")
        ]
        return [with_intensity(rows, self.folder) for rows in parts]


def gather_source(domains: Domains, labels: Labels, data: DataConfig, out: Path) -> Material:
    """Source images as they are.

    Raises:
        NothingUsableError: none has a mask.
    """
    root = domains.source_root
    files = {row.id: (root / row.file, row.sha256) for row in domains.source}
    return _gather(domains, files, labels, data, out)


def gather_translated(
    domains: Domains, translated: Path, labels: Labels, data: DataConfig, out: Path
) -> Material:
    """Source images as they were translated and written, with the masks of the source.

    Raises:
        InputError: the translation of a source image is missing.
        NothingUsableError: none has a mask.
    """
    files = {
        record["id"]: (translated / record["output"], record["output_sha256"])
        for record in read_provenance(translated)
    }
    missing = [row.id for row in domains.source if row.id not in files or not files[row.id][0].is_file()]
    if missing:
        raise InputError(
            translated,
            found=f"no translation of {len(missing)} source image(s), the first: {missing[0]}",
            expected="a finished run's translated/",
            remedy="finish the run with --resume",
        )
    return _gather(domains, files, labels, data, out)


def gather_histogram(
    domains: Domains, labels: Labels, data: DataConfig, out: Path, stop: StopRequest
) -> Material:
    """Source images, histogram-matched to the target's training images as the baseline of `adapt` is.

    Raises:
        InterruptedRunError: a stop was requested.
    """
    written = out.with_name(f"{out.name}_matched")
    adapter = HistogramConfig().build(seed=0)
    adapter.fit("target", tensors(domains.images("target", "train")))
    taught = "|".join(row.sha256 for row in domains.rows("target", "train"))
    translator = Translator(
        adapter=adapter,
        data=domains.data,
        intensities=domains.intensities,
        device=torch.device("cpu"),
        origin={
            "method": "histogram",
            "step": 0,
            "weights_sha256": hashlib.sha256(taught.encode()).hexdigest(),
        },
    )
    written.mkdir(parents=True, exist_ok=True)
    write_translations(
        translator, domains.source, domains.source_root, written, direction="source-to-target", stop=stop
    )
    return gather_translated(domains, written, labels, data, out)


def gather_films(films: Films, data: DataConfig, out: Path) -> Material:
    """Labelled films; patients are numbers, and films too."""
    pictures = [_film_picture(number, film, films) for number, film in enumerate(films.films)]
    return _write(pictures, films.labels, data, out, own_labels=True)


def _film_picture(number: int, film: Film, films: Films) -> _Picture:
    item = film.item
    return _Picture(
        name=f"film-{number:04d}",
        image=item.path,
        sha256=film.sha256,
        valid=item.valid,
        mask=Path(item.mask or ""),
        names=films.names,
        shape=film.shape,
        patient=str(film.patient),
    )


def _gather(
    domains: Domains, files: Mapping[str, tuple[Path, str]], labels: Labels, data: DataConfig, out: Path
) -> Material:
    root = domains.source_root
    pictures = [
        _Picture(
            name=row.id,
            image=files[row.id][0],
            sha256=files[row.id][1],
            valid=root / row.valid if row.valid else None,
            mask=root / row.mask,
            names=row.structures,
            shape=(row.rows, row.columns),
            patient=row.patient,
        )
        for row in domains.source
        if row.mask is not None
    ]
    return _write(pictures, labels, data, out)


def _write(
    pictures: Sequence[_Picture], labels: Labels, data: DataConfig, out: Path, *, own_labels: bool = False
) -> Material:
    """The folder, unless it is there and holds just this, and its rows."""
    if not pictures:
        raise NothingUsableError(
            out,
            found="no image with a mask",
            expected="source images with masks to learn from",
            remedy="run `medi2i adapt` on a source folder with masks/",
        )
    # a film's labels are what they are, whatever structures of the source stand for them
    digest = _digest(pictures, dict.fromkeys(labels.parts, ()) if own_labels else labels.parts)
    mark = out / _MARK

    def write(folder: Path) -> None:
        for picture in pictures:
            _write_one(picture, labels, folder, own_labels=own_labels)
        (folder / "dataset.json").write_text(
            json.dumps({"structures": list(labels.structures)}), encoding="utf-8"
        )
        (folder / _MARK).write_text(digest, encoding="utf-8")

    if not mark.is_file() or mark.read_text(encoding="utf-8") != digest:
        replace_folder_atomically(out, write)
    # never written, and replaced at once by the patients that the run knows
    rows, _ = inspect_folder(discover(out), "source", data.source_intensity, salt=secrets.token_bytes(16))
    patients = {picture.name: picture.patient for picture in pictures}
    known = tuple(
        dataclasses.replace(row, id=_stem(row), patient=patients[_stem(row)], split="") for row in rows
    )
    return Material(out, digest, known)


def _write_one(picture: _Picture, labels: Labels, folder: Path, *, own_labels: bool) -> None:
    suffix = picture.image.name[len(image_stem(picture.image)) :]
    _link(picture.image, folder / IMAGES / f"{picture.name}{suffix}")
    if picture.valid is not None:
        _link(picture.valid, folder / VALID / f"{picture.name}.png")
    masks = load_masks(picture.mask, picture.names, picture.shape)
    chosen = labels.choose if own_labels else labels.unite
    path = folder / MASKS / f"{picture.name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask_nifti(path, chosen(masks, picture.names), spacing_mm=None)


def _link(origin: Path, place: Path) -> None:
    """A second name of the same file where the disk can give one, else a copy."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(origin.resolve(), place)
    except OSError:
        shutil.copyfile(origin, place)


def _digest(pictures: Sequence[_Picture], parts: Mapping[str, tuple[str, ...]]) -> str:
    facts = [
        (picture.name, picture.sha256, _content(picture.mask), _content(picture.valid))
        for picture in pictures
    ]
    known = {name: list(chosen) for name, chosen in parts.items()}
    return hashlib.sha256(json.dumps([known, facts]).encode()).hexdigest()


def _content(path: Path | None) -> str:
    if path is None:
        return ""
    if path.is_dir():
        return "|".join(f"{file.name}:{file_sha256(file)}" for file in sorted(path.glob("*.png")))
    return file_sha256(path)


def _stem(row: ManifestRow) -> str:
    return image_stem(Path(row.file))
