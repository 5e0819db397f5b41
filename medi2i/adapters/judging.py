"""How a patch discriminator's answer becomes a loss, for every method that has one."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from medi2i.adapters.base import Batch
from medi2i.losses.adversarial import least_squares
from medi2i.networks.augmentation import DiscriminatorAugmentationConfig, present


def judge_patches(
    discriminator: nn.Module,
    image: Float[Tensor, "B 1 H W"],
    valid: Float[Tensor, "B 1 H W"],
    batch: Batch,
    augmentation: DiscriminatorAugmentationConfig | None,
    *,
    real: bool,
) -> Float[Tensor, ""]:
    """Least-squares distance of the valid patches' logits from 'real' or 'translated'."""
    image, valid = present(image, valid, augmentation, batch.device)
    logits: Tensor = discriminator(image)
    weight = nn.functional.adaptive_avg_pool2d(valid, (logits.shape[-2], logits.shape[-1]))
    return least_squares(logits, target_is_real=real, weight=weight)
