"""The training loop: knows the adapter contract, never a method by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from pydantic import Field, model_validator
from torch import Tensor, nn

from medi2i.adapters import Batch, DomainAdapter, Player, Shared
from medi2i.config import Config
from medi2i.data.unpaired import UnpairedCrops, unpaired_loader
from medi2i.errors import CheckpointError, NonFiniteLossError, UsageError
from medi2i.io.atomic import restore_folders
from medi2i.training.average import WeightAverage
from medi2i.training.checkpoint import (
    Checkpoint,
    has_checkpoint,
    load_checkpoint,
    mark_best,
    optimizer_tensors,
    restore_optimizers,
    save_checkpoint,
    save_local,
    sweep,
)
from medi2i.training.interruption import StopRequest
from medi2i.training.progress import Progress, TrainingLog

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
# several processes have to agree on a stop, which makes the host wait for the device: not in every step
_AGREE_EVERY = 10


class TrainingConfig(Config):
    """Length, precision and bookkeeping of a training; the recipe of a method's optimisers is the method's.

    The learning rate is constant for `constant` of the training and then falls linearly to 0. Lengths are in
    epochs (the longer domain once) or in steps, whichever is given. `channels_last` concerns CUDA only.
    """

    epochs: int | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)
    constant: float = Field(default=0.5, ge=0, le=1)
    batch_size: int = Field(default=1, gt=0)
    accumulate: int = Field(default=1, gt=0)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    average: float | None = Field(default=None, gt=0, lt=1, description="decay of the weight average")
    gradient_norm: float | None = Field(default=None, gt=0)
    channels_last: bool = True
    log_every: int = Field(default=50, gt=0)
    validate_every: int = Field(default=250, gt=0)
    preview_every: int = Field(default=500, gt=0)
    minimum_gradient_correlation: float = Field(default=0.75, ge=-1, le=1)

    @model_validator(mode="after")
    def _one_length(self) -> TrainingConfig:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either 'epochs' or 'steps'")
        return self

    def total_steps(self, epoch_length: int) -> int:
        """Training steps; a step sees `batch_size * accumulate` images of each domain."""
        if self.steps is not None:
            return self.steps
        return (self.epochs or 0) * max(1, epoch_length // (self.batch_size * self.accumulate))

    def learning_rate_factor(self, step: int, epoch_length: int) -> float:
        """Fraction of the initial learning rate in (zero-based) `step`.

        With epochs this is the published rule, 1 - max(0, epoch + 1 - n_constant) / (n_decay + 1), where the
        rate changes once an epoch; with steps the same rule at every step.
        """
        per_epoch = max(1, epoch_length // (self.batch_size * self.accumulate))
        unit, total = (step // per_epoch, self.epochs) if self.epochs else (step, self.steps)
        constant = round(self.constant * (total or 0))
        return 1.0 - max(0, unit + 1 - constant) / ((total or 0) - constant + 1)


@dataclass(frozen=True)
class Validation:
    """What the rule for BEST looks at: distance to held-out target images, structure kept."""

    distance: float
    gradient_correlation: float

    def better_than(self, other: Validation | None, minimum: float) -> bool:
        """The written rule: enough structure first, then the smaller distance; else the more structure."""
        if other is None:
            return True
        enough, others = self.gradient_correlation >= minimum, other.gradient_correlation >= minimum
        if enough != others:
            return enough
        if enough:
            return self.distance < other.distance
        return self.gradient_correlation > other.gradient_correlation


@dataclass
class Hooks:
    """What a stage wants to happen during a training; called by the main process only."""

    validate: Callable[[DomainAdapter], Validation] | None = None
    preview: Callable[[DomainAdapter, int], None] | None = None
    facts: dict[str, Any] = field(default_factory=dict)  # goes into every checkpoint


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended."""

    steps: int
    best_step: int
    best: Validation | None
    seconds: float


