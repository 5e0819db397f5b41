"""Distance of an image and its reconstruction after the way there and back."""

from __future__ import annotations

from typing import Literal, assert_never

from jaxtyping import Float
from torch import Tensor

from medi2i.similarity.multiscale_ssim import multiscale_ssim, scales_that_fit
from medi2i.similarity.ssim import ssim
from medi2i.similarity.weighting import at_least_float32, masked_mean

CycleKind = Literal["l1", "l1_ssim", "l1_ms_ssim"]


def cycle_distance(
    reconstructed: Float[Tensor, "B 1 H W"],
    original: Float[Tensor, "B 1 H W"],
    kind: CycleKind = "l1",
    *,
    alpha: float = 0.84,
    valid: Float[Tensor, "B 1 H W"] | None = None,
) -> Float[Tensor, ""]:
    """Mean distance over valid pixels.

    `l1` is CycleGAN's |reconstructed - original| (Zhu et al., ICCV 2017, eq. 2). `l1_ssim` is
    alpha * (1 - SSIM) + (1 - alpha) * L1, the recipe of ganslate (after Zhao et al., "Loss functions for
    image restoration with neural networks", 2017): SSIM of the images mapped to [0, 1], data range 1, L1 of
    the images as they are. `l1_ms_ssim` has MS-SSIM there, of as many of its five scales as fit (Zhao et al.
    also blur the L1 term; here it is plain). Neither is in the CycleGAN paper.

    Args:
        reconstructed, original: images in [-1, 1]; at least 11 x 11 for the two with SSIM.
        kind: which distance.
        alpha: share of SSIM or MS-SSIM.
        valid: 1 where there is an image; None: everywhere.

    Raises:
        UsageError: images smaller than the window of SSIM.
    """
    reconstructed, original = at_least_float32(reconstructed), at_least_float32(original)
    l1 = masked_mean((reconstructed - original).abs(), valid)
    if kind == "l1":
        return l1
    reconstructed, original = (reconstructed + 1) / 2, (original + 1) / 2
    if kind == "l1_ssim":
        similarity = ssim(reconstructed, original, 1.0, valid, undefined=1.0)
    elif kind == "l1_ms_ssim":
        scales = scales_that_fit(*original.shape[-2:])
        similarity = multiscale_ssim(reconstructed, original, 1.0, valid, scales=scales, undefined=1.0)
    else:
        assert_never(kind)
    return alpha * (1 - similarity.mean()) + (1 - alpha) * l1
