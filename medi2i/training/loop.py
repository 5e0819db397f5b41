"""The training loop: knows the adapter contract, never a method by name."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from medi2i.adapters import DomainAdapter, Trainee
from medi2i.data.labelled import LabelledCrops, join_batches, labelled_loader
from medi2i.data.unpaired import TrainingCrops, unpaired_loader
from medi2i.errors import NonFiniteLossError
from medi2i.training.finite import all_finite, require_finite
from medi2i.training.interruption import StopRequest
from medi2i.training.memory import is_out_of_memory, no_room
from medi2i.training.progress import Progress, TrainingLog
from medi2i.training.saving import Saver
from medi2i.training.settings import Score, TrainingConfig, Validation
from medi2i.training.step import Stepper

# several processes have to agree on a stop, which makes the host wait for the device: not in every step
_AGREE_EVERY = 10
_MOST_DETOURS = 3


@dataclass
class Hooks:
    """What a stage wants to happen during a training; called by the main process only."""

    validate: Callable[[Any], Score] | None = None  # gets the trainee, as `preview` does
    score: type[Score] = Validation  # what `validate` returns
    preview: Callable[[Any, int], None] | None = None
    facts: dict[str, Any] = field(default_factory=dict)  # goes into every checkpoint


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended."""

    steps: int
    best_step: int
    best: Score | None
    seconds: float


def train(
    adapter: Trainee,
    crops: TrainingCrops,
    config: TrainingConfig,
    *,
    folder: Path,
    seed: int,
    accelerator: Accelerator,
    stop: StopRequest,
    hooks: Hooks | None = None,
    workers: int = 0,
    labelled: LabelledCrops | None = None,
) -> TrainingResult:
    """Train anything with players, from the run's last checkpoint if there is one.

    Args:
        folder: the run's folder; `checkpoints/` and `log.jsonl` are written below it.
        stop: asked after every step.
        labelled: batches of known attributes, beside those of `crops`, for methods that want them.

    A loss or weight that becomes NaN or infinite sends a training of one process back to its last checkpoint,
    from which it goes on with other draws; three times at most.

    Raises:
        EnvironmentProblemError: the device has no room for a step.
        NonFiniteLossError: a loss became NaN or infinite once more, or before the first checkpoint, or in one
            of several processes; the last good checkpoint is kept.
        InterruptedRunError: a stop was requested; a checkpoint of this very step is written.
        CheckpointError: the run's checkpoint is of another method or shape.
    """
    stepper = Stepper(adapter, config, accelerator, seed=seed, epoch_length=crops.epoch_length)
    return _Training(stepper, folder, hooks or Hooks()).run(crops, labelled, stop, workers)


def time_steps(
    adapter: Trainee,
    config: TrainingConfig,
    crop_size: int,
    accelerator: Accelerator,
    *,
    structures: int = 0,
    steps: int = 3,
) -> float:
    """Seconds a training step takes here, measured on random images; nothing is written.

    The first step warms up and does not count. With `structures`, images have masks with so many planes.
    Methods that want labelled images get them in every second step.
    """
    steps = max(steps, 1 + max(player.every for player in adapter.players))  # each has a turn that counts
    stepper = Stepper(adapter, config, accelerator, seed=0, epoch_length=1)
    shape = (config.batch_size, 1, crop_size, crop_size)
    sample = {name: torch.rand(shape) * 2 - 1 for name in ("source", "target")}
    sample |= {f"{name}_valid": torch.ones(shape) for name in ("source", "target")}
    if structures:
        sample["source_mask"] = (torch.rand((config.batch_size, structures, *shape[2:])) > 0.5).float()
    told, labelled = _random_codes(adapter, config.batch_size, shape[2:])
    seconds = []
    for step in range(steps):
        begin = time.monotonic()
        losses = stepper.take([sample | told | (labelled if step % 2 else {})] * config.accumulate)
        all_finite(losses, None).item()  # waits for the device
        seconds.append(time.monotonic() - begin)
    stepper.unwrap()
    return sum(seconds[1:]) / (steps - 1)


