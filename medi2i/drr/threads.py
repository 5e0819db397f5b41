"""Several pieces of numerical work at a time, with results that don't depend on how many cores there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

_Result = TypeVar("_Result")


def in_threads(work: Callable[[int], _Result], numbers: Sequence[int], *, workers: int) -> Iterator[_Result]:
    """Results in the order of the numbers; what most of such work is done by lets other threads run.

    Each thread computes on one core, so that sums don't depend on how many there are. What is not begun when
    the caller stops asking is not done.
    """
    with one_torch_thread(), ThreadPoolExecutor(max_workers=min(workers, max(len(numbers), 1))) as pool:
        futures = [pool.submit(work, number) for number in numbers]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Torch on one core, so that sums are in one order whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
