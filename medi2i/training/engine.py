"""Where a training computes: the device, its precision, and which networks learn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from medi2i.errors import UsageError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


def require_device(device: DeviceName) -> None:
    """Make sure that a device is there; `auto` and `cpu` always are.

    Raises:
        UsageError: it isn't.
    """
    available = _available()
    if device in available and not available[device]:
        raise UsageError(
            f"--device {device}",
            found="no such device",
            expected=", ".join(["auto", "cpu", *(name for name, there in available.items() if there)]),
            remedy="choose one of these",
        )


def _available() -> dict[str, bool]:
    return {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


def make_accelerator(device: DeviceName, precision: str) -> Accelerator:
    """One Accelerate engine for the device.

    Raises:
        UsageError: the device is not there, or can't compute in that precision.
    """
    require_device(device)
    on_cpu = device == "cpu" or (device == "auto" and not any(_available().values()))
    if precision == "fp16" and on_cpu:
        raise UsageError(
            "training.precision",
            found="fp16 on a CPU",
            expected="fp32 or bf16",
            remedy="change it, or train on a GPU",
        )
    AcceleratorState._reset_state(reset_partial_state=True)  # a second training in one process
    return Accelerator(cpu=device == "cpu", mixed_precision="no" if precision == "fp32" else precision)


@contextmanager
def frozen(networks: list[nn.Module]) -> Iterator[None]:
    """Networks whose weights need no gradient for a while."""
    parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
