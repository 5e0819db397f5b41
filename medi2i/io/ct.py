"""CT volumes from a NIfTI, MetaImage or NRRD file, or from a folder that holds a DICOM series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from medi2i.io.ct_checks import CT, check_affine, check_shape, expecting, make_volume, unusable
from medi2i.io.ct_orientation import lps_to_ras, turn_to_ras
from medi2i.io.ct_series import read_series
from medi2i.io.dicom_file import looks_like_dicom
from medi2i.io.guard import decoding, refuse
from medi2i.volume import Volume

NIFTI_SUFFIXES = (".nii", ".nii.gz")
_ITK_SUFFIXES = {".mha": "MetaImageIO", ".nrrd": "NrrdImageIO"}
VOLUME_SUFFIXES = (*NIFTI_SUFFIXES, *_ITK_SUFFIXES)
_TO_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


def read_ct(path: Path, *, series: str | None = None) -> Volume:
    """Read one CT, turned to the nearest RAS orientation without resampling.

    Args:
        path: a `.nii`, `.nii.gz`, `.mha` or `.nrrd` file, a folder with the files of a DICOM series, or
            one enhanced (multi-frame) DICOM file.
        series: which series of a DICOM folder: its SeriesInstanceUID, or its number in the list that the
            error about several series shows. Without effect on files.

    Returns:
        Hounsfield units, -1000 ... 20,000 (see `ct_checks.make_volume`).

    Raises:
        UnreadableImageError: the file, or one of the series, is absent or damaged.
        UnusableVolumeError: unknown orientation, a tilted, incomplete or ambiguous series, or values that are
            no Hounsfield units.
    """
    with expecting(CT):
        if not path.exists():
            raise refuse(path, "no such file or folder", remedy="check the path, and that the disk is there")
        if path.is_dir() or looks_like_dicom(path):
            return read_series(path, series=series)
        if path.name.lower().endswith(NIFTI_SUFFIXES):
            values, affine = read_nifti_voxels(path)
        elif path.suffix.lower() in _ITK_SUFFIXES:
            values, affine = _read_itk(path)
        else:
            raise refuse(
                path,
                f"a file that ends in '{path.suffix}'",
                expected=f"a CT as {', '.join(VOLUME_SUFFIXES)}, or a folder of DICOM files",
                remedy="give the folder that holds the series, or convert the file to NIfTI",
            )
        turned, turned_affine = turn_to_ras(values, affine)
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, which is refused next
            hounsfield = turned.astype(np.float32, copy=False)
        return make_volume(path, hounsfield, turned_affine)


def read_nifti_voxels(path: Path) -> tuple[np.ndarray, Float64[np.ndarray, "4 4"]]:
    """Values (I, J, K) of a NIfTI volume, scaled if its header says so, and its affine to RAS mm.

    Without scaling, integers stay integers.

    Raises:
        UnreadableImageError: the file is damaged.
        UnusableVolumeError: no volume, voxels that are no numbers, or neither sform nor qform to say how it
            lies in the patient.
    """
    import nibabel

    if path.stat().st_size == 0:
        raise refuse(path, "an empty file", remedy="export it again, or leave it out")
    with decoding(path, "NIfTI header"):
        image = nibabel.load(str(path))
        shape, dtype = tuple(int(side) for side in image.shape), image.get_data_dtype()
    sides = check_shape(path, shape)
    if dtype.kind not in "uif":
        raise unusable(path, f"voxels of type {dtype}", expected="integers or floating point")
    with decoding(path, "NIfTI header"):
        affine = _nifti_affine(path, image)
    check_affine(path, affine)
    with decoding(path, "NIfTI voxels"):
        is_scaled = (image.dataobj.slope, image.dataobj.inter) != (1.0, 0.0)
        values = image.get_fdata(dtype=np.float32, caching="unchanged") if is_scaled else image.dataobj
        return np.asarray(values).reshape(sides), affine


def _nifti_affine(path: Path, image: Any) -> Float64[np.ndarray, "4 4"]:
    """The header's affine in mm; one without a meaning says nothing of left and right."""
    header = image.header
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise unusable(
            path,
            "neither sform nor qform (both codes are 0), so that left and right are unknown",
            expected="a NIfTI file that says how it lies in the patient",
            remedy="convert the CT again from DICOM, e.g. with dcm2niix",
        )
    to_mm = _TO_MM.get(header.get_xyzt_units()[0], 1.0)
    affine: np.ndarray = np.diag([to_mm, to_mm, to_mm, 1.0]) @ np.asarray(image.affine, dtype=np.float64)
    return affine


def _read_itk(path: Path) -> tuple[np.ndarray, Float64[np.ndarray, "4 4"]]:
    """Values (I, J, K) and affine to RAS mm of a MetaImage or NRRD file."""
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(_ITK_SUFFIXES[path.suffix.lower()])
    reader.SetFileName(str(path))
    with decoding(path, "image header"):
        reader.ReadImageInformation()
        shape = tuple(int(side) for side in reader.GetSize())
        components = int(reader.GetNumberOfComponents())
        dimension = int(reader.GetDimension())
    sides = check_shape(path, shape)
    if components != 1:
        raise unusable(path, f"{components} values in each voxel", expected="one value in each voxel")
    with decoding(path, "image header"):
        directions = np.array(reader.GetDirection()).reshape(dimension, dimension)[:3, :3]
        affine = np.eye(4)
        affine[:3, :3] = directions * np.array(reader.GetSpacing())[:3]
        affine[:3, 3] = np.array(reader.GetOrigin())[:3]
    check_affine(path, affine)
    with decoding(path, "voxels"):
        stored = SimpleITK.GetArrayFromImage(reader.Execute())
        return stored.reshape(sides[::-1]).transpose(2, 1, 0), lps_to_ras(affine)
