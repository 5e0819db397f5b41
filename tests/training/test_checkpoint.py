import errno
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor

from medi2i.errors import CheckpointError, DiskFullError
from medi2i.training import checkpoint as module
from medi2i.training.checkpoint import (
    Checkpoint,
    checkpoint_path,
    has_checkpoint,
    latest_step,
    load_checkpoint,
    load_networks,
    mark_best,
    optimizer_tensors,
    restore_optimizers,
    save_checkpoint,
    save_local,
    sweep,
)
from tests.training.toys import Numbers, tiny_cyclegan


def make(step: int, value: float = 1.0, **state: Any) -> Checkpoint:
    return Checkpoint(
        step=step,
        networks={"weight": torch.full((2, 3), value), "count": torch.tensor(7)},
        average={"weight": torch.full((2, 3), value / 2)},
        optimizers={"player.0.exp_avg": torch.arange(4.0)},
        local={"pool": torch.full((1, 2, 2, 2), value)},
        state=state,
    )


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) and value.dtype == second[name].dtype
        for name, value in first.items()
    )


def content(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def fail_at(monkeypatch: pytest.MonkeyPatch, part: str, error: Exception) -> None:
    """Writing the file `part` fails after half of it is on the disk."""
    save: Callable[..., None] = module.save_file

    def save_file(tensors: dict[str, Tensor], path: Path) -> None:
        save(tensors, path)
        if path.name == f"{part}.safetensors":
            path.write_bytes(path.read_bytes()[:20])
            raise error

    monkeypatch.setattr(module, "save_file", save_file)


def test_what_was_saved_comes_back(tmp_path: Path):
    saved = make(12, best_step=12, note="a fact")
    folder = save_checkpoint(tmp_path, saved)
    loaded = load_checkpoint(tmp_path, rank=0)
    assert folder.name == "step-0000012"
    assert loaded.step == 12
    for part in ("networks", "average", "optimizers", "local"):
        assert equal(getattr(loaded, part), getattr(saved, part))
    assert loaded.state["note"] == "a fact"


def test_a_checkpoint_holds_safetensors_and_json_only(tmp_path: Path):
    folder = save_checkpoint(tmp_path, make(1))
    assert content(folder) == {
        "networks.safetensors",
        "average.safetensors",
        "optimizers.safetensors",
        "rank-0.safetensors",
        "state.json",
    }
    assert json.loads((folder / "state.json").read_text())["format"] == 1


def test_latest_follows_the_last_save_and_best_its_mark(tmp_path: Path):
    assert not has_checkpoint(tmp_path)
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, make(step, step))
    mark_best(tmp_path, 2)
    assert has_checkpoint(tmp_path)
    assert load_checkpoint(tmp_path).step == 3
    assert load_checkpoint(tmp_path, "BEST").step == 2
    assert load_checkpoint(tmp_path, "step-0000001").step == 1


def test_a_step_can_be_saved_again(tmp_path: Path):
    save_checkpoint(tmp_path, make(1, 1.0))
    save_checkpoint(tmp_path, make(1, 2.0))
    assert equal(load_checkpoint(tmp_path).networks, make(1, 2.0).networks)
    assert content(tmp_path) == {"step-0000001", "LATEST"}


@pytest.mark.parametrize("part", ["networks", "optimizers", "rank-0"])
@pytest.mark.parametrize("step", [1, 2])
def test_a_crash_while_saving_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, step: int
):
    save_checkpoint(tmp_path, make(1, 1.0))
    fail_at(monkeypatch, part, RuntimeError("crash"))
    with pytest.raises(RuntimeError, match="crash"):
        save_checkpoint(tmp_path, make(step, 5.0))
    assert equal(load_checkpoint(tmp_path).networks, make(1, 1.0).networks)
    assert content(tmp_path) == {"step-0000001", "LATEST"}


@pytest.mark.parametrize(
    "error",
    [
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
    ],
)
def test_a_full_disk_has_its_own_error_and_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    save_checkpoint(tmp_path, make(1, 1.0))
    fail_at(monkeypatch, "optimizers", error)
    # 24 bytes of weights, 8 of a count, 24 of averages, 16 of moments, 32 of a pool
    with pytest.raises(DiskFullError, match=r"step-0000002: .*104 free bytes; make room"):
        save_checkpoint(tmp_path, make(2))
    assert load_checkpoint(tmp_path).step == 1
    assert content(tmp_path) == {"step-0000001", "LATEST"}


def test_leftovers_of_a_kill_are_swept_and_what_is_kept_stays(tmp_path: Path):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, make(step))
    mark_best(tmp_path, 1)
    (tmp_path / ".medi2i-unfinished-0a1b2c3d-step-0000004").mkdir()
    (tmp_path / ".medi2i-unfinished-0a1b2c3d-LATEST").write_text("step-")
    save_local(tmp_path, 1, {"pool": torch.zeros(1)})
    sweep(tmp_path, keep={1, 3})
    assert content(tmp_path) == {"step-0000001", "step-0000003", "LATEST", "BEST"}


def test_every_process_finds_what_is_its_own(tmp_path: Path):
    for rank in (1, 2):
        save_local(tmp_path, rank, {"pool": torch.full((2,), float(rank))})
    save_checkpoint(tmp_path, make(1), processes=3)
    for rank in (1, 2):
        assert equal(load_checkpoint(tmp_path, rank=rank).local, {"pool": torch.full((2,), float(rank))})
    assert equal(load_checkpoint(tmp_path, rank=0).local, make(1).local)
    assert load_checkpoint(tmp_path, rank=3).local == {}
    assert content(tmp_path) == {"step-0000001", "LATEST"}


