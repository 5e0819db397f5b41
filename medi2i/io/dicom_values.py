"""From stored to decoded values: modality LUT, then VOI if asked for, then polarity. The order matters.

Sources: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (photometric interpretation),
C.11.6 (presentation LUT shape). Inverting before the VOI window is the classic error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from medi2i.io.dicom_codec import stored_range
from medi2i.io.guard import decoding, refuse


@dataclass(frozen=True, slots=True)
class DecodedValues:
    """Values, and the range that the stored bits can reach through the LUTs."""

    pixels: Float32[np.ndarray, "H W"]
    value_range: tuple[float, float]
    notes: tuple[str, ...] = ()


def decode_values(path: Path, dataset: Any, stored: np.ndarray, *, apply_voi: bool) -> DecodedValues:
    """Apply a data set's LUTs to its stored values and turn bone bright.

    Args:
        path: the file, for messages.
        dataset: its pydicom data set.
        stored: (H, W) stored values within the stored bits.
        apply_voi: apply the VOI LUT, or else the first window.

    Raises:
        UnreadableImageError: a LUT is damaged.
    """
    with decoding(path, "a grey-level LUT", quote=False):
        smallest, largest = stored_range(dataset)
        limits = np.array([smallest, largest], dtype=np.float64)
        values, limits, notes = _apply_modality(path, dataset, stored, limits)
        if apply_voi:
            values, limits, voi_notes = _apply_voi(path, dataset, values, limits)
            notes += voi_notes
        low, high = float(limits.min()), float(limits.max())
        if not high > low:
            raise refuse(
                path, "a grey-level LUT that gives one value for all", expected="at least two values"
            )
        if is_white_low(dataset):
            values = (low + high) - values
        return DecodedValues(values.astype(np.float32), (low, high), notes)


def is_white_low(dataset: Any) -> bool:
    """Whether low values are shown bright, by either of the two attributes that can say so."""
    photometric = str(dataset.PhotometricInterpretation).strip().upper()
    shape = str(dataset.get("PresentationLUTShape", "") or "").strip().upper()
    return photometric == "MONOCHROME1" or shape == "INVERSE"


def _apply_modality(
    path: Path, dataset: Any, stored: np.ndarray, limits: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    sequence = dataset.get("ModalityLUTSequence")
    if sequence:
        values, reachable = _apply_table(path, dataset, sequence[0], stored, limits)
        return values, reachable, ()
    slope = float(_first(dataset.get("RescaleSlope"), 1.0))
    intercept = float(_first(dataset.get("RescaleIntercept"), 0.0))
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        return stored.astype(np.float64), limits, ("the rescale slope or intercept is impossible; ignored",)
    return stored * slope + intercept, limits * slope + intercept, ()


def _apply_voi(
    path: Path, dataset: Any, values: np.ndarray, limits: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    sequence = dataset.get("VOILUTSequence")
    if sequence:
        windowed, reachable = _apply_table(path, dataset, sequence[0], np.rint(values), limits)
        return windowed, reachable, ()
    center, width = _first(dataset.get("WindowCenter"), None), _first(dataset.get("WindowWidth"), None)
    if center is None or width is None:
        return values, limits, ("no VOI LUT or window in the file",)
    function = str(dataset.get("VOILUTFunction", "") or "LINEAR").strip().upper()
    fraction = _window(values, float(center), float(width), function)
    if fraction is None:
        return values, limits, ("the VOI window is impossible; ignored",)
    low, high = limits.min(), limits.max()
    return low + fraction * (high - low), limits, ()


def _window(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray | None:
    """Fraction of the output range (PS3.3 C.11.2.1.2 and C.11.2.1.3); None for an impossible window."""
    if not np.isfinite([center, width]).all() or width <= 0 or (function == "LINEAR" and width < 1):
        return None
    if function == "SIGMOID":
        exponent = np.clip(-4 * (values - center) / width, -700, 700)
        sigmoid: np.ndarray = 1 / (1 + np.exp(exponent))
        return sigmoid
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0, 1)
    if width == 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def _apply_table(
    path: Path, dataset: Any, item: Any, values: np.ndarray, limits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Look values up; the range is that of the entries which the stored bits can reach, not the descriptor's:
    16-bit descriptors of tables that fill 10 bits are common.
    """
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    count = count or 65536
    if first > 32767 and limits.min() < 0:  # the type of `first` follows the stored values' sign
        first -= 65536
    table = _table_entries(dataset, item.LUTData, bits)
    if len(table) < count:
        raise refuse(path, f"a LUT of {len(table)} entries", expected=f"the {count} its descriptor declares")
    table = table[:count].astype(np.float64)
    index = np.clip(values.astype(np.int64) - first, 0, count - 1)
    start, stop = np.clip(np.sort(limits) - first, 0, count - 1).astype(np.int64)
    reachable = table[start : stop + 1]
    return table[index], np.array([reachable.min(), reachable.max()])


def _table_entries(dataset: Any, data: Any, bits: int) -> np.ndarray:
    if not isinstance(data, bytes):
        return np.atleast_1d(np.asarray(data))
    if bits <= 8 and len(data) % 2:
        return np.frombuffer(data, dtype=np.uint8)
    order = "<" if dataset.original_encoding[1] is not False else ">"
    return np.frombuffer(data, dtype=f"{order}u2")


def _first(value: Any, default: Any) -> Any:
    """First of a possibly multi-valued element; the default for an absent or empty one."""
    if value is None or value == "":
        return default
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return value
    return value[0] if len(value) else default
