import math

import torch
from torch import nn
from torch.testing import assert_close

from medi2i.networks.initialization import initialize_xavier
from medi2i.networks.resampling import BlurDown, BlurUp
from medi2i.networks.resnet import ResNetGeneratorConfig


def test_halving_blurs_with_1_2_1():
    spike = torch.zeros(1, 2, 6, 6)
    spike[0, 1, 2, 2] = 16
    expected = torch.zeros(1, 2, 3, 3)
    expected[0, 1, 1, 1] = 4  # 2 * 2 / 16 of it
    assert_close(BlurDown()(spike), expected)
    spike[0, 1, 2, 2], spike[0, 1, 1, 1] = 0, 16
    expected[0, 1] = torch.tensor([[4.0, 2, 0], [2, 1, 0], [0, 0, 0]])  # doubled where the border reflects it
    assert_close(BlurDown()(spike), expected)


def test_doubling_is_a_transposed_convolution_with_1_3_3_1():
    x = torch.rand(2, 3, 5, 4, dtype=torch.float64)
    tap = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 4
    kernel = (tap[:, None] * tap).expand(3, 1, 4, 4)
    padded = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    spread = nn.functional.conv_transpose2d(padded, kernel, stride=2, padding=3, groups=3)
    assert_close(BlurUp()(x), spread)


def test_the_antialiased_generator_has_as_many_weights_and_keeps_the_matrix():
    config = ResNetGeneratorConfig(downsample="antialiased", upsample="antialiased", initialization="xavier")
    assert sum(p.numel() for p in config.build(seed=0).parameters()) == 11_365_633
    small = config.model_copy(update={"width": 2, "blocks": 1}).build(seed=0)
    assert small(torch.rand(1, 1, 20, 24)).shape == (1, 1, 20, 24)


def test_xavier_counts_both_fans():
    layer = nn.Conv2d(30, 50, 3)
    initialize_xavier(layer, seed=0)
    expected = 0.02 * math.sqrt(2 / (9 * (30 + 50)))
    assert abs(layer.weight.std().item() / expected - 1) < 0.02
    assert not layer.bias.any()
