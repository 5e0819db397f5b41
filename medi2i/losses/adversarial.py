"""GAN losses on patches' logits: least squares (Mao et al., "Least squares generative adversarial networks",
ICCV 2017) and logarithms (Goodfellow et al., "Generative adversarial nets", NeurIPS 2014).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.similarity.weighting import at_least_float32, masked_mean


def least_squares(
    logits: Float[Tensor, "B C H W"],
    target_is_real: bool,
    weight: Float[Tensor, "B _ H W"] | None = None,
) -> Float[Tensor, ""]:
    """Weighted mean of (logit - target)^2, target 1 for real and 0 for translated.

    Eq. 9 of the paper (a = 0, b = c = 1), on raw logits: what MONAI's
    `PatchAdversarialLoss(criterion="least_squares")` computes with `no_activation_leastsq=True`; by its
    default it squashes negative logits. The factor one half that some papers put on the discriminators is the
    adapter's.

    Args:
        logits: a patch discriminator's output, without activation.
        target_is_real: whether the logits should say "real".
        weight: >= 0, how much of each patch is valid; None counts all patches alike.
    """
    return masked_mean((at_least_float32(logits) - float(target_is_real)) ** 2, weight)


def log_likelihood(
    logits: Float[Tensor, "B C H W"],
    target_is_real: bool,
    weight: Float[Tensor, "B _ H W"] | None = None,
) -> Float[Tensor, ""]:
    """Weighted mean of -log sigmoid(logit) for real, -log(1 - sigmoid(logit)) for translated.

    A generator that asks for "real" has the form that does not saturate (section 3 of the paper).

    Args:
        logits: a patch discriminator's output, without activation.
        target_is_real: whether the logits should say "real".
        weight: >= 0, how much of each patch is valid; None counts all patches alike.
    """
    signed = at_least_float32(logits) * (1.0 if target_is_real else -1.0)
    return masked_mean(F.softplus(-signed), weight)
