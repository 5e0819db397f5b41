import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from medi2i.errors import ExitCode, InterruptedRunError
from medi2i.training.checkpoint import load_checkpoint
from medi2i.training.interruption import StopRequest, stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_becomes_a_request_and_the_old_handlers_come_back(number: signal.Signals):
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
    assert signal.getsignal(number) is before


def test_a_second_interrupt_stops_at_once():
    with pytest.raises(KeyboardInterrupt), stop_on_signals():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_another_thread_can_work_without_signals():
    found: list[StopRequest] = []

    def work() -> None:
        with stop_on_signals() as stop:
            found.append(stop)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not found[0].requested


def test_a_request_leaves_with_the_exit_code_of_interruptions():
    stop = StopRequest()
    stop.raise_if_requested("run", "continue with --resume")
    stop.requested = True
    with pytest.raises(InterruptedRunError, match="run: a request to stop; expected to finish; continue"):
        stop.raise_if_requested("run", "continue with --resume")
    assert InterruptedRunError.exit_code == ExitCode.INTERRUPTED == 5


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not path.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert path.exists(), process.communicate(timeout=5)


def test_sigterm_ends_a_training_with_code_5_and_a_checkpoint_of_its_last_step(
    domains_folder: Path, tmp_path: Path
):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "medi2i", "adapt", "--device", "cpu", "--out", str(run)]
    command += ["--src", str(domains_folder / "src"), "--tgt", str(domains_folder / "tgt")]
    command += ["--config", str(domains_folder / "tiny.yaml"), "--set", "training.steps=100000"]
    command += ["--set", "training.validate_every=100000", "--set", "training.log_every=1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            wait_for(run / "log.jsonl", process, 60)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 5, said
    step = load_checkpoint(run / "checkpoints").step
    assert step >= 1
    assert re.search(rf"^error: .*continue at step {step} with --resume$", said, re.MULTILINE)
    assert "Traceback" not in said
    assert len((run / "log.jsonl").read_text().splitlines()) == step
