import copy

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from medi2i.networks.stargan import StarGANGenerator, StarGANGeneratorConfig

SWAPPED = (torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))


def build(**changes: object) -> StarGANGenerator:
    return StarGANGeneratorConfig.model_validate({"width": 4, "blocks": 2} | changes).build(bits=2, seed=1)


def image(size: int, count: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(size)
    return 2 * torch.rand(count, 1, size, size, generator=rng) - 1


def change_by_code(generator: StarGANGenerator, size: int) -> Tensor:
    """How much each pixel changes when the bits are swapped."""
    with torch.no_grad():
        first, second = (generator(image(size), code) for code in SWAPPED)
    return (first - second).abs()[0, 0]


def center_to_border(change: Tensor) -> float:
    """Mean change of the central 16 x 16 px over that of the outermost 8 rows and columns."""
    middle, border = change.shape[0] // 2, torch.ones_like(change, dtype=torch.bool)
    border[8:-8, 8:-8] = False
    center = change[middle - 8 : middle + 8, middle - 8 : middle + 8].mean()
    return float(center / change[border].mean())


@pytest.mark.parametrize(("channels", "expected"), [(1, 8_417_984), (3, 8_430_528)])
def test_the_published_generator_has_the_published_number_of_weights(channels: int, expected: int):
    generator = StarGANGeneratorConfig(conditioning="concat").build(bits=5, seed=0, channels=channels)
    assert sum(p.numel() for p in generator.parameters()) == expected
    assert not list(generator.buffers())  # no running statistics


def test_film_costs_a_row_of_gains_and_offsets_a_bit():
    film = sum(p.numel() for p in build().parameters())
    concat = sum(p.numel() for p in build(conditioning="concat").parameters())
    norms = 2 * 2 * [16][0] + 8 + 4  # channels of two blocks with two norms, and of two doublings
    # (2 bits + 1 bias) x (gain, offset) instead of gain and offset; and no code planes at the 7 x 7 stem
    assert film - concat == norms * (2 * 3 - 2) - 2 * 4 * 49


@pytest.mark.parametrize("size", [128, 256, 512])
def test_with_film_swapping_the_code_changes_the_center_pixel_at_any_size(size: int):
    change = change_by_code(build(), size)
    assert change[size // 2, size // 2] > 0.01
    assert center_to_border(change) > 0.8


def test_with_concat_the_code_fades_from_the_border_with_the_size():
    ratios = [center_to_border(change_by_code(build(conditioning="concat"), size)) for size in (64, 128, 256)]
    assert ratios[0] > ratios[1] > ratios[2]
    assert ratios[2] < 0.5


def test_the_gains_and_offsets_of_a_code_are_those_of_its_bits():
    generator = build(blocks=0, width=1)
    doubling = generator.decode[1]
    numbers = doubling.norm.modulation.numbers
    with torch.no_grad():
        numbers.weight.copy_(torch.tensor([[0.5, -0.25], [0.125, 1.0]]))
        numbers.bias.copy_(torch.tensor([0.0, 2.0]))
    x = torch.tensor([[[[1.0, -1.0]]]])
    # bit 1: gain 1 + 0.5, offset 2 + 0.125; half of bit 2: gain 1 - 0.125, offset 2 + 0.5
    for code, expected in (([1.0, 0.0], [3.625, 0.625]), ([0.0, 0.5], [3.375, 1.625])):
        assert_close(doubling.norm.modulation(x, torch.tensor([code])).flatten(), torch.tensor(expected))


@pytest.mark.parametrize("conditioning", ["film", "concat"])
def test_an_unknown_group_is_one_without_a_bit_set(conditioning: str):
    generator = build(conditioning=conditioning)
    unknown = generator(image(16), torch.tensor([[-1.0, -1.0]]))
    assert torch.equal(unknown, generator(image(16), torch.zeros(1, 2)))
    assert not torch.equal(unknown, generator(image(16), SWAPPED[0]))


def test_each_image_is_made_by_its_own_code_alone():
    generator = build().double()
    images, codes = image(16, 2).double(), torch.cat(SWAPPED).double()
    together = generator(images, codes)
    assert_close(together[1:], generator(images[1:], codes[1:]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("conditioning", ["film", "concat"])
def test_an_untrained_generator_with_residual_output_gives_the_image_back(conditioning: str):
    generator = build(residual_output=True, full_resolution_skip=True, conditioning=conditioning)
    assert_close(generator(image(16), SWAPPED[0]), 0.97 * image(16), rtol=0, atol=1e-6)


def test_with_film_the_code_scales_what_comes_through_the_skip():
    generator = build(full_resolution_skip=True, upsample="resize_conv")
    for name, parameter in generator.named_parameters():
        if "modulation" in name and not name.startswith("join"):
            torch.nn.init.zeros_(parameter)  # the code acts nowhere else
    assert change_by_code(generator, 32).min() >= 0
    assert change_by_code(generator, 32).mean() > 0.001


def test_the_same_seed_draws_the_same_generator_and_another_seed_another():
    config = StarGANGeneratorConfig(width=2, blocks=1)
    first, second, other = (config.build(bits=3, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])


def test_weights_have_the_spread_of_the_authors_initialisation():
    generator = StarGANGeneratorConfig(width=64, blocks=1).build(bits=2, seed=0)
    weight = generator.transform[0].first.weight.detach()
    assert_close(weight.std().item(), (3 * 256 * 9) ** -0.5, rtol=0.01, atol=0)


def test_rectangles_are_translated_and_the_input_stays_as_it_was():
    generator, x = build(), torch.rand(1, 1, 12, 20) * 2 - 1
    before = copy.deepcopy(x)
    assert generator(x, SWAPPED[0]).shape == (1, 1, 12, 20)
    assert torch.equal(x, before)