def _random_codes(
    adapter: Trainee, batch_size: int, shape: tuple[int, ...]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Codes of random classes for a batch, and labelled random images; nothing where none are wanted."""
    if not isinstance(adapter, DomainAdapter) or not adapter.needs_attributes or adapter.attributes is None:
        return {}, {}
    classes = adapter.attributes.classes()
    told = {
        f"{name}_attributes": classes[torch.randint(len(classes), (batch_size,))]
        for name in ("source", "target")
    }
    groups = min(adapter.labelled_groups, len(classes))
    images = (groups * adapter.group_images, 1, *shape)
    labelled = {
        "labelled_image": torch.rand(images) * 2 - 1,
        "labelled_valid": torch.ones(images),
        "labelled_attributes": classes[:groups].repeat_interleave(adapter.group_images, dim=0),
        "labelled_group": torch.arange(groups).repeat_interleave(adapter.group_images),
    }
    return told, labelled if groups else {}


class _Training:
    """The loop around the steps: log, validation, checkpoints, stops."""

    def __init__(self, stepper: Stepper, folder: Path, hooks: Hooks) -> None:
        self.stepper, self.folder, self.hooks = stepper, folder, hooks
        self.config, self.engine = stepper.config, stepper.accelerator
        self.total = self.config.total_steps(stepper.epoch_length)
        self.saver = Saver(folder / "checkpoints", stepper, hooks.facts, hooks.score)
        self.log: TrainingLog | None = None
        self.unread: Tensor | None = None  # whether all losses since it was last read were finite
        self.mark = (0.0, 0)  # moment and step of the last line in the log

    def run(
        self, crops: TrainingCrops, labelled: LabelledCrops | None, stop: StopRequest, workers: int
    ) -> TrainingResult:
        begin = time.monotonic()
        try:
            self._begin()
            while (failure := self._try(crops, labelled, stop, workers)) is not None:
                if isinstance(failure, NonFiniteLossError):
                    self._go_back(failure)
                else:
                    self._halve(failure)
        finally:
            self.stepper.unwrap()
        seconds = time.monotonic() - begin
        return TrainingResult(self.stepper.step, self.saver.best_step, self.saver.best, seconds)

    def _try(
        self, crops: TrainingCrops, labelled: LabelledCrops | None, stop: StopRequest, workers: int
    ) -> NonFiniteLossError | RuntimeError | None:
        """Train to the end, or to what a training may recover from."""
        try:
            self._take_steps(self._batches(crops, labelled, workers), stop)
        except NonFiniteLossError as error:
            return error
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return error.with_traceback(None)  # its frames hold the tensors that there is no room for
        return None

    def _begin(self) -> None:
        """From the last checkpoint, if there is one."""
        self.saver.resume()
        step = self.stepper.step
        if self.engine.is_main_process:
            self.log = TrainingLog(self.folder / "log.jsonl", resume_step=step)
        if self.config.halve_when_out_of_memory and not self.saver.saved:
            self.saver.save()  # a step that runs out of memory may have moved some of the networks
        self.stepper.clear_gradients()
        self.unread, self.mark = None, (time.monotonic(), step)
        self.stepper.adapter.train()

    def _take_steps(self, batches: Iterator[Any], stop: StopRequest) -> None:
        stepper = self.stepper
        progress = Progress("training", self.total, initial=stepper.step, rank=self.engine.process_index)
        try:
            while stepper.step < self.total:
                losses = stepper.take([next(batches) for _ in range(self.config.accumulate)])
                self.unread = all_finite(losses, self.unread)
                progress.advance(self._report(losses))
                self._milestones(losses)
                if self._stopping(stop):
                    self._require_finite(losses)
                    self.saver.save()
                    remedy = f"continue at step {stepper.step} with --resume"
                    stop.raise_if_requested(str(self.folder), remedy)
        finally:
            progress.close()

    def _go_back(self, error: NonFiniteLossError) -> None:
        """To the last checkpoint, to draw otherwise from there; or raise.

        Processes find out in different steps, so several of them stop.
        """
        stepper = self.stepper
        if not self.saver.saved or stepper.detours >= _MOST_DETOURS or self.engine.num_processes > 1:
            raise error
        failed, detours = stepper.step, stepper.detours + 1
        self._begin()
        stepper.detours = detours
        words = f"{error.found} at step {failed}: back to step {stepper.step}, with other draws"
        print(f"training: {words} (time {detours} of {_MOST_DETOURS})", file=sys.stderr)
        if self.log is not None:
            self.log.write(step=stepper.step, went_back={"from_step": failed, "found": error.found})

    def _halve(self, error: RuntimeError) -> None:
        """To the last checkpoint, and on with half of the images at a time and twice as many times; or raise.

        Raises:
            EnvironmentProblemError: that was not asked for, or there is one image at a time.
        """
        size, accumulate = self.config.batch_size, self.config.accumulate
        if not self.config.halve_when_out_of_memory or size % 2 or self.engine.num_processes > 1:
            raise no_room(self.config) from error
        halved = {"batch_size": size // 2, "accumulate": accumulate * 2}
        self.config = self.stepper.config = self.config.model_copy(update=halved)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._begin()
        words = f"out of memory at {size} images a time: {size // 2} from step {self.stepper.step}"
        print(f"training: {words}", file=sys.stderr)
        if self.log is not None:
            self.log.write(step=self.stepper.step, halved=halved)

    def _batches(self, crops: TrainingCrops, labelled: LabelledCrops | None, workers: int) -> Iterator[Any]:
        batches = iter(self._loader(crops, workers))
        return batches if labelled is None else self._with_labelled(batches, labelled, workers)

    def _loader(self, crops: TrainingCrops, workers: int) -> Any:
        accumulate = self.config.accumulate
        drawn = self.total * self.stepper.detours  # what an earlier try could draw
        return unpaired_loader(
            crops,
            batch_size=self.config.batch_size,
            first=(self.stepper.step + drawn) * accumulate,
            last=(self.total + drawn) * accumulate,
            rank=self.engine.process_index,
            world=self.engine.num_processes,
            workers=workers,
        )

    def _with_labelled(self, batches: Any, crops: LabelledCrops, workers: int) -> Any:
        first, accumulate = self.stepper.step, self.config.accumulate
        loader = labelled_loader(
            crops,
            first=first,
            last=self.total,
            accumulate=accumulate,
            rank=self.engine.process_index,
            world=self.engine.num_processes,
            workers=workers,
        )
        return join_batches(batches, loader, first=first, accumulate=accumulate, every=crops.every)

    def _stopping(self, stop: StopRequest) -> bool:
        """Whether to stop after this step; one process that stopped alone would leave the others waiting."""
        if self.engine.num_processes > 1:
            if self.stepper.step % _AGREE_EVERY:
                return False
            asked = torch.tensor(float(stop.requested), device=self.engine.device)
            stop.requested = bool(self.engine.reduce(asked, "sum") > 0)
        return stop.requested

    def _report(self, losses: dict[str, Tensor]) -> str:
        """Look at the losses when it is due, and log them; returns what the progress bar shows."""
        step = self.stepper.step
        due = step % self.config.log_every == 0 or step == self.total
        if due or self.engine.device.type == "cpu":
            self._require_finite(losses)
            self.unread = None
        return self._log(self.log, losses) if due and self.log is not None else ""

    def _log(self, log: TrainingLog, losses: dict[str, Tensor]) -> str:
        now, step, players = time.monotonic(), self.stepper.step, self.stepper.adapter.players
        images = (step - self.mark[1]) * self.config.batch_size * self.config.accumulate
        rate = images * self.engine.num_processes / max(now - self.mark[0], 1e-9)
        self.mark = (now, step)
        values = {name: round(float(value), 6) for name, value in losses.items()}
        factor = self.config.learning_rate_factor(step - 1, self.stepper.epoch_length)
        log.write(
            step=step,
            images_per_second=round(rate, 3),
            precision="fp32" if self.engine.mixed_precision == "no" else self.engine.mixed_precision,
            learning_rate={p.name: p.optimizer.learning_rate * factor for p in players},
            losses=values,
            **self._readings(),
        )
        sums = {p.name: sum(v for k, v in values.items() if k.startswith(f"{p.name}/")) for p in players}
        shown = ", ".join(f"{name} {value:.3f}" for name, value in sums.items())
        return f"{shown}, {rate:.1f} images/s"

    def _readings(self) -> dict[str, dict[str, float | None]]:
        """What the players read off in the step, under a key of its own: progress adds up losses only."""
        values = {name: float(value) for name, value in self.stepper.readings.items()}
        rounded = {name: round(v, 6) if math.isfinite(v) else None for name, v in values.items()}
        return {"readings": rounded} if rounded else {}

    def _milestones(self, losses: dict[str, Tensor]) -> None:
        """Validation with its checkpoint, and the preview, when they are due."""
        step, main = self.stepper.step, self.engine.is_main_process
        last = step == self.total
        if step % self.config.validate_every == 0 or last:
            self._require_finite(losses)
            self._validate()
            self.saver.save()
        if main and self.hooks.preview is not None and (step % self.config.preview_every == 0 or last):
            with self.stepper.evaluating():
                self.hooks.preview(self.stepper.adapter, step)

    def _validate(self) -> None:
        minimum = self.config.minimum_gradient_correlation
        if self.hooks.validate is None:
            self.saver.consider(None, minimum)
            return
        if not self.engine.is_main_process:
            return
        with self.stepper.evaluating():
            score = self.hooks.validate(self.stepper.adapter)
        self.saver.consider(score, minimum)
        if self.log is not None:
            validation = asdict(score) | {"best_step": self.saver.best_step}
            self.log.write(step=self.stepper.step, validation=validation)

    def _require_finite(self, losses: dict[str, Tensor]) -> None:
        require_finite(self.unread, losses, step=self.stepper.step, saved=bool(self.saver.saved))
