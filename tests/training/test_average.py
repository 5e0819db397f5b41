import pytest
import torch
from torch import nn
from torch.testing import assert_close

from medi2i.training.average import WeightAverage


def one_weight(value: float) -> nn.Linear:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return network


def test_the_average_follows_its_recurrence():
    network = one_weight(0.0)
    average = WeightAverage({"g": network}, decay=0.5)
    expected = 0.0
    for step, value in ((1, 1.0), (2, 4.0), (30, -2.0)):
        nn.init.constant_(network.weight, value)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))  # 2/11, 3/12, then the configured 0.5
        expected = decay * expected + (1 - decay) * value
    assert_close(average.tensors(), {"g.weight": torch.tensor([[expected]])})


def test_a_long_training_uses_the_configured_decay():
    network = one_weight(1.0)
    average = WeightAverage({"g": network}, decay=0.9)
    nn.init.constant_(network.weight, 2.0)
    average.update(10_000)
    assert_close(average.tensors()["g.weight"].item(), 0.9 * 1.0 + 0.1 * 2.0)


def test_averaged_weights_apply_for_a_while_and_the_trained_ones_come_back():
    network = one_weight(1.0)
    average = WeightAverage({"g": network}, decay=0.9)
    nn.init.constant_(network.weight, 5.0)
    with pytest.raises(RuntimeError, match="inside"), average.applied():
        assert network.weight.item() == 1.0
        raise RuntimeError("inside")
    assert network.weight.item() == 5.0


def test_a_restored_average_goes_on_as_the_first_would_have():
    networks = one_weight(1.0), one_weight(3.0)
    first, second = (WeightAverage({"g": network}, decay=0.9) for network in networks)
    second.load({name: value.clone() for name, value in first.tensors().items()})
    for average, network in ((first, networks[0]), (second, networks[1])):
        nn.init.constant_(network.weight, 7.0)
        average.update(3)
    assert torch.equal(first.tensors()["g.weight"], second.tensors()["g.weight"])
