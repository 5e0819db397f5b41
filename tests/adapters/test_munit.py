import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.testing import assert_close

from medi2i.adapters import Batch, DomainAdapter, MUNITConfig, Player, Shared
from medi2i.adapters.munit import MUNIT
from medi2i.errors import UsageError
from medi2i.training.engine import make_accelerator
from medi2i.training.settings import TrainingConfig
from medi2i.training.step import Stepper

TINY: dict[str, Any] = {
    "generator": {"width": 2, "blocks": 1, "style_size": 3, "mlp_width": 4},
    "discriminator": {"width": 2, "layers": 2, "scales": 3},
}
SIZE = 32
Weights = dict[str, nn.Parameter]


def tiny(**changes: Any) -> MUNIT:
    return MUNITConfig.model_validate(TINY | changes).build(seed=3)


def images(seed: int, count: int = 2, size: int = SIZE) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, 1, size, size, generator=rng, dtype=torch.float64) - 1


def batch(
    source: Tensor, target: Tensor, source_valid: Tensor | None = None, target_valid: Tensor | None = None
) -> Batch:
    return Batch(
        source=source,
        target=target,
        source_valid=torch.ones_like(source) if source_valid is None else source_valid,
        target_valid=torch.ones_like(target) if target_valid is None else target_valid,
        host=torch.Generator().manual_seed(0),
        device=torch.Generator().manual_seed(0),
    )


def all_losses(adapter: DomainAdapter, one: Batch) -> dict[str, Tensor]:
    shared = Shared()
    return {
        f"{player.name}/{name}": value
        for player in adapter.players
        for name, value in adapter.losses(player, one, shared).items()
    }


# the paper's networks as functions of their weights, for one residual block


