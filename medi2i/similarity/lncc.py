"""Local normalised cross-correlation (Cachier et al., "Iconic feature based nonrigid registration: the PASHA
algorithm", CVIU 89, 2003): in every window, one image is a line of the other.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medi2i.similarity.applicability import require_size, where_counted
from medi2i.similarity.weighting import at_least_float32, masked_mean_per_image


def local_correlation(
    x: Float[Tensor, "B 1 H W"],
    y: Float[Tensor, "B 1 H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    window_px: int = 11,
    noise: float = 0.01,
    signed: bool = True,
    undefined: float = 0.0,
) -> Float[Tensor, " B"]:
    """Mean over square windows of (cov + n^2) / sqrt((var_x + n^2) (var_y + n^2)); 1 for equal images.

    In [-1, 1] when signed. With `signed=False` every window scores (|cov| + n^2)^2 / (...), in [0, 1], so
    that an inverted image scores 1: for n = 0 the squared correlation that MONAI's
    `LocalNormalizedCrossCorrelationLoss` has, which sees no inversion and can't leave pixels out. The noise n
    lets windows that are flat in both images agree (1) and windows that are flat in one disagree (near 0).
    Only windows wholly in the image count. Computed in float32 (float64 stays) under autocast too, without a
    copy to the host.

    Args:
        x, y: images, at least one window large.
        weight: >= 0; a window counts with its mean weight, its pixels with theirs.
        window_px: side of a window.
        noise: standard deviation, in image units, that is no structure; 0.001 or more in float32.
        signed: whether an inverted window is the worst (-1) or as good as an equal one.
        undefined: result where no window counts.

    Raises:
        UsageError: the images are smaller than the window.
    """
    require_size(x, window_px, "local correlation")
    x, y = at_least_float32(x), at_least_float32(y)
    counted = torch.ones_like(x) if weight is None else weight.to(x.dtype)

    def pool(values: Tensor) -> Tensor:
        kept = torch.where(counted > 0, values * counted, torch.zeros_like(values))
        return nn.functional.avg_pool2d(kept, window_px, stride=1)

    share = pool(torch.ones_like(counted))
    scale = 1 / torch.where(share > 0, share, torch.ones_like(share))
    # values near 0 first: a variance as a difference of large squares would be rounding
    x = x - masked_mean_per_image(x, weight)[:, None, None, None]
    y = y - masked_mean_per_image(y, weight)[:, None, None, None]
    mean_x, mean_y = pool(x) * scale, pool(y) * scale
    covariance = pool(x * y) * scale - mean_x * mean_y
    # no clamp at 0: rounding must be the same above and below the line, or equal images would not score 1
    variance_x = (pool(x * x) * scale - mean_x**2 + noise**2).clamp(min=noise**2 / 4)
    variance_y = (pool(y * y) * scale - mean_y**2 + noise**2).clamp(min=noise**2 / 4)
    if signed:
        score = (covariance + noise**2) / (variance_x * variance_y).sqrt()
    else:
        score = (covariance.abs() + noise**2) ** 2 / (variance_x * variance_y)
    # rounding of flat windows can pass the bounds that the inequality of Cauchy and Schwarz sets
    return where_counted(masked_mean_per_image(score.clamp(-1, 1), share), share, undefined)
