"""What a critic says of an image's attributes against what is known of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from medi2i.similarity.weighting import at_least_float32

LabelLoss = Literal["cross_entropy", "binary"]


def label_distance(
    logits: Float[Tensor, "B C"],
    code: Float[Tensor, "B C"],
    groups: Iterable[slice],
    kind: LabelLoss = "cross_entropy",
) -> Float[Tensor, ""]:
    """Sum over groups of the mean over the images whose group is known; a group that no image knows adds 0.

    `cross_entropy` takes the bits of a group as alternatives, of which one is true (softmax). `binary` is the
    form of StarGAN for many labels (Choi et al., CVPR 2018, eq. 2 and 3, and the authors' code): a logistic
    loss of each bit, summed. With every group known, both are sums over attributes divided by the batch size.

    Args:
        logits: of the bits.
        code: one 1 in each known group; below 0 throughout an unknown one.
        groups: the bits of each group.
        kind: which loss.
    """
    logits = at_least_float32(logits)
    terms = []
    for group in groups:
        said, true = logits[:, group], code[:, group].to(logits)
        known = (true >= 0).all(dim=1).to(logits)
        true = true.clamp(min=0)
        if kind == "cross_entropy":
            distance = -(true * F.log_softmax(said, dim=1)).sum(dim=1)
        else:
            distance = F.binary_cross_entropy_with_logits(said, true, reduction="none").sum(dim=1)
        terms.append((known * distance).sum() / known.sum().clamp(min=1))
    return torch.stack(terms).sum()


def fill_unknown(
    code: Float[Tensor, "B C"],
    logits: Float[Tensor, "B C"],
    groups: Iterable[slice],
    kind: LabelLoss = "cross_entropy",
) -> Float[Tensor, "B C"]:
    """The codes, with probabilities from the logits in the groups that are unknown."""
    logits = at_least_float32(logits)
    filled = []
    for group in groups:
        said = logits[:, group]
        likely = said.softmax(dim=1) if kind == "cross_entropy" else said.sigmoid()
        filled.append(torch.where(code[:, group] < 0, likely.to(code), code[:, group]))
    return torch.cat(filled, dim=1)
