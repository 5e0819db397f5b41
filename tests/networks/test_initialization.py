import torch
from torch import nn
from torch.testing import assert_close

from medi2i.networks.initialization import initialize_kaiming, initialize_normal
from medi2i.networks.resnet import ResNetGeneratorConfig


def test_weights_are_normal_with_the_published_deviation_and_biases_are_zero():
    network = nn.Sequential(nn.Conv2d(16, 64, 5), nn.ConvTranspose2d(64, 16, 5), nn.Linear(160, 160))
    initialize_normal(network, seed=0)
    for layer in network:
        assert isinstance(layer.weight, torch.Tensor)
        # 25 600 draws: the deviation of their standard deviation is 0.02 / sqrt(2 * 25600) = 9e-5
        assert_close(layer.weight.std().item(), 0.02, rtol=0, atol=5e-4)
        assert_close(layer.weight.mean().item(), 0.0, rtol=0, atol=7e-4)
        assert torch.count_nonzero(layer.bias) == 0


def test_the_draw_depends_on_the_seed_and_not_on_the_global_state():
    config = ResNetGeneratorConfig(width=2, blocks=1)
    torch.manual_seed(1)
    first = config.build(seed=5).state_dict()
    torch.manual_seed(2)
    second = config.build(seed=5).state_dict()
    other = config.build(seed=6).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["paint.1.weight"], other["paint.1.weight"])


def test_kaiming_keeps_the_size_of_activations_through_leaky_layers():
    layers = [layer for _ in range(6) for layer in (nn.Conv2d(64, 64, 3, padding=1), nn.LeakyReLU(0.2))]
    network = nn.Sequential(*layers)
    initialize_kaiming(network, slope=0.2, seed=0)
    x = torch.randn(2, 64, 40, 40, generator=torch.Generator().manual_seed(0))
    # He et al. 2015: the second moment stays; the border, which loses to zero padding, is left out
    inner = network(x)[..., 8:-8, 8:-8]
    assert 0.7 < inner.square().mean().item() < 1.4
