from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from medi2i.adapters import Batch, CycleGANConfig, Shared
from tests.adapters.transparent import TINY, all_losses, batch, constant, image, transparent


def test_every_loss_of_constant_images_is_hand_computed():
    losses = all_losses(transparent(), batch(constant(0.5), constant(-0.25)))
    expected = {
        # G_st(0.5) = 0.3, G_ts(-0.25) = -0.5: raw logits, so -0.5 is 1.5 away from 1
        "generators/adversarial_target": (0.3 - 1) ** 2,
        "generators/adversarial_source": (-0.5 - 1) ** 2,
        # back again: 2 * 0.3 = 0.6 and 0.6 * -0.5 = -0.3
        "generators/cycle_source": 10 * abs(0.6 - 0.5),
        "generators/cycle_target": 10 * abs(-0.3 + 0.25),
        # G_st(-0.25) = -0.15, G_ts(0.5) = 1
        "generators/identity_target": 5 * abs(-0.15 + 0.25),
        "generators/identity_source": 5 * abs(1.0 - 0.5),
        "discriminators/target": 0.5 * ((-0.25 - 1) ** 2 + 0.3**2),
        "discriminators/source": 0.5 * ((0.5 - 1) ** 2 + 0.5**2),
    }
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(losses[name].item(), value, rtol=0, atol=1e-6)


def test_weights_that_leave_nothing_to_learn_are_refused():
    weights = ("adversarial_source_to_target", "adversarial_target_to_source", "cycle_source", "cycle_target")
    nothing = dict.fromkeys(weights, 0.0)
    with pytest.raises(ValidationError, match="nothing to learn"):
        CycleGANConfig.model_validate(nothing)
    for name in weights:
        assert getattr(CycleGANConfig.model_validate(nothing | {name: 1.0}), name) == 1


def test_the_defaults_are_the_published_recipe():
    config = CycleGANConfig()
    assert (config.generator.width, config.generator.blocks, config.generator.upsample) == (
        64,
        9,
        "transposed",
    )
    assert (config.discriminator.width, config.discriminator.layers) == (64, 3)
    assert config.optimizer == config.discriminator_optimizer
    assert (config.optimizer.learning_rate, config.optimizer.betas) == (2e-4, (0.5, 0.999))
    assert (config.cycle_source, config.cycle_target, config.identity) == (10, 10, 0.5)
    assert (config.pool_size, config.cycle_loss, config.noise_guard) == (50, "l1", 0)
    assert config.augmentation is None
    assert config.structure_losses == ()


def test_generators_play_before_discriminators():
    adapter = CycleGANConfig(**TINY).build(seed=0)
    assert [player.name for player in adapter.players] == ["generators", "discriminators"]
    assert adapter.players[0].networks == ("source_to_target", "target_to_source")
    assert adapter.players[1].networks == ("target_discriminator", "source_discriminator")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"adversarial_source_to_target": 0, "adversarial_target_to_source": 0},
            {
                "generators/cycle_source",
                "generators/cycle_target",
                "generators/identity_source",
                "generators/identity_target",
            },
        ),
        (
            {"adversarial_target_to_source": 0, "cycle_source": 0, "cycle_target": 0},
            {"generators/adversarial_target", "discriminators/target"},
        ),
        (
            {"adversarial_target_to_source": 0, "cycle_target": 0},
            {
                "generators/adversarial_target",
                "generators/cycle_source",
                "generators/identity_source",
                "discriminators/target",
            },
        ),
        (
            {"adversarial_target_to_source": 0, "cycle_source": 0, "identity": 0},
            {"generators/adversarial_target", "generators/cycle_target", "discriminators/target"},
        ),
    ],
    ids=["cycle alone", "GAN alone", "GAN and forward cycle", "GAN and backward cycle"],
)
def test_the_published_ablations_are_weights_of_zero(changes: dict[str, Any], expected: set[str]):
    losses = all_losses(transparent(**changes), batch(constant(0.5), constant(-0.25)))
    assert losses.keys() == expected


def test_cycles_alone_need_no_discriminator():
    weights = {"adversarial_source_to_target": 0, "adversarial_target_to_source": 0}
    adapter = CycleGANConfig(**TINY, **weights).build(seed=0)
    assert [player.name for player in adapter.players] == ["generators"]


def test_discriminators_see_detached_translations():
    adapter = transparent()
    shared = Shared()
    one = batch(constant(0.5), constant(-0.25))
    adapter.losses(adapter.players[0], one, shared)
    losses = adapter.losses(adapter.players[1], one, shared)
    assert not any(value.requires_grad for value in losses.values())  # these discriminators have no weights


def test_discriminators_see_what_the_pool_returns():
    adapter = transparent(pool_size=1)
    stored = torch.cat([constant(0.75)[:1], torch.ones(1, 1, 8, 8)], dim=1)
    adapter.load_local_state({"target_pool": stored, "source_pool": stored})
    one = batch(constant(0.5)[:1], constant(-0.25)[:1])
    seeds = iter(range(100))
    found = set()
    for seed in seeds:
        again = Batch(**(vars(one) | {"host": torch.Generator().manual_seed(seed)}))
        adapter.load_local_state({"target_pool": stored, "source_pool": stored})
        losses = all_losses(adapter, again)
        found.add(round(losses["discriminators/target"].item(), 6))
        if len(found) == 2:
            break
    real = (-0.25 - 1) ** 2
    assert found == {round(0.5 * (real + 0.3**2), 6), round(0.5 * (real + 0.75**2), 6)}


def test_the_noise_guard_hides_the_translation_from_the_way_back():
    one = batch(image(0), image(1))
    plain, guarded = all_losses(transparent(), one), all_losses(transparent(noise_guard=0.1), one)
    assert guarded["generators/cycle_source"] != plain["generators/cycle_source"]
    for name in ("generators/adversarial_target", "generators/identity_source", "discriminators/target"):
        assert torch.equal(guarded[name], plain[name])


def test_two_structure_losses_of_one_kind_do_not_overwrite_each_other():
    adapter = transparent(structure_losses=[{"name": "mind", "weight": 1}, {"name": "mind", "weight": 3}])
    losses = all_losses(adapter, batch(image(0), image(1)))
    assert_close(losses["generators/mind_1_source"], 3 * losses["generators/mind_0_source"])
    assert "generators/mind_1_target" in losses
    alone = transparent(structure_losses=[{"name": "mind"}], structure_losses_on="source")
    assert "generators/mind_0_target" not in all_losses(alone, batch(image(0), image(1)))


def test_each_direction_translates_with_its_generator():
    adapter = transparent()
    assert_close(adapter.translate(constant(0.5), direction="source-to-target"), constant(0.3))
    assert_close(adapter.translate(constant(0.25), direction="target-to-source"), constant(0.5))
    back = adapter.reconstruct(constant(0.5), constant(0.3), "source-to-target")
    assert back is not None
    assert_close(back, constant(0.6))


def test_the_four_networks_start_from_four_different_draws():
    adapter = CycleGANConfig(**TINY).build(seed=7)
    weights = {name: value for name, value in adapter.state_dict().items() if value.dim() == 4}
    first = [
        next(v for n, v in weights.items() if n.startswith(network))
        for network in (
            "source_to_target",
            "target_to_source",
            "target_discriminator",
            "source_discriminator",
        )
    ]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[2], first[3])
    again = CycleGANConfig(**TINY).build(seed=7)
    assert all(torch.equal(v, again.state_dict()[name]) for name, v in weights.items())
