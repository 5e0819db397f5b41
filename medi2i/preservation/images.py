"""Images of a run as the instruments see them: source beside translation, at one matrix for all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from medi2i.data.decoding import resize, working_shape
from medi2i.data.manifest import ManifestRow, load_masks
from medi2i.evaluation.controls import Pair
from medi2i.evaluation.domains import Domains, NetworkImage, patients


def measuring_pair(
    image: NetworkImage,
    translated: np.ndarray,
    masks: Mapping[str, np.ndarray],
    *,
    side_px: int,
    patient: str,
) -> Pair:
    """A source image and its translation with the longest side of `side_px` pixels, aspect kept.

    A pixel is valid when all of it was, and in a mask when most of it was.
    """
    shape = working_shape(image.row.rows, image.row.columns, side_px)
    return Pair(
        resampled(image.image, shape),
        resampled(translated, shape),
        _at_level(image.valid, shape, 0.99),
        {name: _at_level(plane, shape, 0.5) for name, plane in masks.items()},
        patient,
    )


def resampled(image: np.ndarray, shape: tuple[int, int]) -> Float32[np.ndarray, "H W"]:
    """An image in [-1, 1] at another matrix."""
    return resize(torch.from_numpy(np.asarray(image, dtype=np.float32))[None], shape)[0].numpy()


def masks_of(domains: Domains, row: ManifestRow) -> dict[str, Bool[np.ndarray, "H W"]]:
    """Masks of a source image by structure; empty without any.

    Raises:
        MaskMismatchError: they don't fit the image any more.
    """
    if row.mask is None:
        return {}
    planes = load_masks(domains.source_root / row.mask, row.structures, (row.rows, row.columns))
    return dict(zip(row.structures, planes, strict=True))


def patient_labels(domains: Domains) -> tuple[dict[str, str], list[str] | None]:
    """Patient of each source image by its id, and in their order as statistics take them.

    When one is unknown, each image is its own, and the second is None.
    """
    known = patients(domains.source)
    labels = known if known is not None else [row.id for row in domains.source]
    return {row.id: label for row, label in zip(domains.source, labels, strict=True)}, known


def _at_level(plane: np.ndarray, shape: tuple[int, int], level: float) -> Bool[np.ndarray, "H W"]:
    weight: Tensor = torch.from_numpy(np.asarray(plane)).float()[None]
    return np.asarray(resize(weight, shape)[0].numpy() > level)
