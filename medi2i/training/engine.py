"""Where a training computes: the device, its precision, and which networks learn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from medi2i.errors import UsageError
from medi2i.training.precision import bf16_speedup_on_cpu

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


def chooses_gpu(device: DeviceName) -> bool:
    """Whether a device option means a CUDA GPU here: what presets are chosen by."""
    return device == "cuda" or (device == "auto" and torch.cuda.is_available())


def make_accelerator(device: DeviceName, precision: str) -> Accelerator:
    """One Accelerate engine for the device; on a CPU without units for bf16 it computes in fp32, and says so.

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
    emulated = precision == "bf16" and on_cpu and bf16_speedup_on_cpu() < 1
    AcceleratorState._reset_state(reset_partial_state=True)  # a second training in one process
    engine = Accelerator(
        cpu=device == "cpu", mixed_precision="no" if precision == "fp32" or emulated else precision
    )
    if emulated and engine.is_main_process:
        _say_once("note: this CPU has no units for bf16, fp32 is faster on it and is used instead")
    return engine


@cache
def _say_once(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


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
