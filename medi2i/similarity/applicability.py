"""When a similarity can say something: the image is large enough, and some of it counts."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from medi2i.errors import UsageError


def where_counted(
    value: Float[Tensor, " B"], weight: Float[Tensor, "B 1 H W"] | None, undefined: float
) -> Float[Tensor, " B"]:
    """`value`, and `undefined` for the images whose weights are all 0: 0 suits a loss, NaN a metric."""
    if weight is None:
        return value
    return torch.where((weight > 0).flatten(1).any(dim=1), value, torch.full_like(value, undefined))


def require_size(image: Float[Tensor, "B 1 H W"], smallest_px: int, subject: str) -> None:
    """Refuse images that a window or a neighbourhood does not fit into.

    Raises:
        UsageError: a side is below `smallest_px`.
    """
    rows, columns = image.shape[-2:]
    if min(rows, columns) < smallest_px:
        raise UsageError(
            subject,
            found=f"images of {rows} x {columns} pixels",
            expected=f"at least {smallest_px} x {smallest_px}, what it looks at together",
            remedy="use larger crops, or a smaller window or fewer scales",
        )
