"""New names for images whose own must not be seen, and the key that leads back to them.

Files become img-000001, img-000002, ... in the order of their folder. The key is a file of the user's choice
that only its owner can read: old names, new names, and the secret with which identifiers and hashes were
keyed. Without it nothing leads back, and with it an interrupted translation goes on with the same names.
"""

from __future__ import annotations

import dataclasses
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from medi2i.data.dataset_folder import IMAGES, MASKS, VALID, DatasetFolder, discover, image_stem
from medi2i.data.manifest import ManifestRow, Skipped
from medi2i.data.outputs import output_masks, output_names
from medi2i.data.tables import TABLE_FILES
from medi2i.errors import MaskMismatchError, Medi2iError, OutputExistsError, UsageError
from medi2i.io.atomic import write_atomically
from medi2i.io.dicom_identity import may_show_text

_ABOUT = "medi2i translate --strip-identity: old and new names; keep this file apart from the images"
_MAY_SHOW_TEXT = (
    "the header does not say that no text is burned into the pixels (BurnedInAnnotation); look at the image"
)
_SHORTEST_COVERED = 4  # a file called "1" names nobody, and its name is part of many words


@dataclass(frozen=True)
class Pseudonyms:
    """What images are called instead of their own names.

    Attributes:
        names: new name without suffix, by path below the folder's root.
        secret: what identifiers and hashes are keyed with.
        olds: what of an image must not be seen (its paths, its name, those of its mask), by new name.
    """

    names: Mapping[str, str]
    secret: bytes = field(repr=False)
    olds: Mapping[str, tuple[str, ...]] = field(repr=False)

    def digest(self, value: str) -> str:
        """A hash that can't be made from the value without the secret, of 64 hexadecimal digits."""
        return hmac.new(self.secret, value.encode(), "sha256").hexdigest()

    def cover(self, text: str, *, of: str | None = None) -> str:
        """The text with new names for old ones: of one image by its new name, or of all."""
        wanted = self.olds if of is None else {of: self.olds[of]}
        found = [(old, new) for new, olds in wanted.items() for old in olds if old in text]
        for old, new in sorted(found, key=lambda pair: -len(pair[0])):  # a path before the name at its end
            text = re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", new, text)
        return text

    @contextmanager
    def covering(self) -> Iterator[None]:
        """Let no error out that tells an old name.

        Raises:
            Medi2iError, OSError: of the same type, with new names.
        """
        try:
            yield
        except Medi2iError as error:
            parts = {name: self.cover(getattr(error, name)) for name in ("found", "expected", "remedy")}
            raise type(error)(self.cover(error.subject), **parts) from None
        except OSError as error:
            raise type(error)(error.errno, error.strerror, self.cover(str(error.filename))) from None

    def rename(self, rows: Sequence[ManifestRow], root: Path) -> list[ManifestRow]:
        """Rows whose outputs have the new names; those that may show text are noted."""
        return [
            dataclasses.replace(
                row,
                output=f"{self.names[row.file]}{_suffix(row.output)}",
                notes=(*row.notes, _MAY_SHOW_TEXT) if may_show_text(root / row.file) else row.notes,
            )
            for row in rows
        ]

    def cover_rows(self, rows: Sequence[ManifestRow]) -> list[ManifestRow]:
        """Renamed rows as they may be written: without old paths, and with keyed hashes of the content."""
        names, masks = output_names(rows), output_masks(rows)
        return [
            dataclasses.replace(
                row,
                file=f"{IMAGES}/{names[row.id]}",
                sha256=self.digest(row.sha256),
                mask=f"{MASKS}/{masks[row.id]}" if row.mask else None,
                valid=f"{VALID}/{image_stem(names[row.id])}.png" if row.valid else None,
            )
            for row in rows
        ]

    def cover_skipped(self, skipped: Sequence[Skipped]) -> list[Skipped]:
        """Skipped images under their new names."""
        return [
            dataclasses.replace(one, file=new, reason=self.cover(one.reason, of=new))
            for one in skipped
            for new in (self.names[one.file],)
        ]


