"""One process of a training that two share: `python one_of_two.py FOLDER STOP_AFTER WEIGHTS`."""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import save_file

from medi2i.adapters import DomainAdapter
from medi2i.errors import InterruptedRunError
from medi2i.training.engine import make_accelerator
from medi2i.training.interruption import StopRequest
from medi2i.training.loop import Hooks, train
from medi2i.training.settings import TrainingConfig
from tests.training.toys import tiny_cyclegan, toy_crops

CONFIG = TrainingConfig(steps=14, validate_every=20, average=0.9, preview_every=1)


def main(folder: Path, stop_after: int, weights: Path) -> None:
    """Train; only the main process's hook asks for the stop, and both have to leave."""
    stop = StopRequest()

    def preview(adapter: DomainAdapter, step: int) -> None:
        stop.requested = step >= stop_after > 0

    accelerator = make_accelerator("cpu", "fp32")
    if accelerator.num_processes != 2:
        raise SystemExit(f"{accelerator.num_processes} processes")
    adapter = tiny_cyclegan(augmentation={})
    try:
        train(
            adapter,
            toy_crops(source=4, target=8),
            CONFIG,
            folder=folder,
            seed=11,
            accelerator=accelerator,
            stop=stop,
            hooks=Hooks(preview=preview),
        )
    except InterruptedRunError as error:
        sys.stderr.write(f"{error}\n")
    save_file(
        {name: value.contiguous() for name, value in adapter.state_dict().items()},
        weights / f"weights-{accelerator.process_index}.safetensors",
    )
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
