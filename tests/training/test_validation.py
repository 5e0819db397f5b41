from pathlib import Path

import pytest
import torch

from medi2i.adapters import DomainAdapter
from medi2i.training.checkpoint import load_checkpoint
from medi2i.training.loop import Hooks
from medi2i.training.settings import TrainingConfig, Validation
from tests.training.toys import Numbers, run_training, tiny_cyclegan


@pytest.mark.parametrize(
    ("one", "other", "better"),
    [
        ((2.0, 0.9), None, True),
        ((9.0, 0.1), None, True),
        ((1.0, 0.8), (2.0, 0.9), True),  # both keep enough structure: the nearer wins
        ((2.0, 0.9), (1.0, 0.8), False),
        ((1.0, 0.8), (1.0, 0.8), False),  # a draw keeps the earlier
        ((9.0, 0.75), (1.0, 0.74), True),  # enough structure beats any distance
        ((1.0, 0.74), (9.0, 0.75), False),
        ((9.0, 0.7), (1.0, 0.6), True),  # neither has enough: the more structure wins
        ((1.0, 0.6), (9.0, 0.7), False),
    ],
)
def test_the_rule_for_the_best_checkpoint(
    one: tuple[float, float], other: tuple[float, float] | None, better: bool
):
    reference = Validation(*other) if other else None
    assert Validation(*one).better_than(reference, 0.75) is better


def test_best_follows_the_rule_and_outlives_later_checkpoints(tmp_path: Path):
    scores = [
        Validation(5, 0.5),
        Validation(4, 0.8),
        Validation(3, 0.9),
        Validation(1, 0.6),
        Validation(6, 0.9),
    ]
    given = iter(scores)
    config = TrainingConfig(steps=5, validate_every=1)
    result = run_training(Numbers(), tmp_path, config, hooks=Hooks(validate=lambda adapter: next(given)))
    assert (result.best_step, result.best) == (3, scores[2])
    checkpoints = tmp_path / "checkpoints"
    assert load_checkpoint(checkpoints, "BEST").step == 3
    assert load_checkpoint(checkpoints).step == 5
    kept = sorted(path.name for path in checkpoints.glob("step-*"))
    assert kept == ["step-0000003", "step-0000004", "step-0000005"]


def test_the_best_score_outlives_a_resume(tmp_path: Path):
    first = Hooks(validate=lambda adapter: Validation(1.0, 0.9))
    later = Hooks(validate=lambda adapter: Validation(2.0, 0.9))
    run_training(Numbers(), tmp_path, TrainingConfig(steps=2), hooks=first)
    result = run_training(Numbers(), tmp_path, TrainingConfig(steps=4), hooks=later)
    assert (result.best_step, result.best) == (2, Validation(1.0, 0.9))
    assert load_checkpoint(tmp_path / "checkpoints", "BEST").step == 2


def test_without_a_validation_the_last_checkpoint_is_the_best(tmp_path: Path):
    result = run_training(Numbers(), tmp_path, TrainingConfig(steps=3, validate_every=2))
    assert result.best_step == 3
    assert load_checkpoint(tmp_path / "checkpoints", "BEST").step == 3


def test_validation_sees_averaged_weights_without_gradients_and_training_goes_on_with_its_own(tmp_path: Path):
    seen: list[float] = []

    def validate(adapter: DomainAdapter) -> Validation:
        assert not adapter.training
        assert not torch.is_grad_enabled()
        seen.append(adapter.translate(torch.ones(1, 1, 1, 1), direction="source-to-target").item())
        return Validation(1.0, 1.0)

    config = TrainingConfig(steps=2, validate_every=1, average=0.5)
    watched, plain = Numbers(), Numbers()
    run_training(watched, tmp_path / "watched", config, hooks=Hooks(validate=validate))
    run_training(plain, tmp_path / "plain", config)
    checkpoints = [load_checkpoint(tmp_path / "watched/checkpoints", f"step-{step:07d}") for step in (1, 2)]
    assert seen == [c.average["painter.weight"].item() for c in checkpoints]
    assert seen[-1] != checkpoints[-1].networks["painter.weight"].item()
    assert torch.equal(watched.state_dict()["painter.weight"], plain.state_dict()["painter.weight"])
    assert watched.training


def test_previews_come_when_due_and_at_the_end(tmp_path: Path):
    steps: list[int] = []
    hooks = Hooks(preview=lambda adapter, step: steps.append(step))
    run_training(Numbers(), tmp_path, TrainingConfig(steps=5, preview_every=2), hooks=hooks)
    assert steps == [2, 4, 5]


def test_facts_are_in_every_checkpoint(tmp_path: Path):
    hooks = Hooks(facts={"adapter": {"name": "numbers"}})
    run_training(Numbers(), tmp_path, TrainingConfig(steps=2, validate_every=1), hooks=hooks)
    for step in (1, 2):
        state = load_checkpoint(tmp_path / "checkpoints", f"step-{step:07d}").state
        assert state["adapter"] == {"name": "numbers"}


def test_validation_changes_nothing_of_the_training(tmp_path: Path):
    """Not even a hook that draws random numbers: the steps have generators of their own."""

    def validate(adapter: DomainAdapter) -> Validation:
        torch.rand(7)
        return Validation(1.0, 1.0)

    config = TrainingConfig(steps=3, validate_every=1)
    weights = []
    for name, hooks in (("watched", Hooks(validate=validate)), ("plain", Hooks())):
        adapter = tiny_cyclegan(augmentation={}, noise_guard=0.1)
        run_training(adapter, tmp_path / name, config, hooks=hooks)
        weights.append(adapter.state_dict())
    for (name, one), other in zip(weights[0].items(), weights[1].values(), strict=True):
        assert torch.equal(one, other), name
