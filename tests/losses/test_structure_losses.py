import pytest
import torch
from pydantic import Field
from torch.testing import assert_close

from medi2i.config import Config, validate_config
from medi2i.errors import ConfigError
from medi2i.losses import GradientCorrelationConfig, MINDConfig, StructureLossConfig, TranslationPair
from medi2i.losses.base import pixel_weight
from medi2i.similarity.gradient_correlation import gradient_correlation
from medi2i.similarity.mind import mind_distance


class Losses(Config):
    structure_losses: tuple[StructureLossConfig, ...] = Field(default=())


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_union_builds_the_named_loss_from_plain_values():
    values = {
        "structure_losses": [
            {"name": "mind", "weight": 5, "neighbours": 8},
            {"name": "gradient_correlation"},
            {"name": "mind", "dilation": 3},
        ]
    }
    first, second, third = validate_config(values, Losses, "test").structure_losses
    assert isinstance(first, MINDConfig)
    assert (first.weight, first.neighbours, third.dilation) == (5, 8, 3)
    assert isinstance(second, GradientCorrelationConfig)
    assert (second.weight, second.mask_weight) == (1, 0)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "mint"}, "'gradient_correlation', 'lncc', 'lsesim', 'mind'"),
        ({"name": "mind", "mask_wieght": 1}, "did you mean 'mask_weight'"),
        ({"name": "mind", "neighbours": 6}, "4 or 8"),
        ({"name": "mind", "weight": -1}, "greater than or equal to 0"),
        ({"name": "mind", "weight": float("inf")}, "weight: Input should be a finite number"),
        ({"name": "mind", "mask_weight": float("nan")}, "mask_weight: Input should be a finite number"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(entry: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        validate_config({"structure_losses": [entry]}, Losses, "test")


@pytest.mark.parametrize("config", [GradientCorrelationConfig(), MINDConfig()], ids=lambda c: c.name)
def test_an_identical_translation_costs_nothing(config: StructureLossConfig):
    x = image(2, 1, 16, 16)
    assert_close(config.build()(TranslationPair(x, x.clone())), torch.tensor(0.0), rtol=0, atol=1e-6)


def test_losses_are_batch_means_of_their_similarity_without_the_weight():
    x, y = image(2, 1, 16, 16), image(2, 1, 16, 16, seed=1)
    pair = TranslationPair(x, y)
    assert_close(GradientCorrelationConfig(weight=7).build()(pair), 1 - gradient_correlation(x, y).mean())
    options = {"patch_radius": 2, "dilation": 1, "neighbours": 8}
    assert_close(MINDConfig(weight=7, **options).build()(pair), mind_distance(x, y, **options).mean())


def test_inversion_costs_gradient_correlation_two_and_mind_nothing():
    x = image(1, 1, 16, 16)
    pair = TranslationPair(x, -x)
    assert_close(GradientCorrelationConfig().build()(pair), torch.tensor(2.0))
    assert_close(MINDConfig().build()(pair), torch.tensor(0.0), rtol=0, atol=1e-5)


def test_pixels_in_any_structure_weigh_one_plus_the_mask_weight():
    x = image(1, 1, 2, 3)
    mask = torch.zeros(1, 2, 2, 3, dtype=torch.bool)
    mask[0, 0, 0, 0] = mask[0, 1, 0, 0] = True  # overlap counts once
    mask[0, 1, 1, 2] = True
    valid = torch.tensor([[[[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]]])
    weight = pixel_weight(TranslationPair(x, x, mask, valid), 3.0)
    assert_close(weight, torch.tensor([[[[4.0, 1.0, 0.0], [1.0, 1.0, 4.0]]]]))
    assert_close(pixel_weight(TranslationPair(x, x, mask), 3.0)[0, 0, 0], torch.tensor([4.0, 1.0, 1.0]))
    assert pixel_weight(TranslationPair(x, x, mask, valid), 0.0) is valid
    assert pixel_weight(TranslationPair(x, x, None, None), 3.0) is None


@pytest.mark.parametrize("kind", [GradientCorrelationConfig, MINDConfig])
def test_damage_inside_a_structure_costs_more_with_mask_weight(kind: type[MINDConfig]):
    x = image(1, 1, 32, 32)
    y = x.clone()
    y[..., 8:20, 8:20] = image(1, 1, 12, 12, seed=1)
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:20, 8:20] = 1
    pair = TranslationPair(x, y, mask)
    assert kind(mask_weight=4).build()(pair) > 1.2 * kind().build()(pair)
    elsewhere = TranslationPair(x, y, 1 - mask)
    assert kind(mask_weight=4).build()(elsewhere) < kind().build()(pair)


@pytest.mark.parametrize("kind", [GradientCorrelationConfig, MINDConfig])
def test_only_valid_pixels_reach_the_gradient(kind: type[MINDConfig]):
    x, y = image(1, 1, 20, 20), image(1, 1, 20, 20, seed=1).requires_grad_()
    valid = torch.ones_like(x)
    valid[..., 10:] = 0
    kind().build()(TranslationPair(x, y, None, valid)).backward()
    assert_close(y.grad[..., 10:], torch.zeros(1, 1, 20, 10))
    assert y.grad[..., :7].abs().min() > 0
