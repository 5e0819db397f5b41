"""Two processes share a training: their networks agree, and it can be interrupted and resumed."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from medi2i.training.checkpoint import load_checkpoint
from tests.training.toys import stored_bytes

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def run_two(folder: Path, *, stop_after: int = 0) -> None:
    """The script in two processes, as a launcher would start them."""
    shared = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    folder.mkdir(exist_ok=True)
    script = Path(__file__).with_name("one_of_two.py")
    command = [sys.executable, "-W", "ignore", str(script), str(folder / "run"), str(stop_after), str(folder)]
    processes = [
        subprocess.Popen(
            command,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        ended = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [code for _, code in ended] == [0, 0], ended


@pytest.mark.slow
def test_two_processes_agree_and_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    run_two(whole)
    first, second = (load_file(whole / f"weights-{rank}.safetensors") for rank in range(2))
    assert all(first[name].equal(second[name]) for name in first)

    run_two(halves, stop_after=4)
    assert load_checkpoint(halves / "run/checkpoints").step == 10  # where the two agree on a stop
    run_two(halves)
    assert stored_bytes(halves / "run", 14) == stored_bytes(whole / "run", 14)
    pools = [load_checkpoint(whole / "run/checkpoints", rank=rank).local for rank in range(2)]
    again = [load_checkpoint(halves / "run/checkpoints", rank=rank).local for rank in range(2)]
    assert not pools[0]["target_pool"].equal(pools[1]["target_pool"])  # each process has its own images
    assert all(again[rank][name].equal(pools[rank][name]) for rank in range(2) for name in pools[rank])
