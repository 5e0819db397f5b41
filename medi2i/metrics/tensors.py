"""Arrays of one image as the batch of one that `medi2i.similarity` takes."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


def to_batch(image: Float[np.ndarray, "H W"] | Bool[np.ndarray, "H W"]) -> Float[Tensor, "1 1 H W"]:
    """float64 copy of an image or mask, (H, W) to (1, 1, H, W)."""
    return torch.from_numpy(np.asarray(image).astype(np.float64))[None, None]
