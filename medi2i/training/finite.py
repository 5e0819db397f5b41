"""NaN and infinite values stop a training before they can replace a good checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from medi2i.errors import NonFiniteLossError


def all_finite(losses: Mapping[str, Tensor], before: Tensor | None) -> Tensor:
    """A flag on the device: reading it is the only synchronisation, and it is read seldom.

    Args:
        losses: of one step.
        before: the flag of the steps since it was last read.
    """
    if not losses:  # no player's turn in this step
        return torch.tensor(True) if before is None else before
    finite = torch.isfinite(torch.stack([value.float() for value in losses.values()])).all()
    return finite if before is None else finite & before


def require_finite(flag: Tensor | None, losses: Mapping[str, Tensor], *, step: int, saved: bool) -> None:
    """Read the flag of `all_finite`.

    Args:
        losses: of the last step, to name the one that is wrong.
        saved: whether the run has a checkpoint.

    Raises:
        NonFiniteLossError: a loss of these steps was NaN or infinite.
    """
    if flag is None or bool(flag):
        return
    wrong = [name for name, value in losses.items() if not bool(torch.isfinite(value))]
    raise _error(", ".join(wrong) or "a loss of the steps before", step, saved=saved)


def require_finite_tensors(tensors: Mapping[str, Tensor], *, step: int, saved: bool) -> None:
    """Check what would be saved: a finite loss can have an infinite gradient.

    Raises:
        NonFiniteLossError: a weight or a moment is NaN or infinite.
    """
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise _error(name, step, saved=saved)


def _error(what: str, step: int, *, saved: bool) -> NonFiniteLossError:
    # a resumed run keeps its settings and would come to the same end
    remedy = "start a new run with a lower learning rate or with precision bf16 or fp32"
    if saved:
        remedy += " (--init-from this run starts from its best weights); the last good checkpoint is kept"
    return NonFiniteLossError(
        f"step {step}",
        found=f"NaN or Inf in {what}",
        expected="finite losses and weights",
        remedy=remedy,
    )
