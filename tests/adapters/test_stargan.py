import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.testing import assert_close

from medi2i.adapters import Batch, DomainAdapter, Player, Shared
from medi2i.adapters.stargan import StarGAN, StarGANConfig, share_area
from medi2i.errors import UsageError
from medi2i.networks.stargan_discriminator import Judgement
from medi2i.training.engine import make_accelerator
from medi2i.training.settings import TrainingConfig
from medi2i.training.step import Stepper

SIZE = 16
VIEWS = {"groups": {"view": ("PA", "lateral")}}
TINY: dict[str, Any] = {
    "generator": {"width": 2, "blocks": 1},
    "discriminator": {"width": 2, "layers": 2},
}
# the domain's two bits, then those of PA and lateral
SOURCE_PA, SOURCE_LATERAL = (1.0, 0.0, 1.0, 0.0), (1.0, 0.0, 0.0, 1.0)
TARGET_PA, TARGET_LATERAL, TARGET_UNKNOWN = (0.0, 1.0, 1.0, 0.0), (0.0, 1.0, 0.0, 1.0), (0.0, 1.0, -1.0, -1.0)


def tiny(**changes: Any) -> StarGAN:
    return StarGANConfig.model_validate(TINY | changes).build(seed=3).double()


def images(seed: int, count: int = 2, size: int = SIZE) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, 1, size, size, generator=rng, dtype=torch.float64) - 1


def batch(
    source: Tensor,
    target: Tensor,
    source_codes: tuple[tuple[float, ...], ...] | None = None,
    target_codes: tuple[tuple[float, ...], ...] | None = None,
    **more: Any,
) -> Batch:
    generators = {name: torch.Generator().manual_seed(0) for name in ("host", "device")}
    return Batch(
        source=source,
        target=target,
        source_valid=more.pop("source_valid", torch.ones_like(source)),
        target_valid=more.pop("target_valid", torch.ones_like(target)),
        source_attributes=None if source_codes is None else torch.tensor(source_codes),
        target_attributes=None if target_codes is None else torch.tensor(target_codes),
        **generators,
        **more,
    )


def all_losses(adapter: DomainAdapter, one: Batch) -> dict[str, Tensor]:
    shared = Shared()
    return {
        f"{player.name}/{name}": value
        for player in adapter.players
        for name, value in adapter.losses(player, one, shared).items()
    }


# the paper's networks, concat and fixed, as functions of their weights, for one residual block


Weights = dict[str, nn.Parameter]


