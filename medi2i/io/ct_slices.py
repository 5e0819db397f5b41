"""The images of a CT series: where each lies, as its DICOM header says, and its Hounsfield units."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from medi2i.io.dicom_codec import read_stored_values
from medi2i.io.dicom_file import check_pixel_data_complete, load_dataset
from medi2i.io.dicom_geometry import find_declared_image
from medi2i.io.guard import check_matrix, decoding, refuse
from medi2i.volume import AIR_HU

_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_ENHANCED = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
_MAX_FRAMES = 20_000
_FRAME_PIXELS = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
)


@dataclass(frozen=True, slots=True)
class CTImage:
    """One slice: a file of a classic series, or a frame of an enhanced object.

    Attributes:
        path: the file.
        frame: number of the frame, from 0.
        series_uid, patient: identities, only there to be compared.
        rows, columns: matrix.
        spacing_mm: (row, column) distance of pixel centres.
        directions: LPS unit vectors along increasing columns (first three), and along increasing rows.
        position_mm: LPS position of the first pixel's centre.
        rescale: slope and intercept to Hounsfield units.
        tilt_deg: gantry tilt that the header states.
        kernel: convolution kernel.
    """

    path: Path
    frame: int
    series_uid: str = field(repr=False)
    patient: str = field(repr=False)
    rows: int
    columns: int
    spacing_mm: tuple[float, float]
    directions: tuple[float, ...]
    position_mm: tuple[float, ...]
    rescale: tuple[float, float]
    tilt_deg: float = 0.0
    kernel: str = ""


def describe_images(path: Path) -> tuple[str, list[CTImage]]:
    """What a DICOM file holds: a kind ("CT", "localizer", or a modality), and the CT images in it.

    Raises:
        UnreadableImageError: the file is damaged, or a CT image lacks what its geometry needs.
    """
    dataset = load_dataset(path)
    with decoding(path, "a DICOM header", quote=False):
        class_uid = str(dataset.get("SOPClassUID", "") or "")
        modality = "".join(c for c in str(dataset.get("Modality", "") or "") if c.isalnum())[:16]
        image_type = _words(dataset.get("ImageType"))
    if not class_uid and not modality:
        raise refuse(
            path, "a DICOM file that names neither its class nor its modality", remedy="export it again"
        )
    is_image = class_uid in (_CT_IMAGE, *_ENHANCED) or not class_uid
    if modality != "CT" or not is_image:
        return modality if modality != "CT" else "CT, but no slice", []
    if "LOCALIZER" in image_type:
        return "localizer", []
    _check_pixel_description(path, dataset)
    with decoding(path, "a DICOM header", quote=False):
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if class_uid not in _ENHANCED:
        if frames != 1:
            raise refuse(path, f"a CT image of {frames} frames", expected="one slice in each file")
        return "CT", [_describe(path, dataset, 0, [dataset])]
    return "CT", _describe_frames(path, dataset, frames)


def read_images(
    images: list[CTImage],
) -> Iterator[
    tuple[int, Float32[np.ndarray, "rows columns"], Bool[np.ndarray, "rows columns"] | None, list[str]]
]:
    """Decode images one after the other, each file once.

    Yields:
        index in `images`; Hounsfield units; True where the header declares padding, or None for nowhere;
        notes.

    Raises:
        UnreadableImageError: pixel data is damaged, cut off or of an unknown encoding.
    """
    of_file: dict[Path, list[int]] = {}
    for index, image in enumerate(images):
        of_file.setdefault(image.path, []).append(index)
    for path, indices in of_file.items():
        dataset = load_dataset(path)
        check_pixel_data_complete(path, dataset)
        is_enhanced = str(dataset.get("SOPClassUID", "") or "") in _ENHANCED
        frames = _single_frames(path, dataset) if is_enhanced else [dataset]
        for index in indices:
            frame = frames[images[index].frame]
            stored, notes = read_stored_values(path, frame)
            slope, intercept = images[index].rescale
            hounsfield = (stored * slope + intercept).astype(np.float32)
            padding, padding_notes = _declared_padding(path, frame, stored, hounsfield)
            yield index, hounsfield, padding, notes + padding_notes


def _declared_padding(
    path: Path, dataset: Any, stored: np.ndarray, hounsfield: np.ndarray
) -> tuple[Bool[np.ndarray, "rows columns"] | None, list[str]]:
    if dataset.get("PixelPaddingValue") in (None, ""):
        return None, []
    inside, notes = find_declared_image(path, dataset, stored)
    padding = ~inside
    if bool((hounsfield[padding] > AIR_HU).any()):
        return None, ["PixelPaddingValue is a value that tissue has; it was ignored"]
    return padding, notes


def _check_pixel_description(path: Path, dataset: Any) -> None:
    needed = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PhotometricInterpretation")
    with decoding(path, "a DICOM header", quote=False):
        missing = [keyword for keyword in needed if dataset.get(keyword) in (None, "")]
        missing += [] if "PixelData" in dataset else ["PixelData"]
    if missing:
        raise refuse(
            path,
            f"a CT image without {', '.join(missing)}",
            expected="a complete CT image",
            remedy="the file is cut off or was stripped; export the series again",
        )
    with decoding(path, "a DICOM header", quote=False):
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
        is_grey = str(dataset.PhotometricInterpretation).strip() == "MONOCHROME2"
        is_grey &= int(dataset.get("SamplesPerPixel", 1) or 1) == 1
    check_matrix(path, rows, columns)
    if not is_grey or allocated not in (8, 16, 32) or not 2 <= stored <= allocated:
        raise refuse(
            path,
            f"CT pixels that are not MONOCHROME2, or {stored} bits stored of {allocated}",
            expected="grey pixels of 8, 16 or 32 bits",
        )


def _describe_frames(path: Path, dataset: Any, frames: int) -> list[CTImage]:
    with decoding(path, "functional groups", quote=False):
        shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])
        own = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    if len(own) != frames or frames > _MAX_FRAMES:
        raise refuse(
            path,
            f"{len(own)} functional groups for {frames} frames",
            expected=f"one for each frame, at most {_MAX_FRAMES:,}",
        )
    images = []
    for index, groups in enumerate(own):
        with decoding(path, "functional groups", quote=False):
            places = [item for group in (groups, *shared) for item in _macros(group)]
            is_localizer = any("LOCALIZER" in _words(place.get("FrameType")) for place in places)
        if not is_localizer:
            images.append(_describe(path, dataset, index, [*places, dataset]))
    return images


def _macros(group: Any) -> list[Any]:
    """First item of each macro of a functional group."""
    return [element.value[0] for element in group if element.VR == "SQ" and len(element.value)]


def _describe(path: Path, dataset: Any, frame: int, places: list[Any]) -> CTImage:
    """One image whose attributes are at the first of `places` that has them."""

    def find(keyword: str, count: int) -> tuple[float, ...] | None:
        for place in places:
            value = place.get(keyword)
            if value is not None and value != "":
                numbers = tuple(float(number) for number in (value if hasattr(value, "__len__") else [value]))
                if len(numbers) == count and all(math.isfinite(number) for number in numbers):
                    return numbers
        return None

    def need(keyword: str, count: int) -> tuple[float, ...]:
        numbers = find(keyword, count)
        if numbers is None:
            raise refuse(
                path,
                f"a CT image without a valid {keyword}",
                expected="ImagePositionPatient, ImageOrientationPatient and PixelSpacing in every image",
                remedy="export the series again as original slices, or leave the file out",
            )
        return numbers

    with decoding(path, "a DICOM header", quote=False):
        spacing = need("PixelSpacing", 2)
        kernel = next((_words(p.get("ConvolutionKernel")) for p in places if p.get("ConvolutionKernel")), ())
        patient = str(dataset.get("PatientID", "") or "") or str(dataset.get("PatientName", "") or "")
        return CTImage(
            path=path,
            frame=frame,
            series_uid=str(dataset.get("SeriesInstanceUID", "") or ""),
            patient=patient.strip(),
            rows=int(dataset.Rows),
            columns=int(dataset.Columns),
            spacing_mm=(spacing[0], spacing[1]),
            directions=need("ImageOrientationPatient", 6),
            position_mm=need("ImagePositionPatient", 3),
            rescale=(need("RescaleSlope", 1)[0], need("RescaleIntercept", 1)[0]),
            tilt_deg=(find("GantryDetectorTilt", 1) or (0.0,))[0],
            kernel="".join(c for c in "".join(kernel) if c.isalnum())[:12],
        )


def _single_frames(path: Path, dataset: Any) -> list[Any]:
    """Each frame of an enhanced object as a data set of its own, so that one decoder serves both."""
    from pydicom.dataset import Dataset
    from pydicom.encaps import encapsulate, generate_frames

    with decoding(path, "pixel data", quote=False):
        count = int(dataset.get("NumberOfFrames", 1) or 1)
        syntax = dataset.file_meta.TransferSyntaxUID
        is_encapsulated = bool(syntax.is_encapsulated)
        if is_encapsulated:
            parts = [
                encapsulate([frame]) for frame in generate_frames(dataset.PixelData, number_of_frames=count)
            ]
        else:
            size = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8
            parts = [dataset.PixelData[start * size : (start + 1) * size] for start in range(count)]
        frames = []
        for part in parts:
            frame = Dataset()
            frame.file_meta = dataset.file_meta
            for keyword in _FRAME_PIXELS:
                if keyword in dataset:
                    frame[keyword] = dataset[keyword]
            frame.add_new("PixelData", "OB" if is_encapsulated else "OW", part)
            frame["PixelData"].is_undefined_length = is_encapsulated
            frames.append(frame)
        return frames


def _words(value: Any) -> tuple[str, ...]:
    """A possibly multi-valued text attribute."""
    if value is None or value == "":
        return ()
    values = [value] if isinstance(value, str) else list(value)
    return tuple(str(word).strip().upper() for word in values)
