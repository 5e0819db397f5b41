"""Gradient penalty of a Wasserstein critic (Gulrajani et al., "Improved training of Wasserstein GANs")."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def mix(
    real: Float[Tensor, "B N H W"], translated: Float[Tensor, "B N H W"], generator: torch.Generator
) -> Float[Tensor, "B N H W"]:
    """A random point on the line between each two images, uniform in the share of the real one."""
    share = torch.rand(real.shape[0], 1, 1, 1, generator=generator, device=generator.device).to(real)
    return share * real.detach() + (1 - share) * translated.detach()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], points: Float[Tensor, "B N H W"]
) -> Float[Tensor, ""]:
    """Mean over the points of (|gradient of the critic| - 1)^2, in single precision or better.

    Eq. 3 of the paper with its weight left to the caller. The norm is the Euclidean one over all pixels of an
    image. The scores of an image (a patch map) are summed, as in the code of StarGAN. Can be differentiated
    once more, with respect to the critic's weights.

    Args:
        critic: images to scores (B, ...), each image's from that image alone.
        points: where the gradient is taken.
    """
    # the gradient's square overflows half precision, and loses its digits in bfloat16
    with torch.enable_grad(), torch.autocast(points.device.type, enabled=False):
        points = points.detach()
        points = (points if points.dtype == torch.float64 else points.float()).requires_grad_(True)
        scores = critic(points)
        (gradient,) = torch.autograd.grad(scores.sum(), points, create_graph=True)
        # the root has no derivative at 0: a critic that is constant on an image would give NaN
        norm = (gradient.flatten(1).square().sum(dim=1) + 1e-12).sqrt()
    return (norm - 1).square().mean()
