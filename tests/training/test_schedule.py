import pytest
from pydantic import ValidationError
from torch.testing import assert_close

from medi2i.training.settings import TrainingConfig


@pytest.mark.parametrize(
    ("epoch", "factor"),
    [
        (0, 1.0),
        (98, 1.0),
        (99, 1.0),  # the hundredth epoch: max(0, 99 + 1 - 100) = 0
        (100, 1 - 1 / 101),
        (149, 1 - 50 / 101),
        (199, 1 - 100 / 101),
    ],
)
def test_in_epochs_the_learning_rate_is_the_published_rule(epoch: int, factor: float):
    config = TrainingConfig(epochs=200)
    for step in (epoch * 7, epoch * 7 + 6):  # 7 steps an epoch, and it changes with the epoch only
        assert_close(config.learning_rate_factor(step, 7), factor)


def test_in_steps_the_same_rule_holds_at_every_step():
    config = TrainingConfig(steps=10, constant=0.5)
    factors = [config.learning_rate_factor(step, 1000) for step in range(10)]
    assert_close(factors, [1.0] * 5 + [1 - k / 6 for k in range(1, 6)])


@pytest.mark.parametrize(("constant", "last"), [(0.0, 1 - 4 / 5), (1.0, 1.0)])
def test_the_constant_part_may_be_nothing_or_everything(constant: float, last: float):
    config = TrainingConfig(steps=4, constant=constant)
    assert_close(config.learning_rate_factor(3, 1), last)
    assert_close(config.learning_rate_factor(0, 1), 1.0 if constant else 1 - 1 / 5)


def test_the_last_step_still_learns():
    for config in (TrainingConfig(steps=1), TrainingConfig(steps=2, constant=0.0), TrainingConfig(epochs=1)):
        total = config.total_steps(3)
        assert config.learning_rate_factor(total - 1, 3) > 0


def test_an_epoch_shows_the_longer_domain_once():
    assert TrainingConfig(epochs=3).total_steps(10) == 30
    assert TrainingConfig(epochs=3, batch_size=2, accumulate=2).total_steps(10) == 6  # 10 // 4 steps each
    assert TrainingConfig(epochs=3, batch_size=16).total_steps(10) == 3
    assert TrainingConfig(steps=7, batch_size=2).total_steps(10) == 7


@pytest.mark.parametrize("lengths", [{}, {"epochs": 2, "steps": 2}])
def test_exactly_one_length_has_to_be_given(lengths: dict[str, int]):
    with pytest.raises(ValidationError, match="either 'epochs' or 'steps'"):
        TrainingConfig(**lengths)
