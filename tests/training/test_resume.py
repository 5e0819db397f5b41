import json
from pathlib import Path

import pytest
import torch

from medi2i.adapters import DomainAdapter
from medi2i.errors import InterruptedRunError
from medi2i.training.checkpoint import load_checkpoint
from medi2i.training.interruption import StopRequest
from medi2i.training.loop import Hooks
from medi2i.training.settings import TrainingConfig
from tests.training.toys import Numbers, run_training, stored_bytes, tiny_cyclegan

STEPS = 7
# everything that has a state: averages, clipped gradients, micro-batches, several images, a schedule
CONFIG = TrainingConfig(
    steps=STEPS,
    batch_size=2,
    accumulate=2,
    average=0.9,
    gradient_norm=1.0,
    validate_every=3,
    preview_every=1,
    log_every=1,
)


def adapter() -> DomainAdapter:
    """Random draws in every place that has them: pools, noise, augmentation."""
    return tiny_cyclegan(noise_guard=0.05, augmentation={})


def random_step(seed: int) -> int:
    return int(torch.randint(1, STEPS, (), generator=torch.Generator().manual_seed(seed)))


def stop_after(step: int, stop: StopRequest) -> Hooks:
    def preview(adapter: DomainAdapter, now: int) -> None:
        stop.requested = now == step

    return Hooks(preview=preview)


def crash_after(step: int) -> Hooks:
    def preview(adapter: DomainAdapter, now: int) -> None:
        if now == step:
            raise RuntimeError("the power is gone")

    return Hooks(preview=preview)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    run_training(adapter(), folder, CONFIG)
    return folder


def logged(folder: Path) -> list[tuple[int, dict[str, float]]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line["losses"]) for line in lines]


@pytest.mark.parametrize(("workers", "seed"), [(0, 1), (0, 2), (2, 3)])
def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one(
    uninterrupted: Path, tmp_path: Path, workers: int, seed: int
):
    stop, step = StopRequest(), random_step(seed)
    with pytest.raises(InterruptedRunError, match=f"continue at step {step} with --resume"):
        run_training(adapter(), tmp_path, CONFIG, hooks=stop_after(step, stop), stop=stop, workers=workers)
    assert load_checkpoint(tmp_path / "checkpoints").step == step
    result = run_training(adapter(), tmp_path, CONFIG, workers=workers)
    assert result.steps == STEPS
    assert stored_bytes(tmp_path, STEPS) == stored_bytes(uninterrupted, STEPS)
    assert logged(tmp_path) == logged(uninterrupted)


def test_a_killed_run_goes_on_from_its_last_checkpoint_and_equals_an_uninterrupted_one(
    uninterrupted: Path, tmp_path: Path
):
    with pytest.raises(RuntimeError, match="the power is gone"):
        run_training(adapter(), tmp_path, CONFIG, hooks=crash_after(5))
    assert load_checkpoint(tmp_path / "checkpoints").step == 3
    assert [step for step, _ in logged(tmp_path)] == [1, 2, 3, 4, 5]
    run_training(adapter(), tmp_path, CONFIG)
    assert stored_bytes(tmp_path, STEPS) == stored_bytes(uninterrupted, STEPS)
    assert logged(tmp_path) == logged(uninterrupted)


def test_the_resumed_weights_are_not_those_of_a_run_that_starts_over(uninterrupted: Path, tmp_path: Path):
    changed = CONFIG.model_copy(update={"gradient_norm": None})
    run_training(adapter(), tmp_path, changed)
    assert stored_bytes(tmp_path, STEPS) != stored_bytes(uninterrupted, STEPS)


def test_a_finished_run_has_nothing_left_to_train(uninterrupted: Path):
    before = stored_bytes(uninterrupted, STEPS)
    assert run_training(adapter(), uninterrupted, CONFIG).steps == STEPS
    assert stored_bytes(uninterrupted, STEPS) == before


def test_a_stop_in_the_step_of_a_checkpoint_keeps_the_checkpoint_before(tmp_path: Path):
    stop = StopRequest()
    with pytest.raises(InterruptedRunError):
        run_training(Numbers(), tmp_path, CONFIG, hooks=stop_after(6, stop), stop=stop)
    names = sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*"))
    assert names == ["step-0000003", "step-0000006"]


def test_a_checkpoint_that_a_crash_left_moved_aside_is_found(tmp_path: Path):
    config = TrainingConfig(steps=2)
    run_training(Numbers(), tmp_path, config)
    checkpoints = tmp_path / "checkpoints"
    before = stored_bytes(tmp_path, 2)
    (checkpoints / "step-0000002").rename(checkpoints / ".medi2i-replaced-step-0000002")
    assert run_training(Numbers(), tmp_path, config).steps == 2
    assert stored_bytes(tmp_path, 2) == before


def test_best_is_mended_after_a_crash_between_a_save_and_its_mark(tmp_path: Path):
    config = TrainingConfig(steps=2)
    run_training(Numbers(), tmp_path, config)
    best = tmp_path / "checkpoints" / "BEST"
    best.write_text("step-0000001")
    run_training(Numbers(), tmp_path, config)
    assert best.read_text() == "step-0000002"
    assert load_checkpoint(tmp_path / "checkpoints", "BEST").step == 2
