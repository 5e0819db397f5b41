"""One training step of any adapter: every player's turn, on any number of processes and in any precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from medi2i.adapters import Batch, Player, Shared, Trainee
from medi2i.adapters.base import Labelled
from medi2i.training.average import WeightAverage
from medi2i.training.engine import frozen
from medi2i.training.settings import TrainingConfig


class Stepper:
    """An adapter on its device, with optimisers, weight average and loss scaler: all that a step changes.

    Attributes:
        step: finished steps.
        detours: how often the training went back to a checkpoint to draw otherwise.
        readings: numbers of the last step, as `player/name`, that are logged and are no losses.
        epoch_length: samples that one process sees in an epoch.
    """

    def __init__(
        self,
        adapter: Trainee,
        config: TrainingConfig,
        accelerator: Accelerator,
        *,
        seed: int,
        epoch_length: int,
    ) -> None:
        self.adapter, self.config, self.accelerator, self.seed = adapter, config, accelerator, seed
        self.step = self.detours = 0
        self.readings: dict[str, Tensor] = {}
        self.epoch_length = max(1, epoch_length // accelerator.num_processes)  # they share an epoch's images
        adapter.to(accelerator.device)
        # CPU kernels of instance norm read a channels-last gradient of a single image in the wrong order
        # (torch 2.13): wrong weights and no error
        self.channels_last = config.channels_last and accelerator.device.type == "cuda"
        if self.channels_last:
            adapter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._names = list(dict.fromkeys(name for player in adapter.players for name in player.networks))
        self._plain: dict[str, nn.Module] = {name: getattr(adapter, name) for name in self._names}
        if accelerator.num_processes > 1:
            for name in self._names:
                setattr(adapter, name, accelerator.prepare_model(self._plain[name]))
        self.optimizers = {
            player.name: _optimizer(player, [self._plain[name] for name in player.networks])
            for player in adapter.players
        }
        averaged = {name: self._plain[name] for name in adapter.averaged_networks if name in self._plain}
        self.average = WeightAverage(averaged, config.average) if config.average else None
        self.scaler = accelerator.scaler

    def take(self, samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """One turn of every player that is due.

        Args:
            samples: one batch of crops (B, 1, S, S) for each micro-batch.

        Returns:
            losses as `player/name`, means over the micro-batches, on the device.
        """
        factor = self.learning_rate_factor()
        batches = [(self.batch(sample, index), Shared()) for index, sample in enumerate(samples)]
        losses: dict[str, Tensor] = {}
        self.readings = {}
        for player in self.adapter.players:
            if self.step % player.every:
                continue
            others = [self._plain[name] for name in self._names if name not in player.networks]
            with frozen(others):
                for batch, shared in batches:
                    for name, value in self._backward(player, batch, shared, len(batches)).items():
                        losses[name] = losses[name] + value if name in losses else value
                    self._read(player, shared, len(batches))
            self._update(player, self.optimizers[player.name], factor)
        self.step += 1
        if self.average is not None:
            self.average.update(self.step)
        return losses

    def learning_rate_factor(self) -> float:
        """Fraction of the initial learning rate in the step to come."""
        return self.config.learning_rate_factor(self.step, self.epoch_length)

    def batch(self, sample: dict[str, Tensor], index: int) -> Batch:
        """Micro-batch `index` of the step to come, with generators that this place alone decides."""
        device = self.accelerator.device
        rank, micro = self.accelerator.process_index, self.step * self.config.accumulate + index
        number = (self.seed * 1_000_003 + micro) * 1_009 + rank + self.detours * 2**48
        moved = {key: value.to(device, non_blocking=True) for key, value in sample.items()}
        if self.channels_last:
            images = {key: value for key, value in moved.items() if value.ndim == 4}
            moved |= {key: v.contiguous(memory_format=torch.channels_last) for key, v in images.items()}
        return Batch(
            source=moved["source"],
            target=moved.get("target", moved["source"]),  # a task of one domain has no other
            source_valid=moved["source_valid"],
            target_valid=moved.get("target_valid", moved["source_valid"]),
            source_mask=moved.get("source_mask"),
            host=torch.Generator().manual_seed(number % 2**63),
            device=torch.Generator(device=device).manual_seed(number % 2**63),
            step=self.step,
            source_attributes=moved.get("source_attributes"),
            target_attributes=moved.get("target_attributes"),
            labelled=_labelled(moved),
        )

    def clear_gradients(self) -> None:
        """Forget what a step that did not come to its end has left."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The adapter with the weights that will translate, without wrappers, gradients or side effects."""
        averaged = self.average.applied() if self.average is not None else nullcontext()
        with self.unwrapped(), torch.no_grad(), averaged:
            self.adapter.eval()
            try:
                yield
            finally:
                self.adapter.train()

    @contextmanager
    def unwrapped(self) -> Iterator[None]:
        """The adapter with its own networks instead of the engine's wrappers around them."""
        wrapped = {name: getattr(self.adapter, name) for name in self._names}
        self.unwrap()
        try:
            yield
        finally:
            for name, module in wrapped.items():
                setattr(self.adapter, name, module)

    def unwrap(self) -> None:
        """Give the adapter its own networks back, for good."""
        for name, module in self._plain.items():
            setattr(self.adapter, name, module)

    def _backward(self, player: Player, batch: Batch, shared: Shared, batches: int) -> dict[str, Tensor]:
        with self.accelerator.autocast():
            losses = (player.losses or self.adapter.losses)(player, batch, shared)
            total = torch.stack([value.float() for value in losses.values()]).sum()
        self.accelerator.backward(total / batches)
        return {f"{player.name}/{name}": value.detach() / batches for name, value in losses.items()}

    def _read(self, player: Player, shared: Shared, batches: int) -> None:
        for name, value in self.adapter.readings(player, shared).items():
            key = f"{player.name}/{name}"
            share = value.detach() / batches
            self.readings[key] = self.readings[key] + share if key in self.readings else share

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


def _labelled(sample: dict[str, Tensor]) -> Labelled | None:
    names = {field.name: f"labelled_{field.name}" for field in fields(Labelled)}
    if not all(key in sample for key in names.values()):
        return None
    return Labelled(**{name: sample[key] for name, key in names.items()})


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
