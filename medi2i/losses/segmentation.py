"""What a segmenter of overlapping structures minimises: soft Dice and cross-entropy, and soft clDice."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from monai.losses import SoftclDiceLoss
from torch import Tensor, nn

from medi2i.similarity.overlap import soft_dice
from medi2i.similarity.weighting import at_least_float32, masked_mean

Masks = Float[Tensor, "B K H W"] | Bool[Tensor, "B K H W"]


def overlap_loss(
    logits: Float[Tensor, "B K H W"],
    masks: Masks,
    weight: Float[Tensor, "B 1 H W"] | None = None,
    *,
    dice_share: float,
) -> Float[Tensor, ""]:
    """a (1 - Dice) + (1 - a) cross-entropy, one sigmoid a structure; means over structures and pixels.

    Dice (Milletari et al., "V-Net", 3DV 2016) counts the structures that an image's mask shows; one that is
    found where there is none costs cross-entropy.

    Args:
        logits: of any precision; computed in float32 at least.
        masks: in [0, 1] or bool.
        weight: >= 0; pixels of weight 0 count in nothing.
        dice_share: a, in [0, 1].
    """
    logits = at_least_float32(logits)
    masks = masks.to(logits.dtype)
    overlap, present = soft_dice(logits.sigmoid(), masks, weight)
    lost = masked_mean(1 - overlap, present.to(overlap.dtype))
    surprise = nn.functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    return dice_share * lost + (1 - dice_share) * masked_mean(surprise, weight)


def thin_loss(
    logits: Float[Tensor, "B K H W"],
    masks: Masks,
    half_widths_px: Mapping[int, int],
    weight: Float[Tensor, "B 1 H W"] | None = None,
) -> Float[Tensor, ""]:
    """1 - soft clDice (Shit et al., CVPR 2021, section 3.2) of thin structures, mean over them; MONAI's.

    Args:
        logits: one plane a structure.
        masks: in [0, 1] or bool.
        half_widths_px: plane to half of its structure's width, rounded up: as many erosions until nothing but
            the skeleton is left. The paper asks for at least that many.
        weight: pixels of weight 0 count as empty in both.
    """
    logits = at_least_float32(logits)
    masks = masks.to(logits.dtype)
    probability = logits.sigmoid()
    if weight is not None:
        inside = weight > 0
        zero = torch.zeros_like(probability)
        probability, masks = torch.where(inside, probability, zero), torch.where(inside, masks, zero)
    losses = [
        SoftclDiceLoss(iter_=half_width)(probability[:, [plane]], masks[:, [plane]])
        for plane, half_width in half_widths_px.items()
    ]
    return torch.stack(losses).mean() if losses else logits.new_zeros(())
