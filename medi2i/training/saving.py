"""When a training's checkpoints are written and restored, and which of them is the best."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from medi2i.io.atomic import restore_folders
from medi2i.training.checkpoint import (
    Checkpoint,
    has_checkpoint,
    load_checkpoint,
    load_networks,
    mark_best,
    optimizer_tensors,
    restore_optimizers,
    save_checkpoint,
    save_local,
    sweep,
)
from medi2i.training.finite import require_finite_tensors
from medi2i.training.settings import Score, Validation
from medi2i.training.step import Stepper

_KEPT = 2  # besides the best


class Saver:
    """The checkpoints of one training.

    Attributes:
        best, best_step: score and step of the checkpoint that BEST names; None and 0 before there is one.
        saved: steps with a checkpoint, in order.
    """

    def __init__(
        self, folder: Path, stepper: Stepper, facts: dict[str, Any], score: type[Score] = Validation
    ) -> None:
        self._folder, self._stepper, self._facts, self._score = folder, stepper, facts, score
        self._engine = stepper.accelerator
        self.best: Score | None = None
        self.best_step = 0
        self.saved: list[int] = []

    def resume(self) -> None:
        """Go on from the last checkpoint if there is one, and clear away what a crash left.

        Raises:
            CheckpointError: it is damaged, or of another method or shape.
        """
        main = self._engine.is_main_process
        if main:
            self._folder.mkdir(parents=True, exist_ok=True)
            restore_folders(self._folder)
        self._engine.wait_for_everyone()
        if has_checkpoint(self._folder):
            self._restore(load_checkpoint(self._folder, rank=self._engine.process_index))
        self._engine.wait_for_everyone()
        if main:
            if self.best_step:  # a crash between a save and its mark leaves BEST behind
                mark_best(self._folder, self.best_step)
            sweep(self._folder, keep={self.best_step, *self.saved})

    def consider(self, score: Score | None, minimum: float) -> None:
        """Whether the weights of this step are the best; without a score the last ones are."""
        if score is None or score.better_than(self.best, minimum):
            self.best, self.best_step = score, self._stepper.step

    def save(self) -> None:
        """A checkpoint of this step by the main process; others hand in what is theirs, and wait.

        Raises:
            NonFiniteLossError: a weight is NaN or infinite; nothing is written.
            DiskFullError: the device is full; earlier checkpoints are untouched.
        """
        step = self._stepper.step
        if self.saved[-1:] == [step]:
            return
        checkpoint = self._checkpoint()
        tensors = checkpoint.networks | checkpoint.optimizers
        require_finite_tensors(tensors, step=step, saved=bool(self.saved))
        if not self._engine.is_main_process:
            save_local(self._folder, self._engine.process_index, checkpoint.local)
        self._engine.wait_for_everyone()
        self.saved.append(step)
        if self._engine.is_main_process:
            save_checkpoint(self._folder, checkpoint, processes=self._engine.num_processes)
            if self.best_step:
                mark_best(self._folder, self.best_step)
            sweep(self._folder, keep={self.best_step, *self.saved[-_KEPT:]})
        self._engine.wait_for_everyone()

    def _checkpoint(self) -> Checkpoint:
        stepper = self._stepper
        with stepper.unwrapped():
            networks, companions = _without_companions(stepper)
        facts: dict[str, Any] = {
            "best_step": self.best_step,
            "detours": stepper.detours,
            "scaler": stepper.scaler.state_dict() if stepper.scaler else None,
        }
        if self.best is not None:
            facts["best"] = asdict(self.best)
        return Checkpoint(
            step=stepper.step,
            networks=networks,
            average=stepper.average.tensors() if stepper.average else {},
            optimizers=optimizer_tensors(stepper.optimizers),
            local=stepper.adapter.local_state() | companions,
            state=self._facts | facts,
        )

    def _saved_companions(self, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """They are the same in every process; one that the saved training didn't have takes the first's."""
        prefixes = _companions(self._stepper)
        local = checkpoint.local
        if prefixes and not local:
            local = load_checkpoint(self._folder, rank=0).local
        return {name: value for name, value in local.items() if name.startswith(prefixes)}

    def _restore(self, checkpoint: Checkpoint) -> None:
        stepper = self._stepper
        with stepper.unwrapped():
            companions = self._saved_companions(checkpoint)
            load_networks(stepper.adapter, checkpoint.networks | companions, self._folder)
        restore_optimizers(stepper.optimizers, checkpoint.optimizers)
        if stepper.average is not None and checkpoint.average:
            stepper.average.load(checkpoint.average)
        local = {k: v for k, v in checkpoint.local.items() if k not in companions}
        if local:  # a process that the saved training didn't have starts with nothing
            stepper.adapter.load_local_state(local)
        if stepper.scaler is not None and checkpoint.state.get("scaler"):
            stepper.scaler.load_state_dict(checkpoint.state["scaler"])
        best = checkpoint.state.get("best")
        self.best = self._score(**best) if best else None
        self.best_step = int(checkpoint.state["best_step"])
        stepper.step, stepper.detours = checkpoint.step, int(checkpoint.state.get("detours", 0))
        self.saved = [checkpoint.step]


def _companions(stepper: Stepper) -> tuple[str, ...]:
    """How the names of the companions' tensors begin."""
    return tuple(f"{name}." for name in stepper.adapter.companions)


def _without_companions(stepper: Stepper) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """State of the trainee and of its companions, which a shared checkpoint does not hold."""
    prefixes = _companions(stepper)
    own: dict[str, Tensor] = {}
    companions: dict[str, Tensor] = {}
    for name, value in stepper.adapter.state_dict().items():
        (companions if name.startswith(prefixes) else own)[name] = value
    return own, companions
