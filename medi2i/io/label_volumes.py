"""Structures of a CT from label maps, or from one file a structure, on the CT's grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, UInt16

from medi2i.errors import MaskMismatchError, UsageError
from medi2i.io.ct import read_nifti_voxels
from medi2i.io.ct_checks import expecting
from medi2i.io.ct_orientation import turn_to_ras
from medi2i.io.guard import decoding, refuse
from medi2i.io.label_names import check_structure_name, read_header_names
from medi2i.volume import LabelVolume, Volume, axis_spacing_mm, is_same_grid, label_volume_from_map

_LABELS = "a label map as .nii or .nii.gz"
_MAX_CODE = 65_535


def read_label_map(
    path: Path,
    names: Mapping[int, str] | None = None,
    *,
    default_names: Mapping[int, str] | None = None,
) -> LabelVolume:
    """Read a NIfTI label map, turned to the nearest RAS orientation.

    Args:
        path: the file.
        names: structures by value; None for those in the file's own header, as TotalSegmentator writes them.
        default_names: structures by value where `names` is None and the header has none.

    Returns:
        all structures that are named, also those without voxels; a note lists values without a name, which
        are no structure.

    Raises:
        UnreadableImageError: the file is absent or damaged.
        UnusableVolumeError: it is no volume, or of unknown orientation.
        MaskMismatchError: values that are no label values, or none of them has a name.
    """
    with expecting(_LABELS):
        labels, affine = _read_integers(path)
        known = dict(names) if names is not None else _names_in_header(path)
        names = known or dict(default_names or {})
    values = _values_in(labels)
    unnamed = [value for value in values if value not in names]
    if not names or (values and len(unnamed) == len(values)):
        raise MaskMismatchError(
            path,
            found=f"label values {_list(values)} and {'other' if names else 'no'} names",
            expected="a name for the values, in the file's header or in a table",
            remedy=f"put {_stem(path)}.json (or .csv) with names beside it, or set structures.label_names",
        )
    found = label_volume_from_map(labels, names, affine)
    notes: tuple[str, ...] = ()
    if unnamed:
        notes += (f"label values without a name, which count as background: {_list(unnamed)}",)
    if not known:
        notes += ("label values have their names from structures.label_names: the file has none of its own",)
    return LabelVolume(found.codes, found.membership, found.structures, found.affine, notes)


def read_structure_files(files: Mapping[str, Path]) -> LabelVolume:
    """Read one NIfTI mask for each structure; where they overlap, both hold.

    Files are read one after the other: memory is that of the codes and of one mask.

    Args:
        files: path of each structure's mask: 0 outside and one other value inside.

    Raises:
        UnreadableImageError: a file is absent or damaged.
        UnusableVolumeError: it is no volume, or of unknown orientation.
        MaskMismatchError: files of different grids, a mask of more than two values, or more than 65,535
            different combinations of overlapping structures.
        UsageError: no file, or a name that no file could have.
    """
    if not files:
        raise UsageError("labels", found="no structure", expected="a file for each", remedy="give the masks")
    codes: UInt16[np.ndarray, "I J K"] | None = None
    affine = np.eye(4)
    rows = np.zeros((1, len(files)), dtype=bool)
    for column, (name, path) in enumerate(files.items()):
        _check_name(path, name)
        with expecting("a mask as .nii or .nii.gz"):
            mask, own_affine = _read_mask(path)
        if codes is None:
            codes, affine = np.zeros(mask.shape, dtype=np.uint16), own_affine
        elif not is_same_grid(codes.shape, affine, mask.shape, own_affine):
            raise MaskMismatchError(
                path,
                found=_describe_grid(mask.shape, own_affine),
                expected=f"the other structures' {_describe_grid(codes.shape, affine)}",
                remedy="resample all masks to the grid of the CT",
            )
        codes, rows = _add_structure(path, codes, rows, mask, column)
    assert codes is not None  # noqa: S101
    return LabelVolume(codes, rows, tuple(files), affine)


def check_same_grid(labels: LabelVolume, volume: Volume, path: Path) -> None:
    """Refuse labels whose voxels are not the CT's.

    Grids that were stored in other orientations were turned to the same one by the readers.

    Args:
        labels: structures.
        volume: the CT that they belong to.
        path: the labels' file, for the message.

    Raises:
        MaskMismatchError: naming both grids.
    """
    if not is_same_grid(labels.codes.shape, labels.affine, volume.hounsfield.shape, volume.affine):
        raise MaskMismatchError(
            path,
            found=_describe_grid(labels.codes.shape, labels.affine),
            expected=f"the CT's {_describe_grid(volume.hounsfield.shape, volume.affine)}",
            remedy="if they are labels of this CT, add --resample-labels (nearest neighbour)",
        )


def resample_labels(labels: LabelVolume, volume: Volume) -> LabelVolume:
    """The labels at the CT's voxel centres, by nearest neighbour; outside their grid there is no structure.

    Raises:
        MaskMismatchError: the grids don't overlap, so these are no labels of this CT.
    """
    from scipy.ndimage import affine_transform

    index = np.linalg.inv(labels.affine) @ volume.affine  # CT voxel to label voxel
    shape = volume.hounsfield.shape
    codes = affine_transform(
        labels.codes,
        index[:3, :3],
        index[:3, 3],
        output_shape=shape,
        order=0,
        mode="grid-constant",  # "constant" loses the outer half of the border voxels
        cval=0,
    )
    covered = _covered_fraction(labels, index, shape)
    if covered == 0:
        raise MaskMismatchError(
            "labels",
            found=_describe_grid(labels.codes.shape, labels.affine),
            expected=f"labels that overlap the CT's {_describe_grid(shape, volume.affine)}",
            remedy="check that they belong to this CT",
        )
    note = "labels were resampled to the CT's grid by nearest neighbour"
    if covered < 0.999:
        note += f"; they cover {100 * covered:.0f} % of it"
    return LabelVolume(codes, labels.membership, labels.structures, volume.affine, (*labels.notes, note))


def _covered_fraction(
    labels: LabelVolume, index: Float64[np.ndarray, "4 4"], shape: tuple[int, ...]
) -> float:
    """Share of the CT's voxels whose centres lie within the labels' grid, from at most 32 a side."""
    lines = [np.linspace(0, side - 1, min(side, 32)) for side in shape]
    places = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1) @ index[:3, :3].T + index[:3, 3]
    inside = (places >= -0.5) & (places <= np.array(labels.codes.shape) - 0.5)
    return float(inside.all(axis=-1).mean())


def _read_integers(path: Path) -> tuple[np.ndarray, Float64[np.ndarray, "4 4"]]:
    """Label values (I, J, K) turned to RAS; floating point that holds integers is accepted."""
    if not path.is_file():
        raise refuse(path, "no such file", remedy="check the path")
    values, affine = read_nifti_voxels(path)
    values, affine = turn_to_ras(values, affine)
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            rounded = np.rint(values)
        is_integral = bool((rounded == values).all())
    else:
        rounded, is_integral = values, True
    low, high = rounded.min(), rounded.max()
    if not is_integral or low < 0 or high > _MAX_CODE:
        raise MaskMismatchError(
            path,
            found=f"values from {low} to {high}{'' if is_integral else ', not all of them integers'}",
            expected=f"label values: integers from 0 to {_MAX_CODE:,}",
            remedy="give the label map itself, not a CT, a probability map or an interpolated mask",
        )
    return rounded.astype(np.uint16, copy=False), affine


def _read_mask(path: Path) -> tuple[Bool[np.ndarray, "I J K"], Float64[np.ndarray, "4 4"]]:
    labels, affine = _read_integers(path)
    values = _values_in(labels)
    if len(values) > 1:
        raise MaskMismatchError(
            path,
            found=f"{len(values)} values inside: {_list(values)}",
            expected="one structure: 0 outside and one other value inside",
            remedy="give a label map of several structures as a single file, with their names",
        )
    return labels > 0, affine


def _names_in_header(path: Path) -> dict[int, str]:
    import nibabel

    with decoding(path, "NIfTI header"):
        extensions = list(nibabel.load(str(path)).header.extensions)
    return read_header_names(path, extensions)


def _values_in(labels: UInt16[np.ndarray, "I J K"]) -> list[int]:
    """Values other than 0 that occur."""
    occurs = np.zeros(_MAX_CODE + 1, dtype=bool)
    occurs[labels] = True
    return [int(value) for value in np.flatnonzero(occurs) if value]


def _add_structure(
    path: Path,
    codes: UInt16[np.ndarray, "I J K"],
    rows: Bool[np.ndarray, "N S"],
    mask: Bool[np.ndarray, "I J K"],
    column: int,
) -> tuple[UInt16[np.ndarray, "I J K"], Bool[np.ndarray, "N S"]]:
    """Codes and sets after one more structure: each set that its mask meets gets a twin that holds it."""
    met = np.flatnonzero(np.bincount(codes[mask], minlength=len(rows)))
    twins = rows[met].copy()
    twins[:, column] = True
    if len(rows) + len(twins) > _MAX_CODE + 1:
        raise MaskMismatchError(
            path,
            found=f"{len(rows) + len(twins):,} different sets of overlapping structures",
            expected=f"at most {_MAX_CODE:,}",
            remedy="give fewer structures at a time, or masks that overlap less",
        )
    table = np.arange(len(rows), dtype=np.uint16)
    table[met] = np.arange(len(rows), len(rows) + len(twins), dtype=np.uint16)
    return np.where(mask, table[codes], codes), np.vstack([rows, twins])


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _check_name(path: Path, name: str) -> None:
    try:
        check_structure_name(name)
    except ValueError as error:
        raise UsageError(
            path, found=str(error), expected="a name that a file can have", remedy="rename the mask"
        ) from error


def _describe_grid(shape: tuple[int, ...], affine: Float64[np.ndarray, "4 4"]) -> str:
    spacing = " x ".join(f"{side:.4g}" for side in axis_spacing_mm(affine))
    origin = ", ".join(f"{number:.1f}" for number in affine[:3, 3])
    return f"grid of {' x '.join(map(str, shape))} voxels of {spacing} mm, first at ({origin}) mm"


def _list(values: list[int]) -> str:
    shown = ", ".join(map(str, values[:10]))
    return f"{shown} ... ({len(values)} in all)" if len(values) > 10 else shown or "none"