def norm(w: Weights, name: str, x: Tensor) -> Tensor:
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=(2, 3), keepdim=True)
    gain, offset = (w[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
    return gain * (x - mean) / (variance + 1e-5).sqrt() + offset


def generate(w: Weights, x: Tensor, code: Tensor) -> Tensor:
    planes = code[:, :, None, None].repeat(1, 1, x.shape[2], x.shape[3])
    x = F.conv2d(torch.cat([x, planes], dim=1), w["stem.0.weight"], padding=3)
    x = norm(w, "stem.1", x).relu()
    for index in (0, 3):
        x = F.conv2d(x, w[f"encode.{index}.weight"], stride=2, padding=1)
        x = norm(w, f"encode.{index + 1}", x).relu()
    hidden = F.conv2d(x, w["transform.0.first.weight"], padding=1)
    hidden = norm(w, "transform.0.first_norm.norm", hidden).relu()
    hidden = F.conv2d(hidden, w["transform.0.second.weight"], padding=1)
    x = x + norm(w, "transform.0.second_norm.norm", hidden)
    for index in (0, 1):
        x = F.conv_transpose2d(x, w[f"decode.{index}.widen.weight"], stride=2, padding=1)
        x = norm(w, f"decode.{index}.norm.norm", x).relu()
    return torch.tanh(F.conv2d(x, w["paint.weight"], padding=3))


def trunk(w: Weights, x: Tensor) -> Tensor:
    for index in (0, 2):
        x = F.conv2d(x, w[f"trunk.{index}.weight"], w[f"trunk.{index}.bias"], stride=2, padding=1)
        x = F.leaky_relu(x, 0.01)
    return x


def score(w: Weights, x: Tensor) -> Tensor:
    return F.conv2d(trunk(w, x), w["realness.weight"], padding=1)


def read(w: Weights, x: Tensor) -> Tensor:
    return F.conv2d(trunk(w, x), w["bits.weight"])[:, :, 0, 0]


def penalty(w: Weights, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    x_hat = (share * real + (1 - share) * fake).detach().requires_grad_(True)
    y = score(w, x_hat)
    (slope,) = torch.autograd.grad(y, x_hat, torch.ones_like(y), create_graph=True)
    return ((slope.reshape(len(real), -1).norm(dim=1) - 1) ** 2).mean()


def multi_label(logits: Tensor, code: Tensor) -> Tensor:
    """The paper's: summed over attributes, divided by the batch size."""
    return F.binary_cross_entropy_with_logits(logits, code, reduction="sum") / len(code)


class Transcription:
    """One iteration of the solver of the paper's code: critic in every step, generator in every n-th."""

    def __init__(self, adapter: StarGAN) -> None:
        self.g: Weights = dict(copy.deepcopy(adapter.generator).named_parameters())
        self.d: Weights = dict(copy.deepcopy(adapter.discriminator).named_parameters())
        self.optimizers = [
            torch.optim.Adam(w.values(), lr=1e-4, betas=(0.5, 0.999)) for w in (self.g, self.d)
        ]

    def minimise(self, losses: dict[str, Tensor], who: int) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        self.optimizers[who].step()

    def critic(self, x: Tensor, c: Tensor, wanted: Tensor, share: Tensor) -> dict[str, Tensor]:
        fake = generate(self.g, x, wanted).detach()
        losses = {
            "adversarial": score(self.d, fake).mean() - score(self.d, x).mean(),
            "penalty": 10 * penalty(self.d, x, fake, share),
            "class": multi_label(read(self.d, x), c),
        }
        self.minimise(losses, 1)
        return {f"discriminator/{name}": value.detach() for name, value in losses.items()}

    def generator(self, x: Tensor, c: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        fake = generate(self.g, x, wanted)
        losses = {
            "adversarial": -score(self.d, fake).mean(),
            "class": multi_label(read(self.d, fake), wanted),
            "reconstruction": 10 * (x - generate(self.g, fake, c)).abs().mean(),
        }
        self.minimise(losses, 0)
        return {f"generator/{name}": value.detach() for name, value in losses.items()}


PUBLISHED: dict[str, Any] = {
    "generator": {"width": 2, "blocks": 1, "conditioning": "concat"},
    "discriminator": {"width": 2, "layers": 2, "heads": "fixed", "size_px": SIZE},
    "label_loss": "binary",
    "critic_steps": 2,
}


def check_same_weights(adapter: StarGAN, g: Weights, d: Weights) -> None:
    assert_close(dict(adapter.generator.named_parameters()), g, rtol=0, atol=1e-6)
    assert_close(dict(adapter.discriminator.named_parameters()), d, rtol=0, atol=1e-6)


def test_three_steps_equal_the_published_updates():
    adapter = tiny(**PUBLISHED)
    published = Transcription(adapter)
    config = TrainingConfig(steps=100, constant=1.0, batch_size=2)
    stepper = Stepper(adapter, config, make_accelerator("cpu", "fp32"), seed=11, epoch_length=10)
    for step in range(3):
        sample = {"source": images(10 + step), "target": images(20 + step)}
        sample |= {f"{name}_valid": torch.ones_like(value) for name, value in sample.items()}
        drawn = stepper.batch(sample, 0)
        x = torch.cat([sample["source"], sample["target"]])
        c = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]).double()
        wanted = c[torch.randperm(4, generator=drawn.host)]
        share = torch.rand(4, 1, 1, 1, generator=drawn.device).double()
        losses = stepper.take([sample])
        expected = published.critic(x, c, wanted, share)
        if step % 2 == 0:
            expected |= published.generator(x, c, wanted)
        assert list(losses) == list(expected)
        for name, value in expected.items():
            assert_close(losses[name], value, rtol=0, atol=1e-6, msg=name)
    check_same_weights(adapter, published.g, published.d)


def gradients(adapter: StarGAN, player: Player, one: Batch) -> dict[str, list[bool]]:
    """Whether each weight gets a gradient that isn't 0 from a player's losses, nothing being frozen."""
    adapter.zero_grad(set_to_none=True)
    torch.stack(list(adapter.losses(player, one, Shared()).values())).sum().backward()
    return {
        name: [p.grad is not None and bool(p.grad.any()) for p in getattr(adapter, name).parameters()]
        for name in ("generator", "discriminator")
    }


def test_in_the_critics_turn_translations_are_detached_and_all_of_the_critic_learns():
    adapter = tiny(attributes=VIEWS)
    one = batch(images(1), images(2), (SOURCE_PA, SOURCE_LATERAL), (TARGET_PA, TARGET_UNKNOWN))
    critic, generator = adapter.players
    found = gradients(adapter, critic, one)
    assert not any(found["generator"])
    assert all(found["discriminator"])
    assert all(gradients(adapter, generator, one)["generator"])


def test_the_generator_has_its_turn_in_every_fifth_step():
    critic, generator = tiny().players
    assert (critic.name, critic.networks, critic.every) == ("discriminator", ("discriminator",), 1)
    assert (generator.name, generator.networks, generator.every) == ("generator", ("generator",), 5)


def test_the_defaults_are_the_published_recipe_but_for_film_and_pooled_heads():
    config = StarGANConfig()
    assert (config.generator.width, config.generator.blocks) == (64, 6)
    assert (config.discriminator.width, config.discriminator.layers) == (64, 6)
    assert (config.generator.conditioning, config.discriminator.heads) == ("film", "pooled")
    assert config.optimizer == config.discriminator_optimizer
    assert (config.optimizer.learning_rate, config.optimizer.betas) == (1e-4, (0.5, 0.999))
    weights = (config.adversarial, config.penalty, config.classification, config.reconstruction)
    assert weights == (1, 10, 1, 10)
    assert config.critic_steps == 5
    assert config.augmentation is None
    assert config.structure_losses == ()


class Told(nn.Module):
    """A pointwise generator that adds a tenth of the weighted code; remembers what it was told."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(1.0, bits + 1).double())
        self.codes: list[Tensor] = []

    def forward(self, image: Tensor, code: Tensor) -> Tensor:
        self.codes.append(code.detach().clone())
        return image + 0.1 * (code.clamp(min=0) @ self.weight)[:, None, None, None]


class Oracle(nn.Module):
    """A critic whose score is the gray level of a 2 x 2 patch and whose bits are fixed."""

    def __init__(self, bits: Tensor) -> None:
        super().__init__()
        self.bits = nn.Parameter(bits.double())
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor, valid: Tensor | None = None, pairs: Tensor | None = None) -> Judgement:
        self.seen.append(image.detach().clone())
        match = None if pairs is None else torch.zeros(len(pairs), 2).double()
        return Judgement(F.avg_pool2d(image, 2), self.bits.expand(image.shape[0], -1), match)


def transparent(bits: tuple[float, ...], **changes: Any) -> StarGAN:
    adapter = tiny(**changes)
    adapter.generator, adapter.discriminator = Told(len(bits)), Oracle(torch.tensor(bits))
    return adapter


def test_the_losses_by_hand():
    adapter = transparent((0.0, 0.0))
    one = batch(torch.zeros(1, 1, 4, 4).double(), torch.full((1, 1, 4, 4), 0.5).double())
    losses = all_losses(adapter, one)
    assert {name: round(value.item(), 6) for name, value in losses.items()} == pytest.approx(
        {
            # codes add 0.1 (source) or 0.2 (target); whatever their order, one of each
            "discriminator/adversarial": 0.15,
            # the sum of four means of four pixels has slope 1/4 at 16 pixels: length 1
            "discriminator/penalty": 0.0,
            "discriminator/class": 0.693147,
            "generator/adversarial": -(0.25 + 0.15),
            "generator/class": 0.693147,
            # 0.1 or 0.2 twice: mean of 0.1 + 0.1, ... is 0.3 whatever the order
            "generator/reconstruction": 3.0,
        },
        abs=1e-5,
    )


def test_the_penalty_can_be_on_the_mean_of_the_patches_instead_of_their_sum():
    # four patches: the mean's slope is a quarter of the sum's, which is 1
    adapter = transparent((0.0, 0.0), penalty_scores="mean")
    losses = all_losses(adapter, batch(images(1, 1, 4), images(2, 1, 4)))
    assert_close(losses["discriminator/penalty"].item(), 10 * 0.75**2, rtol=0, atol=1e-6)


def test_targets_are_the_images_own_codes_in_another_order_the_same_for_both_players():
    adapter = transparent((0.0,) * 4, attributes=VIEWS)
    codes = ((SOURCE_PA, SOURCE_LATERAL), (TARGET_PA, TARGET_UNKNOWN))
    all_losses(adapter, batch(images(1), images(2), *codes))
    of_critic, of_generator, back = adapter.generator.codes
    assert torch.equal(of_critic, of_generator)
    own = torch.tensor(codes).flatten(0, 1)
    assert sorted(of_critic.tolist()) == sorted(own.double().tolist())
    assert not torch.equal(of_critic, own.double())
    assert torch.equal(back[:3], own[:3].double())


def test_unknown_bits_are_reconstructed_with_what_the_critic_reads():
    # it reads 1 : 3 for the view
    adapter = transparent((0.0, 5.0, 0.0, 1.0986123), attributes=VIEWS)
    codes = ((SOURCE_PA, SOURCE_LATERAL), (TARGET_PA, TARGET_UNKNOWN))
    all_losses(adapter, batch(images(1), images(2), *codes))
    expected = torch.tensor([SOURCE_PA, SOURCE_LATERAL, TARGET_PA, (0, 1, 0.25, 0.75)]).double()
    assert_close(adapter.generator.codes[-1], expected)


def test_without_reading_only_images_that_are_wholly_known_are_reconstructed():
    changes = {"attributes": VIEWS, "unlabelled_reconstruction": "none"}
    adapter = transparent((0.0,) * 4, **changes)
    one = batch(images(1, 1), images(2, 1), (SOURCE_PA,), (TARGET_UNKNOWN,))
    losses = all_losses(adapter, one)
    wanted, back = adapter.generator.codes[-2][0], adapter.generator.codes[-1][0]
    weight = torch.arange(1.0, 5.0).double()
    moved = 0.1 * (wanted.clamp(min=0) + back.clamp(min=0)) @ weight  # of the known image alone
    assert_close(losses["generator/reconstruction"].item(), 10 * moved.item())
    nothing = batch(images(1, 1), images(2, 1), ((1.0, 0.0, -1.0, -1.0),), (TARGET_UNKNOWN,))
    assert all_losses(transparent((0.0,) * 4, **changes), nothing)["generator/reconstruction"] == 0


def test_what_no_image_of_a_domain_knows_is_not_guessed():
    sensible = (("source", None), ("target", "PA"), ("target", "lateral"))
    adapter = transparent((0.0,) * 4, attributes=VIEWS | {"sensible": sensible})
    one = batch(images(1, 1), images(2, 1), ((1.0, 0.0, -1.0, -1.0),), (TARGET_UNKNOWN,))
    all_losses(adapter, one)
    assert_close(
        adapter.generator.codes[-1].clamp(min=0), torch.tensor([[1, 0, 0, 0], [0, 1, 0.5, 0.5]]).double()
    )


def test_both_domains_are_judged_over_the_area_that_is_valid_in_both():
    valid = torch.ones(4, 1, 2, 2)
    valid[0, 0, 0, 0] = valid[3, 0, 1, 1] = 0
    joint = share_area(valid, groups=2)
    assert torch.equal(joint[0], joint[2])  # places 0 and 2 are the first of each group
    assert joint[0].flatten().tolist() == [0, 1, 1, 1]
    assert joint[1].flatten().tolist() == joint[3].flatten().tolist() == [1, 1, 1, 0]
    assert valid.sum() == 14


def test_what_is_not_valid_counts_in_no_term():
    source_valid = torch.ones(2, 1, SIZE, SIZE).double()
    source_valid[:, :, :, SIZE // 2 :] = 0
    found = []
    for outside in (0.3, -0.9):
        source = torch.where(source_valid > 0, images(1), torch.full_like(source_valid, outside))
        adapter = transparent((0.0, 0.0), structure_losses=[{"name": "ngf"}])
        found.append(all_losses(adapter, batch(source, images(2), source_valid=source_valid)))
        for seen in adapter.discriminator.seen:
            assert (seen[..., SIZE // 2 :] == -1).all()
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_structure_losses_see_both_domains_and_the_sources_masks():
    losses = [{"name": "gradient_correlation", "weight": 2.0}, {"name": "ngf", "mask_weight": 3.0}]
    masks = {"source_mask": (images(5) > 0).double()}
    plain, asked = tiny(), tiny(structure_losses=losses)
    without = all_losses(plain, batch(images(1), images(2), **masks))
    found = all_losses(asked, batch(images(1), images(2), **masks))
    assert found.keys() - without.keys() == {
        f"generator/{name}_{index}_{side}"
        for index, name in enumerate(("gradient_correlation", "ngf"))
        for side in ("source", "target")
    }
    other = all_losses(tiny(structure_losses=losses), batch(images(1), images(2)))
    changed = {name for name, value in found.items() if not torch.equal(value, other[name])}
    assert changed == {"generator/ngf_1_source"}


def test_structure_losses_can_be_on_the_source_alone():
    expected, found = (
        all_losses(
            tiny(structure_losses=[{"name": "ngf"}], structure_losses_on=on), batch(images(1), images(2))
        )
        for on in ("both", "source")
    )
    assert expected.keys() - found.keys() == {"generator/ngf_0_target"}
    assert_close(found["generator/ngf_0_source"], expected["generator/ngf_0_source"])


def test_a_structure_losses_schedule_counts_the_generators_turns():
    adapter = tiny(critic_steps=5, structure_losses=[{"name": "ngf", "every": 2}])
    due = [
        "generator/ngf_0_source" in all_losses(adapter, batch(images(1), images(2), step=step))
        for step in (0, 5, 10, 15)
    ]
    assert due == [False, True, False, True]


def test_augmentation_is_for_the_critic_only():
    found = {}
    for augmentation in (None, {"probability": 1.0}):
        adapter = transparent((0.0, 0.0), augmentation=augmentation)
        found[augmentation is None] = all_losses(adapter, batch(images(1), images(2)))
    plain, augmented = found[True], found[False]
    changed = {name for name, value in plain.items() if not torch.equal(value, augmented[name])}
    assert "generator/reconstruction" not in changed
    assert {"discriminator/adversarial", "generator/adversarial"} <= changed


def test_translations_go_to_the_first_class_of_the_other_domain():
    sensible = (("target", "lateral"), ("source", "PA"), ("target", "PA"))
    adapter = transparent((0.0,) * 4, attributes=VIEWS | {"sensible": sensible})
    for direction, code in (("source-to-target", TARGET_LATERAL), ("target-to-source", SOURCE_PA)):
        adapter.translate(images(1), direction=direction)
        assert torch.equal(adapter.generator.codes[-1], torch.tensor([code, code]).double())


def test_translations_go_where_attributes_say():
    adapter = tiny(attributes=VIEWS)
    x = images(1)
    codes = [adapter.read_attributes({"view": view}, "source-to-target") for view in ("PA", "lateral")]
    assert [tuple(code.tolist()) for code in codes] == [TARGET_PA, TARGET_LATERAL]
    each = [adapter.translate(x, direction="source-to-target", attributes=code) for code in codes]
    assert (each[0] - each[1]).abs().max() > 1e-3
    both = adapter.translate(x, direction="source-to-target", attributes=torch.stack(codes))
    assert_close(both, torch.stack([each[0][0], each[1][1]]), rtol=0, atol=1e-12)


def test_attributes_that_were_not_trained_are_refused_with_the_nearest():
    adapter = tiny(attributes=VIEWS)
    with pytest.raises(UsageError, match="view: 'latral'; expected PA, lateral; did you mean 'lateral'"):
        adapter.read_attributes({"view": "latral"}, "source-to-target")
    with pytest.raises(UsageError, match="attribute: 'vew'; expected view; did you mean 'view'"):
        adapter.read_attributes({"vew": "PA"}, "source-to-target")
    with pytest.raises(UsageError, match="attribute: 'colour'; expected view; choose one of these"):
        adapter.read_attributes({"colour": "PA"}, "source-to-target")
    with pytest.raises(UsageError, match="trained with the domain only; leave it out"):
        tiny().read_attributes({"view": "PA"}, "source-to-target")
    with pytest.raises(UsageError, match=r"shape \(2,\); expected a code of shape \(4,\)"):
        adapter.translate(images(1), direction="source-to-target", attributes=torch.zeros(2))


def test_a_combination_that_no_class_of_the_domain_has_is_refused_with_those_that_were_seen():
    groups = {"view": ("PA", "lateral"), "vendor": ("a", "b")}
    sensible = (("target", "PA", "b"), ("target", "lateral", "a"), ("source", "PA", None))
    adapter = tiny(attributes={"groups": groups, "sensible": sensible})
    for values, expected in (
        ({}, {"domain": "target", "view": "PA", "vendor": "b"}),
        ({"vendor": "a"}, {"domain": "target", "view": "lateral", "vendor": "a"}),
    ):
        code = adapter.read_attributes(values, "source-to-target")
        assert adapter.attributes.describe(code) == expected
    seen = (
        "--attribute view=lateral, vendor=b: .*target.*expected view=PA, vendor=b or view=lateral, vendor=a;"
    )
    with pytest.raises(UsageError, match=seen):
        adapter.read_attributes({"view": "lateral", "vendor": "b"}, "source-to-target")
    for never in ({"view": "lateral"}, {"vendor": "a"}):  # no source image is lateral, or has a vendor
        with pytest.raises(UsageError, match="of the source domain has; expected view=PA; "):
            adapter.read_attributes(never, "target-to-source")


@pytest.mark.parametrize("shape", [(16, 16), (20, 36), (64, 8)])
def test_any_size_that_is_a_multiple_of_four_is_translated(shape: tuple[int, int]):
    adapter = tiny()
    assert adapter.size_multiple == 4
    x = torch.zeros(1, 1, *shape).double()
    assert adapter.translate(x, direction="source-to-target").shape == x.shape


def test_a_weight_that_can_not_be_is_refused():
    for wrong in ({"adversarial": 0}, {"critic_steps": 0}, {"penalty": -1}, {"label_loss": "hinge"}):
        with pytest.raises(ValidationError):
            StarGANConfig.model_validate(wrong)
