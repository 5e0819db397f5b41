"""pix2pix: its losses by hand, a whole step written out, and one translation for both turns."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.testing import assert_close

from medi2i.adapters import DomainAdapter, Pix2PixConfig
from medi2i.adapters.pix2pix import Pix2Pix
from medi2i.data.paired import PairedCrops
from medi2i.data.settings import DataConfig
from medi2i.errors import InterruptedRunError, UsageError
from medi2i.losses.adversarial import log_likelihood
from medi2i.training.engine import make_accelerator
from medi2i.training.interruption import StopRequest
from medi2i.training.loop import Hooks
from medi2i.training.settings import TrainingConfig
from medi2i.training.step import Stepper
from tests.adapters.transparent import all_losses, batch, constant, image
from tests.training.toys import random_images, run_training, stored_bytes

TINY: dict[str, Any] = {
    "generator": {"width": 2, "levels": 2, "dropout": 0.0},
    "discriminator": {"width": 2, "layers": 1},
}


def pix2pix(**changes: Any) -> Pix2Pix:
    return Pix2PixConfig.model_validate(TINY | changes).build(seed=0)


class Pointwise(nn.Module):
    """0.6 x; with a generator, a random gain: a dropout that one can see."""

    def forward(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if generator is None:
            return 0.6 * image
        return image * torch.rand((), generator=generator).to(image.dtype)


class Judge(nn.Module):
    """The logit of a pixel is its gray level plus twice its source's; remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        self.seen.append(image.detach().clone())
        return image + 2 * condition


def see_through(**changes: Any) -> Pix2Pix:
    adapter = pix2pix(**changes)
    adapter.generator, adapter.discriminator = Pointwise(), Judge()
    return adapter


def test_the_defaults_are_the_published_recipe():
    config = Pix2PixConfig()
    assert (config.generator.width, config.generator.levels, config.generator.dropout) == (64, 8, 0.5)
    assert (config.distance, config.objective) == (100, "log")
    assert (config.optimizer.learning_rate, config.optimizer.betas) == (2e-4, (0.5, 0.999))
    assert Pix2Pix.needs_pairs
    assert not DomainAdapter.needs_pairs


def test_log_likelihood_is_hand_computed():
    logits = torch.tensor([[[[0.0, 2.0]]]])
    # -log sigmoid(0) = log 2, -log sigmoid(2) = log(1 + e^-2)
    assert_close(log_likelihood(logits, True).item(), (0.693147 + 0.126928) / 2, rtol=0, atol=1e-5)
    assert_close(log_likelihood(logits, False).item(), (0.693147 + 2.126928) / 2, rtol=0, atol=1e-5)
    weight = torch.tensor([[[[0.0, 1.0]]]])
    assert_close(log_likelihood(logits, True, weight).item(), 0.126928, rtol=0, atol=1e-5)


def test_losses_of_constant_images_are_hand_computed():
    adapter, one = (
        see_through(objective="least_squares", adversarial=2),
        batch(constant(0.5), constant(-0.25)),
    )
    losses = all_losses(adapter, one)
    painted = adapter.discriminator.seen[1][0, 0, 0, 0].item()
    expected = {
        "discriminator/adversarial": 0.5 * ((-0.25 + 1 - 1) ** 2 + (painted + 1) ** 2),
        "generator/distance": 100 * abs(painted + 0.25),
        "generator/adversarial": 2 * (painted + 1 - 1) ** 2,
    }
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(losses[name].item(), value, rtol=0, atol=1e-5)


def test_both_turns_leave_out_the_same_features():
    adapter = see_through()
    all_losses(adapter, batch(image(0), image(1)))
    real, judged, asked = adapter.discriminator.seen
    assert_close(real, image(1))
    assert torch.equal(judged, asked)
    before = judged
    one = batch(image(0), image(1))
    one.host.manual_seed(3)
    all_losses(adapter, one)
    assert not torch.equal(adapter.discriminator.seen[-1], before)


def test_l1_alone_has_no_discriminator():
    adapter = pix2pix(adversarial=0)
    assert [player.name for player in adapter.players] == ["generator"]
    assert all_losses(adapter, batch(image(0), image(1))).keys() == {"generator/distance"}


