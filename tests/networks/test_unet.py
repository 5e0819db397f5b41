import torch
from torch import nn
from torch.testing import assert_close

from medi2i.networks.discriminator import PatchGANConfig
from medi2i.networks.unet import UNetGeneratorConfig


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_u_net_has_the_published_number_of_weights():
    ours = count(UNetGeneratorConfig().build(seed=0))
    # the authors' code has three channels at both ends, and gain and offset in each batch norm
    more_channels = 2 * (64 * 16) + 2 * (128 * 16) + 2
    norms = [128, 256, 512, 512, 512, 512, 512, 512, 512, 512, 256, 128, 64]
    assert ours + more_channels + 2 * sum(norms) == 54_413_955  # "54.414 M" in its logs


def test_a_conditional_discriminator_has_one_more_channel_and_sees_it():
    config = PatchGANConfig()
    plain, conditional = config.build(seed=0), config.build(seed=0, conditional=True)
    assert count(conditional) - count(plain) == 64 * 16
    image, condition = torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32)
    small = PatchGANConfig(width=2, layers=1, detail_gain=2.0).build(seed=0, conditional=True)
    assert not torch.allclose(small(image, condition), small(image, 0 * condition))
    assert not torch.allclose(small(image, condition), small(0 * image, condition))


def test_two_levels_are_written_out():
    network = UNetGeneratorConfig(width=2, levels=2).build(seed=1).double()
    weights = [p.detach() for p in network.parameters() if p.dim() == 4]
    image = torch.rand(1, 1, 8, 8, dtype=torch.float64) * 2 - 1
    f = nn.functional
    first = f.conv2d(image, weights[0], stride=2, padding=1)
    second = f.conv2d(f.leaky_relu(first, 0.2), weights[1], stride=2, padding=1)
    up = f.instance_norm(f.conv_transpose2d(f.relu(second), weights[2], stride=2, padding=1))
    joined = f.relu(torch.cat([first, up], dim=1))
    expected = torch.tanh(f.conv_transpose2d(joined, weights[3], stride=2, padding=1))
    assert_close(network(image), expected)


def test_the_deepest_map_may_be_one_pixel():
    network = UNetGeneratorConfig(width=2, levels=5).build(seed=0)
    assert network.size_multiple == 32
    image = torch.rand(1, 1, 32, 64)
    assert network(image).shape == image.shape
    assert torch.isfinite(network(torch.rand(1, 1, 32, 32))).all()


def test_dropout_draws_from_its_generator_alone_and_is_off_without_one():
    network = UNetGeneratorConfig(width=2, levels=5, dropout=0.5).build(seed=0)
    image = torch.rand(1, 1, 64, 64)

    def drawn(seed: int) -> torch.Tensor:
        return network(image, torch.Generator().manual_seed(seed))

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert torch.equal(network(image), network(image))
    never = UNetGeneratorConfig(width=2, levels=5, dropout=0.0).build(seed=0)
    assert torch.equal(never(image, torch.Generator()), network(image))


def test_dropout_keeps_the_mean_of_what_it_leaves():
    from medi2i.networks.unet import _dropped

    ones = torch.ones(1, 1, 200, 200)
    left = _dropped(ones, 0.25, torch.Generator().manual_seed(0))
    assert set(left.unique().tolist()) == {0.0, 4 / 3} or left.unique().numel() == 2
    assert abs(left.mean().item() - 1) < 0.02
    assert abs((left == 0).float().mean().item() - 0.25) < 0.01