def make_accelerator(device: DeviceName, precision: str) -> Accelerator:
    """One Accelerate engine for the device.

    Raises:
        UsageError: the device is not there, or can't compute in that precision.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device in available and not available[device]:
        raise UsageError(
            f"--device {device}",
            found="no such device",
            expected=", ".join(["auto", "cpu", *(name for name, there in available.items() if there)]),
            remedy="choose one of these",
        )
    on_cpu = device == "cpu" or (device == "auto" and not any(available.values()))
    if precision == "fp16" and on_cpu:
        raise UsageError(
            "training.precision",
            found="fp16 on a CPU",
            expected="fp32 or bf16",
            remedy="change it, or train on a GPU",
        )
    AcceleratorState._reset_state(reset_partial_state=True)  # a second training in one process
    return Accelerator(cpu=device == "cpu", mixed_precision="no" if precision == "fp32" else precision)


def train(
    adapter: DomainAdapter,
    crops: UnpairedCrops,
    config: TrainingConfig,
    *,
    folder: Path,
    seed: int,
    accelerator: Accelerator,
    stop: StopRequest,
    hooks: Hooks | None = None,
    workers: int = 0,
) -> TrainingResult:
    """Train any adapter with players, from the run's last checkpoint if there is one.

    Args:
        folder: the run's folder; `checkpoints/` and `log.jsonl` are written below it.
        stop: asked after every step.

    Raises:
        NonFiniteLossError: a loss became NaN or infinite; the last good checkpoint is kept.
        InterruptedRunError: a stop was requested; a checkpoint of this very step is written.
        CheckpointError: the run's checkpoint is of another method or shape.
    """
    training = _Training(adapter, config, folder, seed, accelerator, hooks or Hooks(), crops.epoch_length)
    return training.run(crops, stop, workers)


def time_steps(
    adapter: DomainAdapter,
    config: TrainingConfig,
    crop_size: int,
    accelerator: Accelerator,
    *,
    steps: int = 3,
) -> float:
    """Seconds a training step takes here, measured on random images; nothing is written.

    The first step warms up and does not count.
    """
    training = _Training(adapter, config, Path(), 0, accelerator, Hooks(), epoch_length=1)
    shape = (config.batch_size, 1, crop_size, crop_size)
    sample = {name: torch.rand(shape) * 2 - 1 for name in ("source", "target")}
    sample |= {f"{name}_valid": torch.ones(shape) for name in ("source", "target")}
    seconds = []
    for _ in range(steps):
        begin = time.monotonic()
        losses = training._step([sample] * config.accumulate)
        _all_finite(losses, None).item()  # waits for the device
        seconds.append(time.monotonic() - begin)
    return sum(seconds[1:]) / (steps - 1)


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


class _Training:
    """State of one training; `run` is the loop."""

    def __init__(
        self,
        adapter: DomainAdapter,
        config: TrainingConfig,
        folder: Path,
        seed: int,
        accelerator: Accelerator,
        hooks: Hooks,
        epoch_length: int,
    ) -> None:
        self.adapter, self.config, self.seed, self.hooks = adapter, config, seed, hooks
        self.accelerator, self.folder = accelerator, folder
        self.epoch_length = max(1, epoch_length // accelerator.num_processes)  # they share an epoch's images
        self.checkpoints = folder / "checkpoints"
        self.total = config.total_steps(self.epoch_length)
        adapter.to(accelerator.device)
        # CPU kernels of instance norm read a channels-last gradient of a single image in the wrong order
        # (torch 2.13): wrong weights and no error
        self.channels_last = config.channels_last and accelerator.device.type == "cuda"
        if self.channels_last:
            adapter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.names = list(dict.fromkeys(name for player in adapter.players for name in player.networks))
        self.plain = {name: getattr(adapter, name) for name in self.names}
        if accelerator.num_processes > 1:
            for name in self.names:
                setattr(adapter, name, accelerator.prepare_model(self.plain[name]))
        self.optimizers = {
            player.name: _optimizer(player, [self.plain[name] for name in player.networks])
            for player in adapter.players
        }
        averaged = {name: self.plain[name] for name in adapter.averaged_networks if name in self.plain}
        self.average = WeightAverage(averaged, config.average) if config.average else None
        self.scaler = accelerator.scaler
        self.step, self.best_step = 0, 0
        self.best: Validation | None = None
        self.saved: list[int] = []

    def run(self, crops: UnpairedCrops, stop: StopRequest, workers: int) -> TrainingResult:
        self._resume()
        main = self.accelerator.is_main_process
        log = TrainingLog(self.folder / "log.jsonl", resume_step=self.step) if main else None
        progress = Progress("training", self.total, initial=self.step, rank=self.accelerator.process_index)
        batches = iter(self._loader(crops, workers))
        begin, mark, finite = time.monotonic(), (time.monotonic(), self.step), None
        self.adapter.train()
        try:
            while self.step < self.total:
                losses = self._step([next(batches) for _ in range(self.config.accumulate)])
                self.step += 1
                finite = _all_finite(losses, finite)
                note = ""
                due = self.step % self.config.log_every == 0 or self.step == self.total
                if due or self.accelerator.device.type == "cpu":
                    self._require_finite(finite, losses)
                    finite = None
                if due and log is not None:
                    note, mark = self._log(log, losses, mark)
                progress.advance(note)
                self._milestones(log, finite, losses)
                if self._stopping(stop):
                    self._require_finite(finite, losses)
                    self._save()
                    stop.raise_if_requested(str(self.folder), f"continue at step {self.step} with --resume")
        finally:
            progress.close()
            self._unwrap()
        return TrainingResult(self.step, self.best_step, self.best, time.monotonic() - begin)

    def _resume(self) -> None:
        """Go on from the last checkpoint if there is one, and clear away what a crash left."""
        main = self.accelerator.is_main_process
        if main:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            restore_folders(self.checkpoints)
        self.accelerator.wait_for_everyone()
        if has_checkpoint(self.checkpoints):
            self._restore(load_checkpoint(self.checkpoints, rank=self.accelerator.process_index))
        self.accelerator.wait_for_everyone()
        if main:
            if self.best_step:  # a crash between a save and its mark leaves BEST behind
                mark_best(self.checkpoints, self.best_step)
            sweep(self.checkpoints, keep={self.best_step, *self.saved})

    def _stopping(self, stop: StopRequest) -> bool:
        """Whether to stop after this step; one process that stopped alone would leave the others waiting."""
        if self.accelerator.num_processes > 1:
            if self.step % _AGREE_EVERY:
                return False
            asked = torch.tensor(float(stop.requested), device=self.accelerator.device)
            stop.requested = bool(self.accelerator.reduce(asked, "sum") > 0)
        return stop.requested

    def _loader(self, crops: UnpairedCrops, workers: int) -> Any:
        accumulate = self.config.accumulate
        return unpaired_loader(
            crops,
            batch_size=self.config.batch_size,
            first=self.step * accumulate,
            last=self.total * accumulate,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
            workers=workers,
        )

    def _step(self, samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """One turn of every player that is due; returns the losses, on the device."""
        factor = self.config.learning_rate_factor(self.step, self.epoch_length)
        batches = [(self._batch(sample, index), Shared()) for index, sample in enumerate(samples)]
        logged: dict[str, Tensor] = {}
        for player in self.adapter.players:
            if self.step % player.every:
                continue
            optimizer = self.optimizers[player.name]
            others = [self.plain[name] for name in self.names if name not in player.networks]
            with frozen(others):
                for batch, shared in batches:
                    with self.accelerator.autocast():
                        losses = self.adapter.losses(player, batch, shared)
                        total = torch.stack([v.float() for v in losses.values()]).sum()
                    scaled = total / len(batches)
                    self.accelerator.backward(scaled)
                    for name, value in losses.items():
                        share, key = value.detach() / len(batches), f"{player.name}/{name}"
                        logged[key] = logged[key] + share if key in logged else share
            self._update(player, optimizer, factor)
        if self.average is not None:
            self.average.update(self.step + 1)
        return logged

    def _update(self, player: Player, optimizer: torch.optim.Optimizer, factor: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = player.optimizer.learning_rate * factor
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        if self.config.gradient_norm is not None:
            for group in optimizer.param_groups:
                nn.utils.clip_grad_norm_(group["params"], self.config.gradient_norm)
        if self.scaler is not None:
            self.scaler.step(optimizer)
            self.scaler.update()
        else:
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _batch(self, sample: dict[str, Tensor], index: int) -> Batch:
        device = self.accelerator.device
        rank, micro = self.accelerator.process_index, self.step * self.config.accumulate + index
        number = (self.seed * 1_000_003 + micro) * 1_009 + rank
        moved = {key: value.to(device, non_blocking=True) for key, value in sample.items()}
        if self.channels_last:
            moved = {key: v.contiguous(memory_format=torch.channels_last) for key, v in moved.items()}
        return Batch(
            source=moved["source"],
            target=moved["target"],
            source_valid=moved["source_valid"],
            target_valid=moved["target_valid"],
            source_mask=moved.get("source_mask"),
            host=torch.Generator().manual_seed(number % 2**63),
            device=torch.Generator(device=device).manual_seed(number % 2**63),
            step=self.step,
        )

    def _log(
        self, log: TrainingLog, losses: dict[str, Tensor], mark: tuple[float, int]
    ) -> tuple[str, tuple[float, int]]:
        now = time.monotonic()
        images = (self.step - mark[1]) * self.config.batch_size * self.config.accumulate
        rate = images * self.accelerator.num_processes / max(now - mark[0], 1e-9)
        values = {name: round(float(value), 6) for name, value in losses.items()}
        factor = self.config.learning_rate_factor(self.step - 1, self.epoch_length)
        log.write(
            step=self.step,
            images_per_second=round(rate, 3),
            learning_rate={p.name: p.optimizer.learning_rate * factor for p in self.adapter.players},
            losses=values,
        )
        shown = ", ".join(
            f"{p.name} {sum(v for k, v in values.items() if k.startswith(p.name + '/')):.3f}"
            for p in self.adapter.players
        )
        return f"{shown}, {rate:.1f} images/s", (now, self.step)

    def _milestones(self, log: TrainingLog | None, finite: Tensor | None, losses: dict[str, Tensor]) -> None:
        """Validation with its checkpoint, and the preview, when they are due."""
        last = self.step == self.total
        if self.step % self.config.validate_every == 0 or last:
            self._require_finite(finite, losses)
            self._validate(log)
            self._save()
        if self.hooks.preview is not None and (self.step % self.config.preview_every == 0 or last):
            self._in_evaluation(lambda: self.hooks.preview(self.adapter, self.step))  # type: ignore[misc]

    def _validate(self, log: TrainingLog | None) -> None:
        if self.hooks.validate is None or not self.accelerator.is_main_process:
            if self.hooks.validate is None:
                self.best_step = self.step
            return
        score: Validation = self._in_evaluation(lambda: self.hooks.validate(self.adapter))  # type: ignore[misc]
        if score.better_than(self.best, self.config.minimum_gradient_correlation):
            self.best, self.best_step = score, self.step
        if log is not None:
            log.write(
                step=self.step,
                validation={
                    "distance": score.distance,
                    "gradient_correlation": score.gradient_correlation,
                    "best_step": self.best_step,
                },
            )

    def _in_evaluation(self, call: Callable[[], Any]) -> Any:
        """A call with the weights that will translate, without wrappers, gradients or side effects."""
        if not self.accelerator.is_main_process:
            return None
        averaged = self.average.applied() if self.average is not None else nullcontext()
        with self._unwrapped(), torch.no_grad(), averaged:
            self.adapter.eval()
            try:
                return call()
            finally:
                self.adapter.train()

    @contextmanager
    def _unwrapped(self) -> Iterator[None]:
        """The adapter with its own networks instead of the engine's wrappers around them."""
        wrapped = {name: getattr(self.adapter, name) for name in self.names}
        self._unwrap()
        try:
            yield
        finally:
            for name, module in wrapped.items():
                setattr(self.adapter, name, module)

    def _unwrap(self) -> None:
        for name, module in self.plain.items():
            setattr(self.adapter, name, module)

    def _save(self) -> None:
        """A checkpoint of this step by the main process; others hand in what is theirs, and wait."""
        if self.saved[-1:] == [self.step]:
            return
        checkpoint = self._checkpoint()
        self._require_finite_weights(checkpoint)
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        if not self.accelerator.is_main_process:
            save_local(self.checkpoints, rank, checkpoint.local)
        self.accelerator.wait_for_everyone()
        self.saved.append(self.step)
        if self.accelerator.is_main_process:
            save_checkpoint(self.checkpoints, checkpoint, processes=processes)
            if self.best_step:
                mark_best(self.checkpoints, self.best_step)
            sweep(self.checkpoints, keep={self.best_step, *self.saved[-2:]})
        self.accelerator.wait_for_everyone()

    def _checkpoint(self) -> Checkpoint:
        with self._unwrapped():
            networks = dict(self.adapter.state_dict())
        facts: dict[str, Any] = {
            "best_step": self.best_step,
            "scaler": self.scaler.state_dict() if self.scaler else None,
        }
        if self.best is not None:
            facts["best"] = {
                "distance": self.best.distance,
                "gradient_correlation": self.best.gradient_correlation,
            }
        return Checkpoint(
            step=self.step,
            networks=networks,
            average=self.average.tensors() if self.average else {},
            optimizers=optimizer_tensors(self.optimizers),
            local=self.adapter.local_state(),
            state=self.hooks.facts | facts,
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        with self._unwrapped():
            load_networks(self.adapter, checkpoint.networks, self.checkpoints)
        restore_optimizers(self.optimizers, checkpoint.optimizers)
        if self.average is not None and checkpoint.average:
            self.average.load(checkpoint.average)
        if checkpoint.local:  # a process that the saved training didn't have starts with nothing
            self.adapter.load_local_state(checkpoint.local)
        if self.scaler is not None and checkpoint.state.get("scaler"):
            self.scaler.load_state_dict(checkpoint.state["scaler"])
        best = checkpoint.state.get("best")
        self.best = Validation(**best) if best else None
        self.best_step = int(checkpoint.state["best_step"])
        self.step = checkpoint.step
        self.saved = [checkpoint.step]

    def _require_finite(self, finite: Tensor | None, losses: dict[str, Tensor]) -> None:
        if finite is None or bool(finite):
            return
        wrong = [name for name, value in losses.items() if not bool(torch.isfinite(value))]
        raise self._non_finite(", ".join(wrong) or "a loss of the steps before")

    def _require_finite_weights(self, checkpoint: Checkpoint) -> None:
        """A finite loss can have an infinite gradient: such weights must not replace a good checkpoint."""
        for tensors in (checkpoint.networks, checkpoint.optimizers):
            for name, value in tensors.items():
                if not bool(torch.isfinite(value).all()):
                    raise self._non_finite(name)

    def _non_finite(self, what: str) -> NonFiniteLossError:
        return NonFiniteLossError(
            f"step {self.step}",
            found=f"NaN or Inf in {what}",
            expected="finite losses and weights",
            remedy="lower the learning rate or use precision bf16 or fp32; the last good checkpoint is kept: "
            "--resume starts from it",
        )


def load_networks(adapter: DomainAdapter, tensors: dict[str, Tensor], origin: Path) -> None:
    """Put a checkpoint's weights into an adapter.

    Raises:
        CheckpointError: they belong to another method or size.
    """
    try:
        adapter.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CheckpointError(
            origin,
            found=f"weights of another network ({first[:160]})",
            expected=f"a {type(adapter).__name__} as configured",
            remedy="use the configuration the checkpoint was trained with",
        ) from error


def _optimizer(player: Player, networks: list[nn.Module]) -> torch.optim.Optimizer:
    parameters = [p for network in networks for p in network.parameters()]
    settings = player.optimizer
    return torch.optim.Adam(
        parameters,
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def _all_finite(losses: dict[str, Tensor], before: Tensor | None) -> Tensor:
    """A flag on the device: reading it is the only synchronisation, and it is read seldom."""
    if not losses:  # no player's turn in this step
        return torch.tensor(True) if before is None else before
    finite = torch.isfinite(torch.stack([value.float() for value in losses.values()])).all()
    return finite if before is None else finite & before
