"""Spacing of a DICOM radiograph with its origin, and the pixels that its header declares to be no image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from medi2i.image import SpacingMm, SpacingOrigin
from medi2i.io.guard import decoding


@dataclass(frozen=True, slots=True)
class Spacing:
    """(row, column) spacing in millimetres, its origin, and remarks."""

    spacing_mm: SpacingMm | None
    origin: SpacingOrigin
    notes: tuple[str, ...] = ()


def find_spacing(path: Path, dataset: Any, *, isocenter: bool) -> Spacing:
    """Choose among the spacings a header may hold.

    Calibrated PixelSpacing wins, then ImagerPixelSpacing (the detector's), then PixelSpacing of unknown
    meaning; an RT image has ImagePlanePixelSpacing. Impossible values are passed over with a note.

    Args:
        path: the file, for messages.
        dataset: its pydicom data set.
        isocenter: scale an RT image's spacing by RadiationMachineSAD / RTImageSID.

    Raises:
        UnreadableImageError: a spacing element is damaged.
    """
    candidates: list[tuple[str, SpacingOrigin]] = [
        ("ImagerPixelSpacing", "ImagerPixelSpacing"),
        ("PixelSpacing", "PixelSpacing"),
        ("ImagePlanePixelSpacing", "ImagePlanePixelSpacing"),
    ]
    notes: list[str] = []
    with decoding(path, "a spacing element", quote=False):
        if dataset.get("PixelSpacingCalibrationType"):
            candidates.insert(0, ("PixelSpacing", "PixelSpacing calibrated"))
        chosen = Spacing(None, "unknown")
        for keyword, origin in candidates:
            spacing_mm = read_spacing(dataset, keyword, notes)
            if spacing_mm is not None:
                chosen = Spacing(spacing_mm, origin)
                break
        if isocenter:
            chosen = _to_isocenter(dataset, chosen, notes)
        magnification = dataset.get("EstimatedRadiographicMagnificationFactor")
        if magnification and chosen.origin == "ImagerPixelSpacing":
            notes.append(f"spacing is the detector's; estimated magnification {float(magnification):.3g}")
    return Spacing(chosen.spacing_mm, chosen.origin, tuple(dict.fromkeys(notes)))


def find_declared_image(
    path: Path, dataset: Any, stored: np.ndarray
) -> tuple[Bool[np.ndarray, "H W"], list[str]]:
    """Pixels that are neither padding nor outside the shutter, as far as the header says.

    Args:
        path: the file, for messages.
        dataset: its pydicom data set.
        stored: (H, W) stored values, to which PixelPaddingValue refers.

    Returns:
        (H, W) True where there is image, and notes.

    Raises:
        UnreadableImageError: a padding or shutter element is damaged.
    """
    notes: list[str] = []
    inside = np.ones(stored.shape, dtype=bool)
    with decoding(path, "a padding or shutter element", quote=False):
        for part, name in (
            (~_padding(dataset, stored), "padding"),
            (_shutter(dataset, stored.shape), "shutter"),
        ):
            if (inside & part).any():
                inside &= part
            else:
                notes.append(f"the {name} leaves no image; ignored")
    return inside, notes


def read_spacing(dataset: Any, keyword: str, notes: list[str]) -> SpacingMm | None:
    """(row, column) in mm of one attribute; None, with a note, for zeros and other impossible values."""
    value = dataset.get(keyword)
    if value is None or value == "" or (hasattr(value, "__len__") and len(value) == 0):
        return None
    numbers = [float(number) for number in (value if hasattr(value, "__len__") else [value])]
    if len(numbers) == 2 and all(math.isfinite(number) and number > 0 for number in numbers):
        return numbers[0], numbers[1]
    notes.append(f"{keyword} is impossible ({' x '.join(f'{number:g}' for number in numbers[:2])}); ignored")
    return None


def _to_isocenter(dataset: Any, spacing: Spacing, notes: list[str]) -> Spacing:
    source_to_axis_mm = float(dataset.get("RadiationMachineSAD") or math.nan)
    source_to_image_mm = float(dataset.get("RTImageSID") or math.nan)
    scale = source_to_axis_mm / source_to_image_mm
    if spacing.origin != "ImagePlanePixelSpacing" or spacing.spacing_mm is None or not 0 < scale < math.inf:
        notes.append(
            "spacing at the isocentre was asked for; the file lacks what is needed, so it is as stored"
        )
        return spacing
    row, column = spacing.spacing_mm
    notes.append(f"spacing scaled from the image plane to the isocentre by {scale:.4g}")
    return Spacing((row * scale, column * scale), spacing.origin)


def _padding(dataset: Any, stored: np.ndarray) -> np.ndarray:
    value = dataset.get("PixelPaddingValue")
    if value is None or value == "":
        return np.zeros(stored.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = [int(value), int(value if limit is None or limit == "" else limit)]
    if (
        int(dataset.get("PixelRepresentation", 0) or 0) == 1
    ):  # written as US by some, though values are signed
        ends = [end - 65536 if end > 32767 else end for end in ends]
    padding: np.ndarray = (stored >= min(ends)) & (stored <= max(ends))
    return padding


def _shutter(dataset: Any, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) True inside all shutters (PS3.3 C.7.6.11; rows and columns count from 1)."""
    shapes = dataset.get("ShutterShape") or []
    names = [shapes] if isinstance(shapes, str) else list(shapes)
    row, column = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    inside = np.ones(shape, dtype=bool)
    if "RECTANGULAR" in names:
        inside &= (row >= int(dataset.ShutterUpperHorizontalEdge)) & (
            row <= int(dataset.ShutterLowerHorizontalEdge)
        )
        inside &= (column >= int(dataset.ShutterLeftVerticalEdge)) & (
            column <= int(dataset.ShutterRightVerticalEdge)
        )
    if "CIRCULAR" in names:
        center_row, center_column = (int(number) for number in dataset.CenterOfCircularShutter)
        radius = int(dataset.RadiusOfCircularShutter)
        inside &= (row - center_row) ** 2 + (column - center_column) ** 2 <= radius**2
    if "POLYGONAL" in names:
        inside &= _polygon([int(number) for number in dataset.VerticesOfThePolygonalShutter], shape)
    return inside


def _polygon(vertices: list[int], shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) inside of a polygon given as row, column, row, column ..., counting from 1."""
    from PIL import Image, ImageDraw

    canvas = Image.new("1", (shape[1], shape[0]))
    corners = [(column - 1, row - 1) for row, column in zip(vertices[::2], vertices[1::2], strict=True)]
    ImageDraw.Draw(canvas).polygon(corners, fill=1, outline=1)
    return np.asarray(canvas, dtype=bool)