def conv(w: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
    kernel = w[f"{name}.weight"]
    side = 1 if stride == 2 else kernel.shape[-1] // 2
    return F.conv2d(
        F.pad(x, (side, side, side, side), mode="reflect"), kernel, w[f"{name}.bias"], stride=stride
    )


def norm(x: Tensor) -> Tensor:
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=(2, 3), keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


def encode_content(w: Weights, x: Tensor) -> Tensor:
    x = norm(conv(w, "stem.0", x)).relu()
    for name in ("down.0", "down.3"):
        x = norm(conv(w, name, x, stride=2)).relu()
    return x + norm(conv(w, "blocks.0.second", norm(conv(w, "blocks.0.first", x)).relu()))


def encode_style(w: Weights, x: Tensor) -> Tensor:
    x = conv(w, "layers.0", x).relu()
    for name in ("layers.2", "layers.4", "layers.6", "layers.8"):
        x = conv(w, name, x, stride=2).relu()
    x = x.mean(dim=(2, 3))
    return x @ w["code.weight"][:, :, 0, 0].T + w["code.bias"]


def decode(w: Weights, content: Tensor, style: Tensor | None) -> Tensor:
    channels = content.shape[1]
    looks = [(torch.zeros(1, channels), torch.ones(1, channels))] * 2
    if style is not None:
        s = style
        for name in ("style_mlp.0", "style_mlp.2", "style_mlp.4"):
            s = s @ w[f"{name}.weight"].T + w[f"{name}.bias"]
            s = s if name.endswith("4") else s.relu()
        numbers = s.reshape(len(s), 2, 2, channels)  # image, norm, (beta, gamma), channel
        looks = [(numbers[:, i, 0], numbers[:, i, 1]) for i in range(2)]

    def adaptive(x: Tensor, index: int) -> Tensor:
        beta, gamma = looks[index]
        return gamma[:, :, None, None] * norm(x) + beta[:, :, None, None]

    hidden = adaptive(conv(w, "blocks.0.first", content), 0).relu()
    x = content + adaptive(conv(w, "blocks.0.second", hidden), 1)
    for first, second in (("up.1", "up.2"), ("up.5", "up.6")):
        x = conv(w, first, x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        numbers_less_one = x[0].numel() - 1
        std = (((x - mean) ** 2).sum(dim=(1, 2, 3), keepdim=True) / numbers_less_one).sqrt()
        gain, offset = (w[f"{second}.{part}"].view(1, -1, 1, 1) for part in ("gain", "offset"))
        x = (gain * (x - mean) / (std + 1e-5) + offset).relu()
    return torch.tanh(conv(w, "paint", x))


def judge(w: Weights, x: Tensor) -> list[Tensor]:
    logits = []
    for scale in range(3):
        y = x
        for layer in (0, 2):
            y = F.leaky_relu(conv(w, f"scales.{scale}.{layer}", y, stride=2), 0.2)
        last = f"scales.{scale}.4"
        logits.append(F.conv2d(y, w[f"{last}.weight"], w[f"{last}.bias"]))
        inside = F.avg_pool2d(torch.ones_like(x), 3, 2, 1)
        x = F.avg_pool2d(x, 3, 2, 1) / inside
    return logits


def l1(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).abs().mean()


def judged(w: Weights, x: Tensor, wanted: float) -> Tensor:
    """The sum over scales, without one half."""
    scales = [((logits - wanted) ** 2).mean() for logits in judge(w, x)]
    return scales[0] + scales[1] + scales[2]


class Transcription:
    """`dis_update` and then `gen_update` of the paper's code: a is the source, b the target."""

    def __init__(self, adapter: DomainAdapter) -> None:
        names = [name for player in adapter.players for name in player.networks]
        self.w: dict[str, Weights] = {
            name: dict(copy.deepcopy(getattr(adapter, name)).named_parameters()) for name in names
        }
        judges = [p for name in names if "discriminator" in name for p in self.w[name].values()]
        others = [p for name in names if "discriminator" not in name for p in self.w[name].values()]
        self.optimizer_d, self.optimizer_g = (
            torch.optim.Adam(group, lr=1e-4, betas=(0.5, 0.999), weight_decay=1e-4)
            for group in (judges, others)
        )

    def step(self, a: Tensor, b: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for player, losses_of, optimizer in (
            ("discriminators", self.discriminators, self.optimizer_d),
            ("generators", self.generators, self.optimizer_g),
        ):
            losses = losses_of(a, b, rng)
            self.optimizer_d.zero_grad()
            self.optimizer_g.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            optimizer.step()
            found |= {f"{player}/{name}": value.detach() for name, value in losses.items()}
        return found

    def contest(self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor) -> dict[str, Tensor]:
        return {
            f"{name}": judged(self.w[f"{name}_discriminator"], fake.detach(), 0)
            + judged(self.w[f"{name}_discriminator"], real, 1)
            for name, real, fake in (("target", b, fake_b), ("source", a, fake_a))
        }

    def draw(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = torch.randn(2 * count, 3, generator=rng).double()
        return drawn[:count], drawn[count:]

    def discriminators(self, a: Tensor, b: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        w = self.w
        s_a, s_b = self.draw(len(a), rng)
        fake_b = decode(w["target_decoder"], encode_content(w["source_content_encoder"], a), s_b)
        fake_a = decode(w["source_decoder"], encode_content(w["target_content_encoder"], b), s_a)
        return self.contest(a, b, fake_a, fake_b)

    def generators(self, a: Tensor, b: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        w = self.w
        s_a, s_b = self.draw(len(a), rng)
        c_a, c_b = (
            encode_content(w["source_content_encoder"], a),
            encode_content(w["target_content_encoder"], b),
        )
        own_a, own_b = encode_style(w["source_style_encoder"], a), encode_style(w["target_style_encoder"], b)
        x_ab, x_ba = decode(w["target_decoder"], c_a, s_b), decode(w["source_decoder"], c_b, s_a)
        c_ab = encode_content(w["target_content_encoder"], x_ab)
        c_ba = encode_content(w["source_content_encoder"], x_ba)
        return {
            "adversarial_target": judged(w["target_discriminator"], x_ab, 1),
            "adversarial_source": judged(w["source_discriminator"], x_ba, 1),
            "image_source": 10 * l1(decode(w["source_decoder"], c_a, own_a), a),
            "image_target": 10 * l1(decode(w["target_decoder"], c_b, own_b), b),
            "content_source": l1(c_ab, c_a),
            "content_target": l1(c_ba, c_b),
            "style_target": l1(encode_style(w["target_style_encoder"], x_ab), s_b),  # s_2, not s_1
            "style_source": l1(encode_style(w["source_style_encoder"], x_ba), s_a),
            "cycle_source": 10 * l1(decode(w["source_decoder"], c_ab, own_a), a),
            "cycle_target": 10 * l1(decode(w["target_decoder"], c_ba, own_b), b),
        }


def check_two_steps(adapter: DomainAdapter, published: Transcription, batch_size: int) -> None:
    """The loop's two steps against the transcription's: losses by name, then every weight."""
    config = TrainingConfig(steps=100, constant=1.0, batch_size=batch_size)
    stepper = Stepper(adapter, config, make_accelerator("cpu", "fp32"), seed=11, epoch_length=10)
    before = {name: value.clone() for name, value in adapter.state_dict().items()}
    for step in range(2):
        sample = {"source": images(10 + step, batch_size), "target": images(20 + step, batch_size)}
        sample |= {f"{name}_valid": torch.ones_like(value) for name, value in sample.items()}
        rng = stepper.batch(sample, 0).device  # both draw the same
        losses = stepper.take([sample])
        expected = published.step(sample["source"], sample["target"], rng)
        assert losses.keys() == expected.keys()
        assert next(iter(losses)).startswith("discriminators/")
        for name, value in expected.items():
            assert_close(losses[name], value, rtol=0, atol=1e-6, msg=name)
    for network, weights in published.w.items():
        ours = dict(getattr(adapter, network).named_parameters())
        assert_close(ours, dict(weights), rtol=0, atol=1e-6)
        # only kernels: a bias in front of instance norm gets no gradient
        assert not any(
            torch.equal(p, before[f"{network}.{n}"]) for n, p in ours.items() if n.endswith("weight")
        )


@pytest.mark.parametrize("batch_size", [1, 2])
def test_two_steps_equal_the_published_updates(batch_size: int):
    adapter = tiny().double()
    check_two_steps(adapter, Transcription(adapter), batch_size)


def gradients_by_network(adapter: DomainAdapter, player: Player, one: Batch) -> dict[str, list[bool]]:
    """Whether each kernel gets a gradient that isn't 0 from a player's losses, nothing being frozen."""
    adapter.zero_grad(set_to_none=True)
    torch.stack(list(adapter.losses(player, one, Shared()).values())).sum().backward()
    names = [name for each in adapter.players for name in each.networks]
    return {
        name: [
            p.grad is not None and bool(p.grad.any())
            for n, p in getattr(adapter, name).named_parameters()
            if n.endswith(("weight", "gain", "offset"))
        ]
        for name in names
    }


def check_gradients(adapter: DomainAdapter) -> None:
    discriminators, generators = adapter.players
    one = batch(images(1), images(2))
    found = gradients_by_network(adapter, discriminators, one)
    for name in generators.networks:
        assert not any(found[name]), name  # translations are detached
    for name in discriminators.networks:
        assert all(found[name]), name
    found = gradients_by_network(adapter, generators, one)
    for name in generators.networks:
        assert all(found[name]), name


def test_each_player_moves_its_own_networks_and_detached_translations_move_nobody():
    check_gradients(tiny().double())


def check_turns(adapter: DomainAdapter) -> None:
    """Gradients that each player's optimiser is given by the loop."""
    given: dict[str, dict[str, bool]] = {}

    class Watched(Stepper):
        def _update(self, player: Player, optimizer: torch.optim.Optimizer, factor: float) -> None:
            given[player.name] = {
                n: p.grad is not None for n, p in self.adapter.named_parameters() if p.requires_grad
            }
            super()._update(player, optimizer, factor)

    stepper = Watched(
        adapter, TrainingConfig(steps=2), make_accelerator("cpu", "fp32"), seed=0, epoch_length=4
    )
    sample = {"source": images(1), "target": images(2)}
    stepper.take([sample | {f"{name}_valid": torch.ones_like(sample[name]) for name in sample}])
    assert list(given) == ["discriminators", "generators"]
    for player, gradients in given.items():
        for name, has in gradients.items():
            assert has == (("discriminator" in name) == (player == "discriminators")), (player, name)


def test_in_a_turn_nobody_else_gets_a_gradient():
    check_turns(tiny().double())


def test_the_defaults_are_the_published_recipe():
    config = MUNITConfig()
    generator, judges = config.generator, config.discriminator
    assert (generator.width, generator.blocks, generator.style_size, generator.mlp_width) == (64, 4, 8, 256)
    assert (judges.width, judges.layers, judges.scales, judges.initialization) == (64, 4, 3, "normal")
    assert config.optimizer == config.discriminator_optimizer
    assert (config.optimizer.learning_rate, config.optimizer.betas) == (1e-4, (0.5, 0.999))
    assert config.optimizer.weight_decay == 1e-4
    weights = (config.image_reconstruction, config.content_reconstruction, config.style_reconstruction)
    assert (*weights, config.adversarial, config.cycle) == (10, 1, 1, 1, 10)
    assert not (generator.full_resolution_skip or judges.detail_gain or config.augmentation)
    assert config.structure_losses == ()


@pytest.mark.parametrize(
    ("key", "gone"),
    [
        ("image_reconstruction", "image"),
        ("content_reconstruction", "content"),
        ("style_reconstruction", "style"),
        ("cycle", "cycle"),
    ],
)
def test_a_weight_of_zero_takes_both_terms_away_and_no_other(key: str, gone: str):
    one = batch(images(0), images(1))
    everything = all_losses(tiny().double(), one)
    fewer = all_losses(tiny(**{key: 0}).double(), batch(images(0), images(1)))
    left = {f"generators/{gone}_{domain}" for domain in ("source", "target")}
    assert everything.keys() - fewer.keys() == left
    assert all(torch.equal(value, everything[name]) for name, value in fewer.items())


class Plain(nn.Module):
    """A content encoder that leaves the image as it is."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return (image,)


class MeanGray(nn.Module):
    """A style encoder: the valid pixels' mean."""

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        return ((image * valid).sum(dim=(1, 2, 3)) / valid.sum(dim=(1, 2, 3)))[:, None].expand(-1, 3)


class Fold(nn.Module):
    """A pointwise decoder: an invalid pixel can't bleed into its neighbours."""

    def forward(self, content: tuple[Tensor, ...], style: Tensor) -> Tensor:
        return torch.sin(4 * content[0] + style[:, :1, None, None])


class Gray(nn.Module):
    """A discriminator of two scales whose logits are mean gray levels."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return [F.avg_pool2d(image, 2), F.avg_pool2d(image, 4)]


def transparent(**changes: Any) -> MUNIT:
    adapter = tiny(**changes)
    for name in ("source", "target"):
        setattr(adapter, f"{name}_content_encoder", Plain())
        setattr(adapter, f"{name}_style_encoder", MeanGray())
        setattr(adapter, f"{name}_decoder", Fold())
        setattr(adapter, f"{name}_discriminator", Gray())
    return adapter


def check_validity(make: Callable[..., DomainAdapter], count: int) -> None:
    """Pixels outside the valid area change no loss; those inside change every one."""

    def losses(source: Tensor, target: Tensor) -> dict[str, Tensor]:
        adapter = make(structure_losses=[{"name": "mind"}], augmentation={"probability": 1.0})
        return all_losses(adapter, batch(source, target, source_valid, target_valid))

    source, target = images(0), images(1)
    source_valid, target_valid = torch.ones_like(source), torch.ones_like(target)
    source_valid[..., :5] = 0
    target_valid[0, :, 23:, 9:] = 0
    clean = losses(source, target)
    dirty = losses(
        torch.where(source_valid > 0, source, images(2)), torch.where(target_valid > 0, target, images(3))
    )
    other = losses(images(4), images(5))
    assert len(clean) == count
    for name, value in clean.items():
        assert_close(value, dirty[name], rtol=0, atol=1e-12, msg=name)
        assert value > 0 and abs(value - other[name]) > 1e-9, name


def test_pixels_outside_the_valid_area_change_no_loss():
    check_validity(transparent, 2 + 10 + 2)


def test_losses_of_constant_images_are_hand_computed():
    adapter = transparent()
    one = batch(torch.full((1, 1, 8, 8), 0.5), torch.full((1, 1, 8, 8), -0.25))
    rng = torch.Generator().manual_seed(0)
    first, again = torch.randn(2, 3, generator=rng), torch.randn(2, 3, generator=rng)
    losses = all_losses(adapter, one)
    fake = torch.sin(4 * 0.5 + first[1, 0])  # the discriminators' draw; the target's style is the second
    assert_close(losses["discriminators/target"], 2 * (fake**2 + (-0.25 - 1) ** 2))
    x_ab = torch.sin(4 * 0.5 + again[1, 0])
    assert_close(losses["generators/adversarial_target"], 2 * (x_ab - 1) ** 2)
    assert_close(losses["generators/content_source"], (x_ab - 0.5).abs())
    assert_close(losses["generators/style_target"], (x_ab - again[1]).abs().mean())
    assert_close(losses["generators/image_source"], 10 * (torch.sin(torch.tensor(2.5)) - 0.5).abs())
    assert_close(losses["generators/cycle_source"], 10 * (torch.sin(4 * x_ab + 0.5) - 0.5).abs())


def test_structure_losses_are_those_of_the_list_on_one_side_or_both():
    one = batch(images(0), images(1))
    losses = all_losses(
        transparent(structure_losses=[{"name": "mind", "weight": 1}, {"name": "mind", "weight": 3}]), one
    )
    assert_close(losses["generators/mind_1_source"], 3 * losses["generators/mind_0_source"])
    assert "generators/mind_1_target" in losses
    alone = transparent(structure_losses=[{"name": "mind"}], structure_losses_on="source")
    assert "generators/mind_0_target" not in all_losses(alone, batch(images(0), images(1)))


def test_an_image_is_translated_in_the_style_that_is_asked_for():
    adapter = tiny()
    one = images(0).float()

    def look(style: Any, direction: Any = "source-to-target") -> Tensor:
        return adapter.translate(one, direction=direction, style=style).detach()

    (content,) = adapter.source_content_encoder(one)
    reference = adapter.encode_style(images(5).float(), "target")
    with torch.no_grad():
        assert_close(look(reference), adapter.target_decoder((content,), reference))
        assert_close(look(reference[0])[1:], adapter.target_decoder((content[1:],), reference[:1]))
        assert_close(look("mean"), adapter.target_decoder((content,), torch.zeros(2, 3)))
    for same in (None, "random", 0):
        assert torch.equal(look(same), look("random"))
    assert not torch.equal(look("random"), look("mean"))
    assert not torch.equal(look("random"), look(1))
    assert not torch.equal(look(None, "target-to-source"), look(None))
    with pytest.raises(UsageError, match="'film'"):
        look("film")


def test_draws_follow_the_seed_that_trained_and_not_the_one_that_loads():
    one = images(0).float()
    trained, loaded = tiny(), MUNITConfig.model_validate(TINY).build(seed=99)
    drawn = trained.translate(one, direction="source-to-target", style="random")
    loaded.load_state_dict(trained.state_dict())
    assert torch.equal(loaded.translate(one, direction="source-to-target", style="random"), drawn)
    other = tiny()
    other.seed.fill_(4)
    assert not torch.equal(other.translate(one, direction="source-to-target", style="random"), drawn)


def test_one_image_in_many_styles_is_each_translation():
    adapter = tiny()
    one = images(0, count=1).float()
    styles = adapter.sample_styles(3, torch.Generator().manual_seed(1))
    drawn = adapter.translate_in_styles(one, styles, direction="target-to-source")
    assert drawn.shape == (3, 1, SIZE, SIZE)
    each = [adapter.translate(one, direction="target-to-source", style=style) for style in styles]
    assert_close(drawn, torch.cat(each))
    assert (drawn[0] - drawn[1]).abs().mean() > 1e-3


def test_the_way_back_has_the_images_own_style():
    adapter = transparent()
    adapter.source_style_encoder = tiny().source_style_encoder
    one = images(0).float()
    back = adapter.reconstruct(one, 0.5 * one, "source-to-target")
    assert_close(back, Fold()((0.5 * one,), adapter.source_style_encoder(one)))


def test_bfloat16_gives_float32_losses_and_images():
    adapter = tiny(generator=TINY["generator"] | {"full_resolution_skip": True})
    one = batch(images(0).float(), images(1).float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = all_losses(adapter, one)
        translated = adapter.translate(one.source, direction="source-to-target", style="random")
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert translated.dtype == torch.float32


def test_the_networks_start_from_different_draws_that_the_seed_repeats():
    adapter, again = tiny(), tiny()
    state = adapter.state_dict()
    for part in ("content_encoder.stem.0", "style_encoder.layers.0", "decoder.paint"):
        assert not torch.equal(state[f"source_{part}.weight"], state[f"target_{part}.weight"])
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in state.items())
