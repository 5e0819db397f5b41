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

from medi2i.adapters import Trainee
from medi2i.errors import CheckpointError
from medi2i.io.atomic import (
    replace_folder_atomically,
    restore_folders,
    sweep_unfinished,
    write_atomically,
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


def save_local(folder: Path, rank: int, tensors: Tensors) -> None:
    """Hand what belongs to process `rank` to the main process, whose next `save_checkpoint` takes it in.

    Raises:
        DiskFullError: the device is full.
    """
    write_atomically(folder / _local_name(rank), lambda path: _save_tensors(path, tensors))


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, processes: int = 1) -> Path:
    """Write `folder/step-XXXXXXX` completely or not at all, and point LATEST at it.

    Args:
        folder: the run's `checkpoints/`.
        checkpoint: what to write; its `local` is the main process's.
        processes: how many share the training; those after the first have called `save_local`.

    Raises:
        DiskFullError: the device is full; earlier checkpoints are untouched.
    """
    final = folder / checkpoint_name(checkpoint.step)
    parts = _parts(checkpoint)
    size = sum(t.numel() * t.element_size() for part in parts.values() for t in part.values())

    def write(unfinished: Path) -> None:
        for name, tensors in parts.items():
            _save_tensors(unfinished / f"{name}.safetensors", tensors)
        for rank in range(1, processes):
            (folder / _local_name(rank)).rename(unfinished / _local_name(rank))
        state = {"format": FORMAT, "step": checkpoint.step} | checkpoint.state
        (unfinished / "state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")

    replace_folder_atomically(final, write, bytes_needed=size)
    write_text_atomically(folder / "LATEST", final.name)
    return final


def load_checkpoint(folder: Path, which: str = "LATEST", *, rank: int | None = None) -> Checkpoint:
    """Read the checkpoint that LATEST or BEST names, or a folder `step-XXXXXXX`.

    Args:
        folder: a run's `checkpoints/`.
        which: LATEST, BEST or a step's folder.
        rank: process whose `local` is wanted, for an exact resume; empty for one that the saved training
            didn't have. None, as for a translation, wants no `local`: a run may be shared without those
            files, which hold pieces of training images.

    Raises:
        CheckpointError: it is missing, damaged, of another format, or without the `local` that is wanted.
    """
    path = checkpoint_path(folder, which)
    if rank == 0:
        _require_local(path)
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        parts = {
            name: load_file(path / f"{name}.safetensors") for name in ("networks", "average", "optimizers")
        }
        parts["local"] = _load_local(path, rank)
        step, found = int(state["step"]), state.get("format")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise CheckpointError(
            path,
            found=f"a damaged checkpoint ({type(error).__name__})",
            expected="safetensors files and state.json",
            remedy="use another checkpoint of the run, or start anew",
        ) from error
    if found != FORMAT:
        raise CheckpointError(
            path,
            found=f"checkpoint format {found}",
            expected=f"format {FORMAT}",
            remedy="use the medi2i version that wrote it",
        )
    return Checkpoint(step=step, state=state, **parts)


def _load_local(path: Path, rank: int | None) -> Tensors:
    if rank is None or not (path / _local_name(rank)).is_file():
        return {}
    local: Tensors = load_file(path / _local_name(rank))
    return local


def _require_local(path: Path) -> None:
    if not (path / _local_name(0)).is_file():
        raise CheckpointError(
            path,
            found=f"no {_local_name(0)}, which an exact resume needs",
            expected="a checkpoint with the state of its processes",
            remedy="resume where the run was made, or start a new run with --init-from this one",
        )


def latest_step(folder: Path) -> int:
    """Finished steps of the checkpoint that LATEST names; 0 without one."""
    pointer = folder / "LATEST"
    name = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else ""
    digits = name.removeprefix("step-")
    return int(digits) if digits.isdecimal() else 0


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
    for path in folder.glob(_local_name("*")):
        path.unlink(missing_ok=True)
    names = {checkpoint_name(step) for step in keep}
    for path in folder.glob("step-*"):
        if path.name not in names:
            shutil.rmtree(path, ignore_errors=True)


def load_networks(adapter: Trainee, tensors: dict[str, Tensor], origin: Path) -> None:
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
    """Inverse of `optimizer_tensors`.

    Raises:
        CheckpointError: the tensors are of other players.
    """
    states: dict[str, dict[int, dict[str, Tensor]]] = {player: {} for player in optimizers}
    for name, value in tensors.items():
        player, index, quantity = name.rsplit(".", 2)
        if player not in states:
            raise CheckpointError(
                "optimizers.safetensors",
                found=f"the optimizer of a player '{player}'",
                expected=f"players {', '.join(optimizers)}",
                remedy="use the configuration the checkpoint was trained with",
            )
        states[player].setdefault(int(index), {})[quantity] = value
    for player, optimizer in optimizers.items():
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state = {
            index: {
                quantity: _laid_out_as(parameters[index], value) for quantity, value in quantities.items()
            }
            for index, quantities in states[player].items()
        }
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """A copy in the parameter's memory format.

    Fused optimisers walk through memory, not through indices: moments in another order than their
    parameter's (channels last) would silently belong to other weights.
    """
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter.detach(), dtype=value.dtype).copy_(value)


def _parts(checkpoint: Checkpoint) -> dict[str, Tensors]:
    return {
        "networks": checkpoint.networks,
        "average": checkpoint.average,
        "optimizers": checkpoint.optimizers,
        "rank-0": checkpoint.local,
    }


def _local_name(rank: int | str) -> str:
    return f"rank-{rank}.safetensors"


def _save_tensors(path: Path, tensors: Tensors) -> None:
    try:
        save_file({key: t.detach().cpu().contiguous() for key, t in tensors.items()}, path)
    except SafetensorError as error:
        # its own error hides the operating system's number, by which a full disk is told
        number = errno.ENOSPC if "os error 28" in str(error) else errno.EIO
        raise OSError(number, str(error), str(path)) from error
