"""What a training says when the device has no room for a step."""

from __future__ import annotations

import torch

from medi2i.errors import EnvironmentProblemError
from medi2i.training.settings import TrainingConfig

_CPU_WORDS = "can't allocate memory"  # of torch's allocator on the CPU, which has no type of its own


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch found no memory, on whatever device."""
    return isinstance(error, torch.OutOfMemoryError) or _CPU_WORDS in str(error)


def no_room(config: TrainingConfig) -> EnvironmentProblemError:
    """The error for a step that does not fit, with what makes it smaller."""
    size, accumulate = config.batch_size, config.accumulate
    advice = ["--set data.crop_size=... (smaller crops)"]
    if size > 1:
        half = f"--set training.batch_size={max(1, size // 2)} --set training.accumulate={accumulate * 2}"
        advice.insert(0, f"{half} (as many images a step)")
    if config.precision == "fp32":
        advice.append("--set training.precision=bf16 on a GPU")
    return EnvironmentProblemError(
        "training",
        found=f"not enough memory for a step of {size} image(s) at a time",
        expected="room for the networks, their gradients and one batch",
        remedy="start a new run with " + ", or ".join(advice) + "; the last checkpoint is kept",
    )
