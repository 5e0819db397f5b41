"""Gradients of images, as several similarities need them: without a border, and with what counts."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from medi2i.similarity.weighting import erode_weight


def central_gradient(image: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 2 H-2 W-2"]:
    """Central differences along columns and rows, in image units a pixel, of all but the outermost pixels."""
    along_columns = (image[..., 1:-1, 2:] - image[..., 1:-1, :-2]) / 2
    along_rows = (image[..., 2:, 1:-1] - image[..., :-2, 1:-1]) / 2
    return torch.cat([along_columns, along_rows], dim=1)


def sobel_gradient(image: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 2 H-2 W-2"]:
    """Sobel's differences (central, averaged 1-2-1 across), in image units a pixel, without the border."""
    across_rows = (image[..., :-2, :] + 2 * image[..., 1:-1, :] + image[..., 2:, :]) / 4
    across_columns = (image[..., :-2] + 2 * image[..., 1:-1] + image[..., 2:]) / 4
    along_columns = (across_rows[..., 2:] - across_rows[..., :-2]) / 2
    along_rows = (across_columns[..., 2:, :] - across_columns[..., :-2, :]) / 2
    return torch.cat([along_columns, along_rows], dim=1)


def gradient_weight(weight: Float[Tensor, "B 1 H W"] | None) -> Float[Tensor, "B 1 H-2 W-2"] | None:
    """Weight of the pixels that have a gradient; 0 where one of their 3 x 3 pixels has weight 0."""
    return None if weight is None else erode_weight(weight, 1)[..., 1:-1, 1:-1]
