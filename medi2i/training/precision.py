"""Whether half precision pays on this CPU: without units for it, it is computed many times slower."""

from __future__ import annotations

import time
from functools import cache

import torch
from torch import Tensor, nn

_CHANNELS, _SIDE, _ROUNDS = 64, 32, 3


@cache
def bf16_speedup_on_cpu() -> float:
    """How many times faster a convolution is in bfloat16 than in float32 here, forwards and backwards.

    Measured once a process, in half a second: the best of three interleaved rounds. A CPU that emulates
    bfloat16 (AVX2) was measured at .02 to .04, so that the noise of a busy machine does not reach up to 1.
    """
    convolution = nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1)
    image = torch.linspace(-1, 1, _CHANNELS * _SIDE**2).reshape(1, _CHANNELS, _SIDE, _SIDE)
    seconds = {False: list[float](), True: list[float]()}
    for _ in range(_ROUNDS + 1):  # the first warms up
        for half in seconds:
            seconds[half].append(_time(convolution, image, half=half))
    return min(seconds[False][1:]) / min(seconds[True][1:])


def _time(convolution: nn.Module, image: Tensor, *, half: bool) -> float:
    begin = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        made: Tensor = convolution(image)
    made.float().sum().backward()
    return time.perf_counter() - begin
