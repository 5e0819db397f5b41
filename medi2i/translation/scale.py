"""To the scale at which a network sees an image, and back to the image's own matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.data.decoding import resize, working_shape
from medi2i.io.field import fill_outside

_DETAIL_GAIN = (0.25, 4.0)


def to_working_scale(
    image: Float32[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"], working_size: int | None
) -> tuple[Float[Tensor, "1 h w"], Float[Tensor, "1 h w"]]:
    """Image and valid plane with `working_size` pixels on the longer side; None keeps the matrix."""
    rows, columns = image.shape
    shape = working_shape(rows, columns, working_size)
    small = resize(torch.from_numpy(image)[None], shape)
    small_valid = (resize(torch.from_numpy(valid).float()[None], shape) > 0.5).float()
    return small, small_valid


def pad_to_multiple(
    image: Float[Tensor, "1 h w"], valid: Float[Tensor, "1 h w"], multiple: int
) -> tuple[Float[Tensor, "1 H W"], Float[Tensor, "1 H W"]]:
    """What a network is given: filled where it isn't valid, and larger below and at the right.

    The last row and column are repeated until the sides are multiples; what is added is not valid.
    """
    height, width = image.shape[-2:]
    filled = torch.from_numpy(fill_outside(image[0].numpy(), valid[0].numpy() > 0))[None]
    pad = (0, -width % multiple, 0, -height % multiple)
    return F.pad(filled[None], pad, mode="replicate")[0], F.pad(valid.float(), pad)


def to_own_matrix(
    image: Float32[np.ndarray, "H W"],
    valid: Bool[np.ndarray, "H W"],
    small: Float[Tensor, "1 h w"],
    translated: Float[Tensor, "1 h w"],
) -> tuple[Float32[np.ndarray, "H W"], dict[str, Any]]:
    """A translation at the matrix of its image, and how it was done.

    When the network saw a smaller image, the detail it did not see (image minus its smoothed self) is added
    back, scaled by how much the network changed the contrast of the detail it did see (a Laplacian pyramid of
    two levels).

    Args:
        image, valid: at the image's own matrix.
        small: the image as the network saw it, before it was padded.
        translated: what the network made of it.

    Returns:
        in [-1, 1], -1 where nothing is valid; with `working_rows`, `working_columns` and `detail_gain`.
    """
    shape = (small.shape[-2], small.shape[-1])
    rows, columns = image.shape
    how: dict[str, Any] = {"working_rows": shape[0], "working_columns": shape[1], "detail_gain": None}
    if shape != (rows, columns):
        smaller = max(shape) < max(rows, columns)
        gain = _detail_gain(small, translated) if smaller else 0.0
        how["detail_gain"] = round(gain, 4) if smaller else None
        lifted = resize(translated, (rows, columns))
        detail = torch.from_numpy(image)[None] - resize(small, (rows, columns))
        translated = (lifted + gain * detail).clamp(-1, 1)
    mask = torch.from_numpy(valid).float()[None]
    result = torch.where(mask > 0.5, translated, torch.tensor(-1.0))
    return result[0].numpy(), how


def _detail_gain(before: Tensor, after: Tensor) -> float:
    """How much the translation scaled fine detail: regression slope of its gradients on the input's."""
    slopes = [torch.diff(image, dim=dim) for dim in (-1, -2) for image in (before, after)]
    numerator = sum(float((slopes[i] * slopes[i + 1]).sum()) for i in (0, 2))
    denominator = sum(float(slopes[i].square().sum()) for i in (0, 2))
    low, high = _DETAIL_GAIN
    return min(high, max(low, numerator / denominator)) if denominator else low