def test_pixels_invalid_in_either_image_count_in_nothing():
    source, target = image(0), image(1)
    valid = torch.ones_like(source)
    valid[..., 10:] = 0
    expected = all_losses(see_through(), batch(source, target, valid))
    broken = [torch.where(valid > 0, x, torch.full_like(x, 0.9)) for x in (source, target)]
    for name, value in all_losses(see_through(), batch(*broken, valid)).items():
        assert_close(value, expected[name])


def test_translation_is_deterministic_and_one_way():
    adapter = pix2pix(generator={"width": 2, "levels": 2, "dropout": 0.5})
    one = image(0)
    first = adapter.translate(one, direction="source-to-target")
    assert torch.equal(first, adapter.translate(one, direction="source-to-target"))
    assert adapter.size_multiple == 4
    with pytest.raises(UsageError, match="method 'pix2pix'"):
        adapter.translate(one, direction="target-to-source")


def test_a_step_equals_the_published_one():
    adapter = pix2pix(structure_losses=[{"name": "gradient_correlation", "weight": 0}]).double()
    published = copy.deepcopy(adapter)
    g, d = published.generator, published.discriminator
    optimizers = [torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in (d, g)]
    config = TrainingConfig(steps=100, constant=1.0, batch_size=2)
    stepper = Stepper(adapter, config, make_accelerator("cpu", "fp32"), seed=5, epoch_length=9)
    a, b = image(0).double(), image(1).double()
    before = copy.deepcopy(adapter.state_dict())
    losses = stepper.take(
        [{"source": a, "target": b, "source_valid": torch.ones_like(a), "target_valid": torch.ones_like(b)}]
    )
    expected = {}
    # a then the image, in one discriminator's channels: log D(a, b), log(1 - D(a, G(a)))
    real, fake = (d.layers(torch.cat([a, x], 1))[-1] for x in (b, g(a).detach()))
    expected["discriminator/adversarial"] = 0.5 * (
        -F.logsigmoid(real).mean() - torch.log(1 - torch.sigmoid(fake)).mean()
    )
    expected["discriminator/adversarial"].backward()
    optimizers[0].step()
    g.zero_grad()
    painted = g(a)
    expected["generator/distance"] = 100 * (painted - b).abs().mean()
    expected["generator/adversarial"] = -F.logsigmoid(d.layers(torch.cat([a, painted], 1))[-1]).mean()
    (expected["generator/distance"] + expected["generator/adversarial"]).backward()
    optimizers[1].step()
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(losses[name], value.detach(), rtol=0, atol=1e-6)
    assert_close(dict(adapter.state_dict()), dict(published.state_dict()), rtol=0, atol=1e-6)
    still = [name for name, value in adapter.state_dict().items() if torch.equal(value, before[name])]
    assert not [name for name in still if name.endswith("weight")]


def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path):
    data = DataConfig(working_size=None, crop_size=32)
    crops = PairedCrops(random_images(3, seed=1), random_images(3, seed=2), data, seed=0)
    config = TrainingConfig(steps=4, validate_every=4, preview_every=1, average=0.9)
    changes = {"generator": {"width": 2, "levels": 3, "dropout": 0.5}, "augmentation": {}}
    run_training(pix2pix(**changes), tmp_path / "whole", config, crops=crops)
    stop = StopRequest()

    def stop_after_two(adapter: DomainAdapter, step: int) -> None:
        stop.requested = step == 2

    hooks = Hooks(preview=stop_after_two)
    with pytest.raises(InterruptedRunError):
        run_training(pix2pix(**changes), tmp_path / "halves", config, crops=crops, stop=stop, hooks=hooks)
    run_training(pix2pix(**changes), tmp_path / "halves", config, crops=crops)
    assert stored_bytes(tmp_path / "halves", 4) == stored_bytes(tmp_path / "whole", 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distance": 0}, "greater than 0"),
        ({"objective": "hinge"}, "'log' or 'least_squares'"),
        ({"generator": {"levels": 1}}, "greater than or equal to 2"),
        ({"pool_size": 50}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        Pix2PixConfig.model_validate(changes)
