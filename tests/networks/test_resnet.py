import pytest
import torch
from torch import nn
from torch.testing import assert_close

from medi2i.networks.resnet import ResNetGenerator, ResNetGeneratorConfig


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 1


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def published_parameters(blocks: int, width: int = 64) -> int:
    """c7s1-w, d2w, d4w, R4w x blocks, u2w, uw, c7s1-1 of the paper's appendix, each with its biases."""
    down = (49 * 1 + 1) * width + (9 * width + 1) * 2 * width + (9 * 2 * width + 1) * 4 * width
    residual = blocks * 2 * (9 * 4 * width + 1) * 4 * width
    up = (9 * 4 * width + 1) * 2 * width + (9 * 2 * width + 1) * width + 49 * width + 1
    return down + residual + up


@pytest.mark.parametrize(("blocks", "expected"), [(6, 7_825_153), (9, 11_365_633)])
def test_the_generator_has_the_published_number_of_parameters(blocks: int, expected: int):
    assert published_parameters(blocks) == expected
    assert parameters(ResNetGenerator(ResNetGeneratorConfig(blocks=blocks))) == expected


def test_nearest_upsampling_leaves_the_number_of_parameters():
    config = ResNetGeneratorConfig(width=8, blocks=2, upsample="resize_conv")
    assert parameters(ResNetGenerator(config)) == published_parameters(2, width=8)


def test_instance_norm_has_no_affine_weights_and_no_running_statistics():
    generator = ResNetGenerator(ResNetGeneratorConfig(width=4, blocks=2))
    norms = [m for m in generator.modules() if isinstance(m, nn.InstanceNorm2d)]
    assert len(norms) == 1 + 2 + 2 * 2 + 2
    assert not any(norm.affine or norm.track_running_stats for norm in norms)
    assert not list(generator.buffers())


def test_nothing_follows_the_sum_of_a_residual_block():
    generator = ResNetGeneratorConfig(width=4, blocks=1).build(seed=0)
    x = image(1, 16, 8, 8)
    assert (generator.transform(x) < 0).any()
    for module in generator.transform.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    assert torch.equal(generator.transform(x), x)


@pytest.mark.parametrize("upsample", ["transposed", "resize_conv"])
@pytest.mark.parametrize("shape", [(8, 8), (36, 20), (64, 44)])
def test_multiples_of_four_keep_their_size(upsample: str, shape: tuple[int, int]):
    generator = ResNetGeneratorConfig(width=2, blocks=1, upsample=upsample).build(seed=0)
    out = generator(image(2, 1, *shape))
    assert out.shape == (2, 1, *shape)
    assert out.abs().max() <= 1


def test_other_sizes_do_not_so_that_the_size_multiple_is_needed():
    generator = ResNetGeneratorConfig(width=2, blocks=0).build(seed=0)
    assert ResNetGenerator.size_multiple == 4
    assert generator(image(1, 1, 30, 32)).shape == (1, 1, 32, 32)


def test_a_residual_output_starts_as_the_identity_within_its_range():
    generator = ResNetGeneratorConfig(width=4, blocks=1, residual_output=True).build(seed=0)
    x = image(2, 1, 16, 16)
    assert_close(generator(x), 0.97 * x, rtol=0, atol=1e-6)
    assert_close(generator(3 * x), 0.97 * (3 * x).clamp(-1, 1), rtol=0, atol=1e-6)


def test_a_residual_output_can_be_trained_away_from_the_identity():
    generator = ResNetGeneratorConfig(width=4, blocks=1, residual_output=True).build(seed=0)
    generator(image(1, 1, 16, 16)).sum().backward()
    gradient = generator.paint[-1].weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_without_it_the_untrained_generator_is_no_identity():
    generator = ResNetGeneratorConfig(width=4, blocks=1).build(seed=0)
    x = image(1, 1, 16, 16)
    assert (generator(x) - 0.97 * x).abs().mean() > 0.1


def test_the_images_of_a_batch_do_not_influence_each_other():
    generator = ResNetGeneratorConfig(width=4, blocks=1).build(seed=0).double()
    x = image(2, 1, 16, 16).double()
    assert_close(generator(x)[1:], generator(x[1:]), rtol=0, atol=1e-12)


def test_half_precision_inside_still_gives_float32_gray_levels():
    generator = ResNetGeneratorConfig(width=4, blocks=1, residual_output=True).build(seed=0)
    x = image(1, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        out = generator(x)
    assert out.dtype == torch.float32
    assert_close(out, 0.97 * x, rtol=0, atol=1e-6)


def test_a_full_resolution_skip_lets_the_last_layers_see_single_pixels():
    x = torch.zeros(1, 1, 32, 32)
    checkerboard = 0.1 * (1 - 2 * ((torch.arange(32)[:, None] + torch.arange(32)) % 2)).float().expand(
        1, 1, 32, 32
    )
    skipping = ResNetGeneratorConfig(width=4, blocks=1, full_resolution_skip=True).build(seed=0)
    stem = skipping.stem(x + checkerboard)
    joined = skipping.join(torch.cat([torch.zeros_like(stem), stem], dim=1))
    # the alternation of neighbouring pixels survives to the painting layer
    assert (joined[..., 8:24, 8:23] - joined[..., 8:24, 9:24]).abs().max() > 1e-3
    assert skipping(x).shape == x.shape


def test_the_skip_starts_as_the_identity_with_a_residual_output():
    generator = ResNetGeneratorConfig(
        width=4, blocks=1, residual_output=True, full_resolution_skip=True
    ).build(seed=0)
    x = image(1, 1, 16, 16)
    assert_close(generator(x), 0.97 * x, rtol=0, atol=1e-5)
