"""Images that are in memory: NumPy arrays and MONAI MetaTensors in, the same kind out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool
from monai.data import MetaTensor
from torch import Tensor

from medi2i.adapters import Direction
from medi2i.adapters.base import StyleKind
from medi2i.errors import UsageError
from medi2i.image import Radiograph, RadiographHeader, choose_intensity
from medi2i.io.field import find_exposed_field
from medi2i.io.plain import array_to_radiograph, stored_to_dtype
from medi2i.translation.styles import Look, StyleRequest, choose_looks, require_direction
from medi2i.translation.translator import Translator, domains

ImageT = TypeVar("ImageT", np.ndarray, Tensor)
StyleCode = Sequence[float] | np.ndarray | Tensor
_SUBJECT = Path("image")  # what messages name


def translate_array(
    translator: Translator,
    image: ImageT,
    *,
    valid: Bool[np.ndarray, "H W"] | None = None,
    direction: Direction = "source-to-target",
    style: StyleKind | int | StyleCode | None = None,
    references: Sequence[Path] = (),
    attributes: Mapping[str, str] | None = None,
) -> ImageT:
    """Translate one image that is in memory, as `translate` does the same image in a file.

    Integers count on the full scale of their type, floating-point values as they are: these come back on the
    scale of the output's domain, which is 0 to 1 if its images were integers. Give stored codes as integers,
    or as a MetaTensor that `LoadImaged(reader=RadiographReader())` read: it knows bit depth and valid area of
    its file. Bone is bright in and out, and the matrix stays: a spacing is as true afterwards as before.

    Args:
        translator: `load_translator` of a run.
        image: (H, W) or (1, H, W).
        valid: where it is image; without it what the MetaTensor knows, or the exposed field that is found.
        direction: which way.
        style: a kind; a number, the n-th look of this image; or a code of `sample_styles` or `encode_style`.
        references: images or folders, for the style `reference`.
        attributes: acquisition of the output, of a method that knows it.

    Returns:
        an array or tensor of the same type and shape, on the same device; a MetaTensor keeps its metadata and
        the range of its file.

    Raises:
        UsageError: this is no image, or the method has no such style, attributes or direction.
        UnreadableImageError: pixels are not finite, or of a type that images do not have.
        CheckpointError: the network's output is not finite.
    """
    radiograph = to_radiograph(image, valid)
    look = choose_look(translator, direction, style, references, attributes)
    domain = domains(direction)[0]
    incoming = choose_intensity(radiograph, translator.data.intensity(domain), translator.intensities[domain])
    translated, _ = translator.translate(
        incoming.to_network(radiograph.pixels, radiograph.header),
        radiograph.valid,
        direction,
        style=look.style,
        attributes=look.attributes,
    )
    stored = translator.output_intensity(incoming, direction).to_stored(translated, radiograph.header)
    return like_input(image, stored, radiograph.header)


def choose_look(
    translator: Translator,
    direction: Direction,
    style: StyleKind | int | StyleCode | None,
    references: Sequence[Path] = (),
    attributes: Mapping[str, str] | None = None,
) -> Look:
    """The one look that is asked for.

    Raises:
        UsageError: the method has no such style or attributes, or does not go this way.
        InputError: a reference can't be read.
    """
    require_direction(translator, direction)
    kind: Any = style if isinstance(style, str) or style is None else "random"
    request = StyleRequest(kind, tuple(references), 1, attributes or {})
    look = choose_looks(translator, direction, request)[0]
    if isinstance(style, str) or style is None:
        return look
    code = style if isinstance(style, int) else torch.as_tensor(np.asarray(style, dtype=np.float32))
    return Look(code, look.attributes, look.facts, look.suffix)


def to_radiograph(image: np.ndarray | Tensor, valid: Bool[np.ndarray, "H W"] | None = None) -> Radiograph:
    """An image in memory as readers give it.

    Raises:
        UsageError: it has another shape than (H, W) or (1, H, W), or `valid` another than the image.
        UnreadableImageError: pixels are not finite, or of a type that images do not have.
    """
    array = _to_numpy(image) if isinstance(image, Tensor) else np.asarray(image)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[0] != 1):
        raise UsageError(
            "image",
            found=f"shape {array.shape}",
            expected="(rows, columns) or (1, rows, columns): one grey radiograph",
            remedy="translate images one at a time",
        )
    radiograph = array_to_radiograph(_SUBJECT, array.reshape(array.shape[-2:]), "npy")
    known = _known(image, radiograph)
    field = radiograph.valid if known is None else known.valid
    if valid is not None:
        if valid.shape != radiograph.pixels.shape:
            raise UsageError(
                "valid",
                found=f"shape {valid.shape}",
                expected=f"the image's {radiograph.pixels.shape}",
                remedy="give one value a pixel",
            )
        field = valid.astype(bool)
    header = radiograph.header if known is None else known.header
    return Radiograph(radiograph.pixels, field, header)


def _to_numpy(image: Tensor) -> np.ndarray:
    values = image.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()  # NumPy has no bfloat16


def _known(image: np.ndarray | Tensor, read: Radiograph) -> Radiograph | None:
    """What `RadiographReader` noted of the file that a MetaTensor comes from; None of other images."""
    if not isinstance(image, MetaTensor) or "value_range" not in image.meta:
        return None
    low, high = (float(value) for value in image.meta["value_range"])
    bits = int(image.meta["bits_stored"])
    header = RadiographHeader(
        image.meta.get("format", read.header.format),
        read.header.rows,
        read.header.columns,
        bits_stored=bits or None,
        value_range=None if math.isnan(low) else (low, high),
    )
    noted = image.meta.get("valid")
    # a plane of the file's matrix says nothing of an image that was cropped, turned or flipped since
    usable = noted is not None and np.shape(noted) == read.pixels.shape and not image.applied_operations
    valid = np.asarray(noted, dtype=bool) if usable else find_exposed_field(read.pixels)
    return Radiograph(read.pixels, valid, header)


def like_input(image: ImageT, stored: np.ndarray, header: RadiographHeader) -> ImageT:
    """What would be stored in a file, as the kind of image that came in."""
    if not isinstance(image, Tensor):
        pixels = stored_to_dtype(_SUBJECT, stored, np.asarray(image).dtype, header)
        return pixels.reshape(np.shape(image))
    pixels = stored.astype(np.float64)
    if header.bits_stored is not None and header.value_range is not None:
        low, high = header.value_range
        pixels = low + pixels * ((high - low) / (2**header.bits_stored - 1))
    if not image.is_floating_point():
        pixels = np.rint(pixels)
    result = torch.from_numpy(pixels).reshape(image.shape).to(image.device, image.dtype)
    if isinstance(image, MetaTensor):
        return MetaTensor(result).copy_meta_from(image)
    return result
