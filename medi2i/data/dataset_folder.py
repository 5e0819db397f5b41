"""The data set folder: images, optional masks, and what is known of patients and spacing.

The form is written down in `docs/dataset-folder.md`; every command reads and writes it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from medi2i.data.attribute_tables import ATTRIBUTES_CSV
from medi2i.data.table_files import table_error
from medi2i.data.tables import TABLE_FILES, FolderTables, read_tables
from medi2i.errors import DatasetFolderError, MaskMismatchError, NothingUsableError, UsageError
from medi2i.image import SpacingMm, SpacingOrigin
from medi2i.io import FORMATS, is_document, is_image

MASKS = "masks"
VALID = "valid"
IMAGES = "images"
_MOST_NAMED = 5
_OUTPUT_MARKS = ("manifest.jsonl", "synthesis.json")  # the second from a set's first image on
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class DatasetItem:
    """One image of a folder and what the folder says of it.

    Attributes:
        path: the file.
        relative: path below the images' folder: the name of outputs.
        mask: NIfTI file or folder of one PNG a structure, None without masks.
        valid: PNG that is 0 where there is no image, None without one.
        patient: identity from the folder's tables, None when they don't say. Never write it anywhere.
        split: the split the user chose for it, None to leave that to medi2i.
        spacing_mm: from the folder's tables, for files that carry none.
        attributes: how it was taken, as far as the folder's tables say.
    """

    path: Path
    relative: Path
    mask: Path | None = None
    valid: Path | None = None
    patient: str | None = None
    split: str | None = None
    spacing_mm: SpacingMm | None = None
    spacing_origin: SpacingOrigin = "unknown"
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetFolder:
    """A folder of images as `discover` found it.

    Attributes:
        root: that tables and masks are in.
        items: the images.
        structures: of their masks.
        others: files among the images that are none, and no text either.
    """

    root: Path
    items: tuple[DatasetItem, ...]
    structures: tuple[str, ...]
    others: tuple[Path, ...] = ()

    @property
    def has_masks(self) -> bool:
        """Whether any image has a mask."""
        return any(item.mask is not None for item in self.items)


def discover(location: Path) -> DatasetFolder:
    """Find the images below a folder (or take one file) and read the folder's tables.

    Args:
        location: a file; a folder with `images/`; any other folder, whose images may lie anywhere below; or
            the `images` folder itself, whose tables and masks then lie beside it.

    Raises:
        UsageError: nothing is there.
        NothingUsableError: no file is an image by name or content.
        DatasetFolderError: a table contradicts its form or the folder.
        MaskMismatchError: there are masks, but not one for every image.
    """
    if not location.exists():
        raise UsageError(location, found="no such file or folder", expected="images", remedy="check the path")
    root = metadata_root(location)
    if location.is_file():
        return DatasetFolder(root, (DatasetItem(root / location.name, Path(location.name)),), ())
    location = location.resolve()
    images = location / IMAGES if (location / IMAGES).is_dir() else location
    paths, others = _find_images(images, excluded=() if images != location else (root / MASKS, root / VALID))
    if not paths:
        raise NothingUsableError(
            location,
            found="no image",
            expected="DICOM, NIfTI, PNG, TIFF, JPEG or .npy files here, below, or under images/",
            remedy="check the path, or see docs/dataset-folder.md",
        )
    tables = read_tables(root)
    masks = _find_masks(root / MASKS, images, paths)
    structures = tables.structures or _structure_names(masks)
    if masks and not structures:
        raise DatasetFolderError(
            root / MASKS,
            found="masks without structure names",
            expected="a list 'structures' in dataset.json or views.json",
            remedy="write dataset.json beside the folder, see docs/dataset-folder.md",
        )
    items = tuple(_describe(path, images, root, masks.get(path), tables) for path in paths)
    _require_consistent(items, tables, root / "patients.csv")
    _require_one_line_each(paths, images, root, tables)
    return DatasetFolder(root, items, structures if masks else (), others)


def metadata_root(location: Path) -> Path:
    """The folder that holds the tables and masks: the location, or what is around its `images` folder.

    Links to single files are not followed, so that a file keeps the name it has in its folder.
    """
    if location.is_file():
        return location.parent.resolve()
    location = location.resolve()
    parent = location.parent
    here = any((location / name).exists() for name in (*TABLE_FILES, MASKS))
    beside = any((parent / name).is_file() for name in TABLE_FILES) or (parent / MASKS).is_dir()
    return parent if location.name == IMAGES and beside and not here else location


def image_stem(path: Path) -> str:
    """Name without its image suffix; `a.b` of `a.b.png`, and the whole of a DICOM name such as `1.2.840`."""
    name = path.name
    suffixes = [s for known in FORMATS for s in known.suffixes if name.lower().endswith(s)]
    return name[: len(name) - max(map(len, suffixes), default=0)]


def tell_others(folder: DatasetFolder, *, named: bool = True) -> None:
    """One line on the console about the files that were passed by, in case an image was meant.

    Args:
        folder: as discovered.
        named: whether file names may be told.
    """
    if folder.others:
        names = ", ".join(path.relative_to(folder.root).as_posix() for path in folder.others[:_MOST_NAMED])
        left = ", ..." if len(folder.others) > _MOST_NAMED else ""
        told = f": {names}{left}" if named else ""
        print(f"passed by: {len(folder.others)} file(s) that are no images{told}", file=sys.stderr)


def _find_images(images: Path, *, excluded: tuple[Path, ...]) -> tuple[list[Path], tuple[Path, ...]]:
    # a run, a translation or a synthetic set written below a domain's folder is no part of the domain
    everything = sorted(images.rglob("*"))
    outputs = {path.parent for path in everything if path.name in _OUTPUT_MARKS} - {images}
    excluded = (*excluded, *outputs)
    files = [
        path
        for path in everything
        if not any(part.startswith(".") for part in path.relative_to(images).parts)
        and not any(path.is_relative_to(folder) for folder in excluded)
        and (path.is_file() or path.is_symlink())
    ]
    paths = [path for path in files if is_image(path)]
    known = set(paths)
    others = (path for path in files if path not in known and not path.is_dir() and not is_document(path))
    return paths, tuple(others)


def _find_masks(folder: Path, images: Path, paths: list[Path]) -> dict[Path, Path]:
    """The mask of each image: `masks/<name>.nii.gz`, `.nii`, or the folder `masks/<name>/`.

    `<name>` is the image's, with or without its suffix, below the same subfolder; where names are unique, the
    subfolder may be left out.
    """
    if not folder.is_dir() or not any(not p.name.startswith(".") for p in folder.iterdir()):
        return {}
    masks = {path: find_mask(folder, path.relative_to(images)) for path in paths}
    found = {path: mask for path, mask in masks.items() if mask is not None}
    missing = [path for path in paths if path not in found]
    if missing:
        why = f"{len(missing)} of {len(paths)} images have none"
        raise _unmatched(missing[0], image_stem(missing[0]), why)
    uses = Counter(found.values())
    shared = [path for path in paths if uses[found[path]] > 1]
    if shared:
        mask = found[shared[0]]
        raise _unmatched(shared[0], shared[0].name, f"{mask.name} would be the mask of {uses[mask]} images")
    return found


def find_mask(folder: Path, image: Path) -> Path | None:
    """The mask of an image, given its path below the images' folder; the most specific name first.

    None where the folder of masks holds none.
    """
    stem = image_stem(image)
    for name in dict.fromkeys([image, image.parent / stem, Path(image.name), Path(stem)]):
        for file in (folder / f"{name}.nii.gz", folder / f"{name}.nii"):
            if file.is_file():
                return file
        if any((folder / name).glob("*.png")):
            return folder / name
    return None


def _unmatched(image: Path, name: str, why: str) -> MaskMismatchError:
    return MaskMismatchError(
        image,
        found=f"no mask of its own ({why})",
        expected=f"{MASKS}/{name}.nii.gz or {MASKS}/{name}/<structure>.png",
        remedy="add the masks, or move the images without masks to another folder",
    )


def _structure_names(masks: dict[Path, Path]) -> tuple[str, ...]:
    """Names of the PNG files where no table lists them; NIfTI masks need a table."""
    files = [file for mask in masks.values() if mask.is_dir() for file in mask.glob("*.png")]
    return tuple(sorted({file.stem for file in files if not file.name.startswith(".")}))


def _require_consistent(items: tuple[DatasetItem, ...], tables: FolderTables, path: Path) -> None:
    """Refuse `patients.csv` that speaks of other images, or splits some images and leaves the others."""
    unsplit = [item for item in items if item.split is None]
    if tables.splits and unsplit:
        raise table_error(
            path,
            f"no split for {len(unsplit)} of {len(items)} images, the first: {unsplit[0].relative}",
            "a split for every image, or an empty column",
        )
    if tables.patients and not any(item.patient for item in items):
        raise table_error(path.parent, "patients of other files only", "the names of the images here")


def _require_one_line_each(paths: list[Path], images: Path, root: Path, tables: FolderTables) -> None:
    """Refuse lines of `attributes.csv` of no image, or of one that has a line under another name."""
    if not tables.attributes:
        return
    taken = {
        next((key for key in _names(path, images, root) if key in tables.attributes), "") for path in paths
    }
    left = [key for key in tables.attributes if key not in taken]
    if left:
        raise table_error(
            root / ATTRIBUTES_CSV,
            f"{len(left)} line(s) of no image, or of one that has another line; the first: '{left[0]}'",
            "the names of the images here, one line each",
        )


def _names(path: Path, images: Path, root: Path) -> tuple[str, ...]:
    """What tables may call an image, the first that one has counts."""
    relative, stem = path.relative_to(images), image_stem(path)
    beside = (relative.parent / stem).as_posix()
    return path.relative_to(root).as_posix(), relative.as_posix(), beside, path.name, stem


def _describe(path: Path, images: Path, root: Path, mask: Path | None, tables: FolderTables) -> DatasetItem:
    relative, keys = path.relative_to(images), _names(path, images, root)

    def look_up(table: Mapping[str, _Value]) -> _Value | None:
        return next((table[key] for key in keys if key in table), None)

    spacing: SpacingMm | None = look_up(tables.spacing) or tables.spacing.get("")
    origin: SpacingOrigin = "detector" if spacing else "user" if tables.one_spacing else "unknown"
    valid = root / VALID / relative.parent / f"{image_stem(path)}.png"
    return DatasetItem(
        path=path,
        relative=relative,
        mask=mask,
        valid=valid if valid.is_file() else None,
        patient=look_up(tables.patients) or tables.one_patient,
        split=look_up(tables.splits),
        spacing_mm=spacing or tables.one_spacing,
        spacing_origin=origin,
        attributes=tables.one_attributes | (look_up(tables.shown) or {}) | (look_up(tables.attributes) or {}),
    )
