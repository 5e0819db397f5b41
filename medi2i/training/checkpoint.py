"""Checkpoints that a crash can't damage: written beside, flushed, renamed; safetensors and JSON only."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from medi2i.errors import CheckpointError
from medi2i.io.atomic import (
    replace_folder_atomically,
    restore_folders,
    sweep_unfinished,
    write_text_atomically,
)

FORMAT = 1
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """One saved moment of a training.

    Attributes:
        step: finished training steps.
        networks: state of the adapter.
        average: exponential moving averages of the networks that translate; empty without averaging.
        optimizers: `player.parameter.quantity` to tensor.
        local: what belongs to one process (image pools).
        state: JSON-able facts: adapter config, intensity maps, learning-rate step, scores.
    """

    step: int
    networks: Tensors
    average: Tensors
    optimizers: Tensors
    local: Tensors
    state: dict[str, Any]


def checkpoint_name(step: int) -> str:
    """Folder of a step's checkpoint."""
    return f"step-{step:07d}"


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write `folder/step-XXXXXXX` completely or not at all, and point LATEST at it.

    Raises:
        DiskFullError: the device is full; earlier checkpoints are untouched.
    """
    final = folder / checkpoint_name(checkpoint.step)
    parts = _parts(checkpoint)
    size = sum(t.numel() * t.element_size() for part in parts.values() for t in part.values())

    def write(unfinished: Path) -> None:
        for name, tensors in parts.items():
            _save_tensors(unfinished / f"{name}.safetensors", tensors)
        state = {"format": FORMAT, "step": checkpoint.step} | checkpoint.state
        (unfinished / "state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")

    replace_folder_atomically(final, write, bytes_needed=size)
    write_text_atomically(folder / "LATEST", final.name)
    return final


def load_checkpoint(folder: Path, which: str = "LATEST", *, rank: int = 0) -> Checkpoint:
    """Read the checkpoint that LATEST or BEST names, or a folder `step-XXXXXXX`.

    Raises:
        CheckpointError: it is missing, damaged, or of another format.
    """
    path = checkpoint_path(folder, which)
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        parts = {
            name: load_file(path / f"{name}.safetensors") if (path / f"{name}.safetensors").is_file() else {}
            for name in ("networks", "average", "optimizers", f"rank-{rank}")
        }
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            path,
            found=f"a damaged checkpoint ({type(error).__name__})",
            expected="safetensors files and state.json",
            remedy="use another checkpoint of the run, or start anew",
        ) from error
    if state.get("format") != FORMAT:
        raise CheckpointError(
            path,
            found=f"checkpoint format {state.get('format')}",
            expected=f"format {FORMAT}",
            remedy="use the medi2i version that wrote it",
        )
    return Checkpoint(
        step=int(state["step"]),
        networks=parts["networks"],
        average=parts["average"],
        optimizers=parts["optimizers"],
        local=parts[f"rank-{rank}"],
        state=state,
    )


def checkpoint_path(folder: Path, which: str = "LATEST") -> Path:
    """Folder of the checkpoint that a pointer file names.

    Raises:
        CheckpointError: there is none.
    """
    pointer = folder / which
    name = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else which
    path = folder / Path(name).name
    if not (path / "state.json").is_file():
        raise CheckpointError(
            folder,
            found=f"no checkpoint '{which}'",
            expected="a run folder with checkpoints/",
            remedy="check the path, or train with `medi2i adapt`",
        )
    return path


def has_checkpoint(folder: Path) -> bool:
    """Whether a run can be resumed."""
    return (folder / "LATEST").is_file()


def mark_best(folder: Path, step: int) -> None:
    """Point BEST at a step's checkpoint."""
    write_text_atomically(folder / "BEST", checkpoint_name(step))


def sweep(folder: Path, *, keep: set[int]) -> None:
    """Remove what a crash left half-written, and the checkpoints that are not in `keep`."""
    restore_folders(folder)
    sweep_unfinished(folder)
    names = {checkpoint_name(step) for step in keep}
    for path in folder.glob("step-*"):
        if path.name not in names:
            shutil.rmtree(path, ignore_errors=True)


def optimizer_tensors(optimizers: dict[str, torch.optim.Optimizer]) -> Tensors:
    """Every optimiser's state as named tensors."""
    return {
        f"{player}.{index}.{quantity}": value
        for player, optimizer in optimizers.items()
        for index, quantities in optimizer.state_dict()["state"].items()
        for quantity, value in quantities.items()
        if isinstance(value, Tensor)
    }


def restore_optimizers(optimizers: dict[str, torch.optim.Optimizer], tensors: Tensors) -> None:
    """Inverse of `optimizer_tensors`."""
    states: dict[str, dict[int, dict[str, Tensor]]] = {player: {} for player in optimizers}
    for name, value in tensors.items():
        player, index, quantity = name.split(".")
        states[player].setdefault(int(index), {})[quantity] = value
    for player, optimizer in optimizers.items():
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": states[player], "param_groups": groups})


def _parts(checkpoint: Checkpoint) -> dict[str, Tensors]:
    return {
        "networks": checkpoint.networks,
        "average": checkpoint.average,
        "optimizers": checkpoint.optimizers,
        "rank-0": checkpoint.local,
    }


def _save_tensors(path: Path, tensors: Tensors) -> None:
    try:
        save_file({key: t.detach().cpu().contiguous() for key, t in tensors.items()}, path)
    except SafetensorError as error:
        # its own error hides the operating system's number, by which a full disk is told
        number = errno.ENOSPC if "os error 28" in str(error) else errno.EIO
        raise OSError(number, str(error), str(path)) from error