def discover_covered(location: Path) -> DatasetFolder:
    """As `discover`, but no error names a file below the location.

    Raises:
        Medi2iError: as `discover`.
    """
    try:
        return discover(location)
    except Medi2iError as error:
        if Path(error.subject).resolve() == location.resolve():
            raise
        about = Path(error.subject).name
        what = (
            about if about in TABLE_FILES else "masks" if isinstance(error, MaskMismatchError) else "a file"
        )
        raise type(error)(
            location,
            found=f"{what} that the images don't match; saying more would name a file",
            expected="what docs/dataset-folder.md describes",
            remedy="run the command without --strip-identity to another --out, which says what is wrong",
        ) from None


def choose_pseudonyms(folder: DatasetFolder, key: Path | None, out: Path) -> Pseudonyms:
    """New names of a folder's images, those of the key if it is there already; nothing is written.

    Raises:
        UsageError: there is no key, its folder isn't there, it is in the output folder, or it is no readable
            key.
        OutputExistsError: the key is one of other images.
    """
    if key is None:
        raise UsageError(
            "--strip-identity",
            found="no --key",
            expected="a file for the key from old to new names, outside --out",
            remedy="add --key FILE; delete the file afterwards if nobody shall find the way back",
        )
    if key.resolve().is_relative_to(out.resolve()):
        raise UsageError(
            "--key", found="a file in --out", expected="one apart from the images", remedy="choose another"
        )
    if not key.parent.is_dir():
        raise UsageError(
            "--key",
            found="a file in a folder that isn't there",
            expected="an existing folder",
            remedy="make it, or choose another",
        )
    files = [item.path.relative_to(folder.root).as_posix() for item in folder.items]
    names = {file: f"img-{number:06d}" for number, file in enumerate(files, start=1)}
    secret = _read_key(key, names) if key.exists() else secrets.token_bytes(32)
    return Pseudonyms(names, secret, _olds(folder, names))


def write_key(path: Path, pseudonyms: Pseudonyms) -> None:
    """Write the key so that only its owner may read it, from its first byte on.

    Raises:
        DiskFullError, EnvironmentProblemError: it can't be written.
    """
    values = {"about": _ABOUT, "secret": pseudonyms.secret.hex(), "names": dict(pseudonyms.names)}

    def write(unfinished: Path) -> None:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(values, stream, indent=1, ensure_ascii=False)

    write_atomically(path, write)


def _read_key(path: Path, names: Mapping[str, str]) -> bytes:
    """The secret of a key, which must be of these images."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        secret, listed = bytes.fromhex(values["secret"]), dict(values["names"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            "--key",
            found="a file that is no readable key of medi2i",
            expected="a new file, or the key of this translation",
            remedy="choose another --key",
        ) from None
    if listed != dict(names) or len(secret) < 16:
        raise OutputExistsError(
            "--key",
            found="the key of other images",
            expected="a new file, or the key of this translation",
            remedy="choose another --key, or put the images back as they were",
        )
    return secret


def _olds(folder: DatasetFolder, names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    olds = {}
    for item, new in zip(folder.items, names.values(), strict=True):
        below = item.path.relative_to(folder.root).as_posix()
        texts = [str(item.path), below, item.relative.as_posix(), item.path.name, image_stem(item.path)]
        texts += [str(path) for path in (item.mask, item.valid) if path is not None]
        olds[new] = tuple(dict.fromkeys(text for text in texts if len(text) >= _SHORTEST_COVERED))
    return olds


def _suffix(output: str) -> str:
    """The image suffix of a name, or nothing: what else follows a dot may be part of a person's name."""
    name = Path(output).name
    return name[len(image_stem(Path(name))) :].lower()
