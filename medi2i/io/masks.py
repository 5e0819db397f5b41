"""Structure masks on disk: one NIfTI (column, row, structure), or a folder of `<structure>.png`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from medi2i.errors import MaskMismatchError
from medi2i.image import SpacingMm
from medi2i.io.atomic import write_bytes_atomically
from medi2i.io.guard import MAX_PIXELS, check_file_size, check_matrix, decoding, refuse

_MAX_STRUCTURES = 512


def read_mask_nifti(
    path: Path, structures: Sequence[str], *, image_shape: tuple[int, int] | None = None
) -> Bool[np.ndarray, "K H W"]:
    """Read a NIfTI of axes (column, row, structure); (column, row) will do for a single structure.

    Args:
        path: the file.
        structures: names of the planes, in the file's order.
        image_shape: (rows, columns) of the image the masks belong to, checked if given.

    Raises:
        MaskMismatchError: another number of planes or another matrix than expected, or a plane with more than
            two values (a label map).
        UnreadableImageError: the file is damaged.
    """
    import nibabel

    check_file_size(path)
    with decoding(path, "NIfTI mask"):
        image = nibabel.load(str(path))
        shape = tuple(int(side) for side in image.shape)
    if len(shape) == 4 and shape[2] == 1:  # (column, row, 1, structure), as SimpleITK writes vectors
        shape = (*shape[:2], shape[3])
    planes = shape if len(shape) == 3 else (*shape, 1)
    if len(planes) != 3 or planes[2] != len(structures):
        raise MaskMismatchError(
            path,
            found=f"an array of shape {shape} (columns, rows, structures)",
            expected=f"(columns, rows, {len(structures)}) for {', '.join(structures)}",
            remedy="give as many structure names as the file has planes",
        )
    columns, rows, count = planes
    check_matrix(path, rows, columns)
    if rows * columns * count > MAX_PIXELS * 8 or count > _MAX_STRUCTURES:
        raise refuse(path, f"{count} planes of {rows} x {columns}", expected="masks of one radiograph")
    with decoding(path, "NIfTI mask"):
        values = np.asarray(image.dataobj).reshape(planes).transpose(2, 1, 0)
    masks = [_to_bool(path, plane, name) for plane, name in zip(values, structures, strict=True)]
    return _stack(path, masks, structures, image_shape)


def read_mask_folder(
    folder: Path, structures: Sequence[str] | None = None, *, image_shape: tuple[int, int] | None = None
) -> tuple[tuple[str, ...], Bool[np.ndarray, "K H W"]]:
    """Read `<structure>.png` files of one image.

    Args:
        folder: holds one PNG for each structure.
        structures: names to read, in this order; None for all files, by name.
        image_shape: (rows, columns) of the image the masks belong to, checked if given.

    Returns:
        names, and one plane for each.

    Raises:
        MaskMismatchError: a structure has no file, there is none at all, matrices differ, or a file has more
            than two values.
        UnreadableImageError: a file is damaged.
    """
    found = tuple(sorted(file.stem for file in folder.glob("*.png") if not file.name.startswith(".")))
    names = found if structures is None else tuple(structures)
    missing = [name for name in names if name not in found]
    if missing or not names:
        raise MaskMismatchError(
            folder,
            found=f"masks of {', '.join(found) or 'nothing'}",
            expected=f"a PNG for each of {', '.join(names)}" if names else "<structure>.png files",
            remedy=f"add {', '.join(f'{name}.png' for name in missing) or 'the masks'}, empty where absent",
        )
    masks = [_to_bool(folder / f"{name}.png", _read_png(folder / f"{name}.png"), name) for name in names]
    return names, _stack(folder, masks, names, image_shape)


def write_mask_nifti(path: Path, masks: Bool[np.ndarray, "K H W"], *, spacing_mm: SpacingMm | None) -> None:
    """Write masks (K, H, W) as uint8 NIfTI of axes (column, row, structure).

    Args:
        path: `.nii` or `.nii.gz`.
        masks: one plane for each structure.
        spacing_mm: (row, column), or None when unknown, which NIfTI can only say as 1 mm.

    Raises:
        DiskFullError: there is no room.
    """
    _write_planes(path, masks.astype(np.uint8), spacing_mm)


def write_path_nifti(
    path: Path, path_mm: Float32[np.ndarray, "K H W"], *, spacing_mm: SpacingMm | None
) -> None:
    """Write path lengths (K, H, W) in mm as float32 NIfTI of axes (column, row, structure).

    Raises:
        DiskFullError: there is no room.
    """
    _write_planes(path, path_mm.astype(np.float32), spacing_mm)


def write_mask_folder(folder: Path, masks: Bool[np.ndarray, "K H W"], structures: Sequence[str]) -> None:
    """Write masks (K, H, W) as `<structure>.png` of values 0 and 255.

    Raises:
        MaskMismatchError: not as many planes as names.
        DiskFullError: there is no room.
    """
    from PIL import Image

    if len(masks) != len(structures):
        raise MaskMismatchError(
            folder,
            found=f"masks of shape {masks.shape}",
            expected=f"({len(structures)}, rows, columns) for {', '.join(structures)}",
            remedy="give one name for each plane",
        )
    for mask, name in zip(masks, structures, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, format="PNG")
        write_bytes_atomically(folder / f"{name}.png", buffer.getvalue())


def _write_planes(path: Path, planes: np.ndarray, spacing_mm: SpacingMm | None) -> None:
    import gzip

    import nibabel

    row, column = spacing_mm or (1.0, 1.0)
    voxels = np.ascontiguousarray(planes.transpose(2, 1, 0))
    content: bytes = nibabel.Nifti1Image(voxels, np.diag([column, row, 1.0, 1.0])).to_bytes()
    if path.name.endswith(".gz"):
        content = gzip.compress(content, 6, mtime=0)
    write_bytes_atomically(path, content)


def _read_png(path: Path) -> np.ndarray:
    from PIL import Image

    check_file_size(path)
    with decoding(path, "PNG mask"), Image.open(path, formats=["PNG"]) as image:
        check_matrix(path, image.height, image.width)
        return np.asarray(image if image.mode in {"1", "L", "I;16"} else image.convert("RGB").convert("L"))


def _to_bool(path: Path, plane: np.ndarray, name: str) -> np.ndarray:
    values = np.unique(plane)
    finite = bool(np.isfinite(values.astype(np.float64)).all())
    if not finite or values.size > 2 or values[0] < 0 or (values.size == 2 and values[0] != 0):
        raise MaskMismatchError(
            path,
            found=f"{values.size} values, {values[0]} to {values[-1]} in the {plane.shape} mask of {name}",
            expected="zero outside the structure and one other value inside",
            remedy="split label maps into one plane for each structure; threshold soft masks",
        )
    return plane > 0


def _stack(
    path: Path, masks: Sequence[np.ndarray], names: Sequence[str], image_shape: tuple[int, int] | None
) -> np.ndarray:
    """(K, H, W) of planes that all have the image's matrix."""
    expected = image_shape or masks[0].shape
    for mask, name in zip(masks, names, strict=True):
        if mask.shape != expected:
            raise MaskMismatchError(
                path,
                found=f"a mask of {name} of {mask.shape[0]} x {mask.shape[1]} (rows x columns)",
                expected=f"{expected[0]} x {expected[1]}",
                remedy="resample the mask to its image's matrix",
            )
    return np.stack(masks)
