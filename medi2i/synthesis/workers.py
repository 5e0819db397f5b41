"""Images made one after the other here, or in several processes; never more in flight than these can hold."""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from typing import Any

from medi2i.synthesis.making import Maker, Task
from medi2i.training.processes import result_of, start_worker

_IN_FLIGHT = 2  # images for each process
_WAIT_S = 0.2

Record = dict[str, Any]


def make_images(task: Task, numbers: Iterable[int], workers: int) -> Generator[Record | None]:
    """Records of finished images, in any order; None from time to time, so that a stop can be looked for.

    Closing the iterator ends the processes after the images they are at, whose files are then whole or not
    there.

    Raises:
        As `Maker.make`.
        EnvironmentProblemError: the system ended a process.
    """
    if workers == 1:
        maker = Maker(task)
        for number in numbers:
            yield maker.make(number)
        return
    context = multiprocessing.get_context("spawn")
    left = iter(numbers)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(task,)) as pool:
        waiting: set[Future[Record]] = set()
        try:
            while True:
                free = workers * _IN_FLIGHT - len(waiting)
                waiting |= {pool.submit(_work, number) for number in islice(left, free)}
                if not waiting:
                    return
                done, waiting = wait(waiting, timeout=_WAIT_S, return_when=FIRST_COMPLETED)
                for future in done:
                    yield result_of(future, room_for="one run")
                yield None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_worker: dict[str, Maker] = {}


def _start(task: Task) -> None:
    start_worker(threads=1)
    _worker["maker"] = Maker(task)


def _work(number: int) -> Record:
    return _worker["maker"].make(number)