@pytest.mark.parametrize("part", ["networks", "average", "optimizers", "rank-0"])
@pytest.mark.parametrize("damage", ["cut in half", "cut in its head", "empty", "missing"])
def test_a_damaged_tensor_file_is_said_to_be_damaged(tmp_path: Path, part: str, damage: str):
    path = save_checkpoint(tmp_path, make(1)) / f"{part}.safetensors"
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(whole[: {"cut in half": len(whole) - 8, "cut in its head": 12, "empty": 0}[damage]])
    said = "no rank-0.safetensors" if (part, damage) == ("rank-0", "missing") else "a damaged checkpoint"
    with pytest.raises(CheckpointError, match=f"step-0000001: {said}"):
        load_checkpoint(tmp_path, rank=0)


def test_pieces_of_training_images_are_asked_for_by_an_exact_resume_only(tmp_path: Path):
    (save_checkpoint(tmp_path, make(1)) / "rank-0.safetensors").unlink()
    loaded = load_checkpoint(tmp_path)
    assert equal(loaded.networks, make(1).networks)
    assert loaded.local == {}
    with pytest.raises(CheckpointError, match=r"an exact resume needs; .* start a new run with --init-from"):
        load_checkpoint(tmp_path, rank=0)


@pytest.mark.parametrize(("pointer", "step"), [("step-0000123", 123), ("step-x", 0), ("", 0)])
def test_the_latest_step_is_read_from_the_pointer_alone(tmp_path: Path, pointer: str, step: int):
    assert latest_step(tmp_path) == 0
    (tmp_path / "LATEST").write_text(pointer)
    assert latest_step(tmp_path) == step


@pytest.mark.parametrize(
    "text", ["", '{"format": 1, "ste', "[]", '{"format": 1}', '{"format": 1, "step": "x"}']
)
def test_a_damaged_state_is_said_to_be_damaged(tmp_path: Path, text: str):
    (save_checkpoint(tmp_path, make(1)) / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match="a damaged checkpoint"):
        load_checkpoint(tmp_path)


def test_a_pickle_is_never_opened(tmp_path: Path):
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "exploded",)

    folder = save_checkpoint(tmp_path, make(1))
    (folder / "networks.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="a damaged checkpoint"):
        load_checkpoint(tmp_path)
    torch.save({"bomb": Bomb()}, folder / "networks.safetensors")
    with pytest.raises(CheckpointError, match="a damaged checkpoint"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_another_format_names_both_versions(tmp_path: Path):
    path = save_checkpoint(tmp_path, make(1)) / "state.json"
    path.write_text(json.dumps({"format": 99, "step": 1}))
    with pytest.raises(CheckpointError, match="checkpoint format 99; expected format 1"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("which", ["LATEST", "BEST", "step-0000009"])
def test_a_missing_checkpoint_is_named(tmp_path: Path, which: str):
    with pytest.raises(CheckpointError, match=f"no checkpoint '{which}'"):
        load_checkpoint(tmp_path, which)


def test_a_pointer_can_not_lead_out_of_the_folder(tmp_path: Path):
    save_checkpoint(tmp_path / "other", make(1))
    inside = tmp_path / "run"
    inside.mkdir()
    (inside / "LATEST").write_text("../other/step-0000001")
    with pytest.raises(CheckpointError, match="no checkpoint 'LATEST'"):
        checkpoint_path(inside)


@pytest.mark.parametrize(
    "weights",
    [
        lambda: dict(Numbers().state_dict()),
        lambda: dict(tiny_cyclegan(generator={"width": 4, "blocks": 1}).state_dict()),
        dict,
    ],
    ids=["another method", "another width", "nothing"],
)
def test_weights_of_another_method_or_size_are_refused(weights: Callable[[], dict[str, Tensor]]):
    with pytest.raises(
        CheckpointError, match=r"weights of another network .*; expected a CycleGAN as configured"
    ):
        load_networks(tiny_cyclegan(), weights(), Path("run/checkpoints"))


def test_optimizers_of_other_players_are_refused():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(CheckpointError, match="player 'judge'; expected players painter"):
        restore_optimizers({"painter": optimizer}, {"judge.0.step": torch.tensor(1.0)})


def test_a_restored_optimizer_takes_the_same_next_step():
    def build() -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
        rng = torch.Generator().manual_seed(0)
        weight = torch.randn(4, 3, 3, 3, generator=rng).contiguous(memory_format=torch.channels_last)
        parameter = torch.nn.Parameter(weight)
        return parameter, torch.optim.Adam([parameter], fused=True)

    def step(parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer, seed: int) -> None:
        gradient = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
        parameter.grad = gradient.contiguous(memory_format=torch.channels_last)
        optimizer.step()

    (first, first_optimizer), (second, second_optimizer) = build(), build()
    for seed in (1, 2):
        step(first, first_optimizer, seed)
    stored = {
        name: value.clone(memory_format=torch.contiguous_format)
        for name, value in optimizer_tensors({"a.b": first_optimizer}).items()
    }
    with torch.no_grad():
        second.copy_(first)
    restore_optimizers({"a.b": second_optimizer}, stored)
    step(first, first_optimizer, 3)
    step(second, second_optimizer, 3)
    assert torch.equal(first, second)
