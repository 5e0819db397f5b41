"""Tiny CT series and NIfTI volumes as files, in any orientation."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED = "1.2.840.10008.5.1.4.1.1.2.1"
# RAS affine of `make_hounsfield`: sides of 0.8, 0.9 and 2.5 mm
AFFINE = np.array([[0.8, 0, 0, -10], [0, 0.9, 0, 20], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])


def make_hounsfield(shape: tuple[int, int, int] = (6, 5, 4)) -> np.ndarray:
    """(I, J, K) integers from -1000 on, no two alike."""
    count = int(np.prod(shape))
    step = min(17, 20_000 // count)
    return (np.arange(count, dtype=np.int16) * step - 1000).reshape(shape)


def turn(
    array: np.ndarray, affine: np.ndarray, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> tuple[np.ndarray, np.ndarray]:
    """The same voxels with axes permuted, then flipped."""
    turned, index = array.transpose(axes), np.eye(4)[:, [*axes, 3]]
    for axis, flip in enumerate(flips):
        if flip:
            turned = np.flip(turned, axis)
            reverse = np.eye(4)
            reverse[axis, axis], reverse[axis, 3] = -1, array.shape[axes[axis]] - 1
            index = index @ reverse
    return turned, affine @ index


def make_slices(
    hounsfield: np.ndarray,
    affine: np.ndarray = AFFINE,
    *,
    axes: tuple[int, int, int] = (0, 1, 2),
    flips: tuple[bool, bool, bool] = (True, True, False),
    **attributes: Any,
) -> list[Dataset]:
    """CT images of a RAS volume whose columns, rows and slices run along `axes`, flipped where `flips` says.

    The default is the usual axial head-first supine one: columns to the left, rows to the back.
    """
    stored, own = turn(hounsfield, np.diag([-1, -1, 1, 1.0]) @ affine, axes, flips)
    spacing = np.linalg.norm(own[:3, :3], axis=0)
    uids = {"SeriesInstanceUID": generate_uid(), "StudyInstanceUID": generate_uid()}
    slices = []
    for k in range(stored.shape[2]):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.Modality = CT, "CT"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.PatientID, dataset.PatientName = "token-id", "Token^Name"
        dataset.ImageOrientationPatient = [float(x) for x in (own[:3, :2] / spacing[:2]).T.ravel()]
        dataset.ImagePositionPatient = [float(x) for x in own[:3, 3] + own[:3, 2] * k]
        dataset.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        dataset.SliceLocation, dataset.InstanceNumber = 0, 1  # wrong, as in many files
        intercept = -1024 - k  # its own in each slice
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, intercept
        pixels = (stored[:, :, k].T - intercept).astype(np.int16)
        dataset.set_pixel_data(np.ascontiguousarray(pixels), "MONOCHROME2", 16)
        for keyword, value in (uids | attributes).items():
            setattr(dataset, keyword, value)
        slices.append(dataset)
    return slices


def write_slices(folder: Path, slices: list[Dataset], *, prefix: str = "") -> Path:
    """Write data sets under names whose order is not theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, dataset in enumerate(slices):
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{prefix}{(index * 7 + 3) % 997:03d}", enforce_file_format=True)
    return folder


def make_enhanced(slices: list[Dataset]) -> Dataset:
    """One multi-frame object of classic slices."""
    whole = Dataset()
    whole.update(slices[0])
    whole.file_meta = FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        del whole[keyword]
    del whole.RescaleSlope, whole.RescaleIntercept
    frames = [each.pixel_array for each in slices]
    whole.set_pixel_data(np.stack(frames), "MONOCHROME2", 16)
    whole.SOPClassUID = ENHANCED
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = slices[0].PixelSpacing
    orientation.ImageOrientationPatient = slices[0].ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    whole.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for each in slices:
        group, plane, values = Dataset(), Dataset(), Dataset()
        plane.ImagePositionPatient = each.ImagePositionPatient
        values.RescaleSlope, values.RescaleIntercept = each.RescaleSlope, each.RescaleIntercept
        group.PlanePositionSequence, group.PixelValueTransformationSequence = [plane], [values]
        groups.append(group)
    whole.PerFrameFunctionalGroupsSequence = groups
    return whole


def write_nifti(
    path: Path, values: np.ndarray, affine: np.ndarray = AFFINE, *, codes: tuple[int, int] = (1, 1)
) -> Path:
    """Write a NIfTI file with these sform and qform codes."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    content = bytearray(nibabel.Nifti1Image(values, affine).to_bytes())
    content[252:256] = np.array(codes[::-1], "<i2").tobytes()  # nibabel itself writes no file without a code
    path.write_bytes(gzip.compress(content, 1) if path.name.endswith(".gz") else content)
    return path
