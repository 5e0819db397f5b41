from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from medi2i.adapters import UNITConfig
from medi2i.adapters.unit import UNIT, noisy
from tests.adapters import test_munit as munit

TINY: dict[str, Any] = {
    "generator": {"width": 2, "blocks": 1},
    "discriminator": {"width": 2, "layers": 2, "scales": 3},
}


def tiny(**changes: Any) -> UNIT:
    return UNITConfig.model_validate(TINY | changes).build(seed=3)


class Transcription(munit.Transcription):
    """The UNIT of MUNIT's authors: a is the source, b the target."""

    def code(self, domain: str, x: Tensor) -> Tensor:
        return munit.encode_content(self.w[f"{domain}_encoder"], x)

    def image(self, domain: str, h: Tensor) -> Tensor:
        return munit.decode(self.w[f"{domain}_decoder"], h, None)

    def discriminators(self, a: Tensor, b: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        h_a, h_b = self.code("source", a), self.code("target", b)
        n_a, n_b = (torch.randn(h.shape, generator=rng).double() for h in (h_a, h_b))
        return self.contest(a, b, self.image("source", h_b + n_b), self.image("target", h_a + n_a))

    def generators(self, a: Tensor, b: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        losses = {}
        for here, there, x in (("source", "target", a), ("target", "source", b)):
            h = self.code(here, x)
            n, n_again = (torch.randn(h.shape, generator=rng).double() for _ in range(2))
            x_there = self.image(there, h + n)
            h_again = self.code(there, x_there)
            losses |= {
                f"adversarial_{there}": munit.judged(self.w[f"{there}_discriminator"], x_there, 1),
                f"image_{here}": 10 * munit.l1(self.image(here, h + n), x),
                f"latent_{here}": 0.01 * (h * h).mean(),
                f"cycle_{here}": 10 * munit.l1(self.image(here, h_again + n_again), x),
                f"cycle_latent_{here}": 0.01 * (h_again * h_again).mean(),
            }
        return losses


@pytest.mark.parametrize("batch_size", [1, 2])
def test_two_steps_equal_the_published_updates(batch_size: int):
    adapter = tiny().double()
    munit.check_two_steps(adapter, Transcription(adapter), batch_size)


def test_each_player_moves_its_own_networks_and_detached_translations_move_nobody():
    munit.check_gradients(tiny().double())


def test_in_a_turn_nobody_else_gets_a_gradient():
    munit.check_turns(tiny().double())


def test_the_defaults_are_the_published_recipe():
    config = UNITConfig()
    assert (config.adversarial, config.image_reconstruction, config.cycle) == (1, 10, 10)
    assert (config.latent, config.cycle_latent) == (0.01, 0.01)
    assert config.optimizer == config.discriminator_optimizer
    assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (1e-4, 1e-4)
    adapter = UNITConfig().build(seed=0)
    for part, expected in (("encoder", 5_379_584), ("decoder", 5_748_353), ("discriminator", 8_265_027)):
        assert sum(p.numel() for p in getattr(adapter, f"source_{part}").parameters()) == expected


@pytest.mark.parametrize(
    ("key", "gone"),
    [
        ("image_reconstruction", "image"),
        ("latent", "latent"),
        ("cycle_latent", "cycle_latent"),
        ("cycle", "cycle"),
    ],
)
def test_a_weight_of_zero_takes_both_terms_away(key: str, gone: str):
    everything = munit.all_losses(tiny().double(), munit.batch(munit.images(0), munit.images(1)))
    fewer = munit.all_losses(tiny(**{key: 0}).double(), munit.batch(munit.images(0), munit.images(1)))
    assert everything.keys() - fewer.keys() == {f"generators/{gone}_{side}" for side in ("source", "target")}


class Fold(nn.Module):
    """A pointwise decoder without a style."""

    def forward(self, content: tuple[Tensor, ...]) -> Tensor:
        return torch.sin(4 * content[0])


def transparent(**changes: Any) -> UNIT:
    adapter = tiny(**changes)
    for name in ("source", "target"):
        setattr(adapter, f"{name}_encoder", munit.Plain())
        setattr(adapter, f"{name}_decoder", Fold())
        setattr(adapter, f"{name}_discriminator", munit.Gray())
    return adapter


def test_pixels_outside_the_valid_area_change_no_loss():
    munit.check_validity(transparent, 2 + 10 + 2)


def test_the_noise_of_the_latent_code_is_standard_normal_and_spares_the_skip():
    code, fine = torch.full((1, 8, 32, 32), 5.0), torch.ones(1, 2, 4, 4)
    varied, kept = noisy((code, fine), torch.Generator().manual_seed(0))
    assert torch.equal(kept, fine)
    assert_close((varied - code).mean(), torch.tensor(0.0), rtol=0, atol=0.05)
    assert_close((varied - code).std(), torch.tensor(1.0), rtol=0, atol=0.05)


def test_a_translation_decodes_the_code_without_noise():
    adapter, one = tiny(), munit.images(0).float()
    with torch.no_grad():
        for direction, here, there in (
            ("source-to-target", "source", "target"),
            ("target-to-source", "target", "source"),
        ):
            expected = getattr(adapter, f"{there}_decoder")(getattr(adapter, f"{here}_encoder")(one))
            assert torch.equal(adapter.translate(one, direction=direction), expected)  # type: ignore[arg-type]
    assert not adapter.multimodal


def test_bfloat16_gives_float32_losses():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = munit.all_losses(tiny(), munit.batch(munit.images(0).float(), munit.images(1).float()))
    assert {value.dtype for value in losses.values()} == {torch.float32}
