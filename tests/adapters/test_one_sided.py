"""GAN alone, SimGAN and feature GAN: their losses by hand, and a whole step of each."""

import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.testing import assert_close

from medi2i.adapters import Batch, DomainAdapter, FeatureGANConfig, GANConfig, SimGANConfig
from medi2i.adapters.one_sided import OneSidedConfig
from medi2i.errors import UsageError
from medi2i.networks.random_features import RandomFeaturesConfig
from medi2i.training.engine import make_accelerator
from medi2i.training.settings import TrainingConfig
from medi2i.training.step import Stepper
from tests.adapters.transparent import TINY, Fold, GrayLevel, Scale, all_losses, batch, constant, image

SMALL: dict[str, Any] = {"features": RandomFeaturesConfig(width=2, halvings=1)}
KINDS = (GANConfig, SimGANConfig, FeatureGANConfig)
each_method = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["name"].default)


def build(kind: type[OneSidedConfig], **changes: Any) -> Any:
    extra = SMALL if kind is FeatureGANConfig else {}
    return kind.model_validate(TINY | extra | changes).build(seed=0)


def see_through(kind: type[OneSidedConfig], **changes: Any) -> Any:
    """G = 0.6 x, and a discriminator that answers with gray levels."""
    adapter = build(kind, **changes)
    adapter.generator, adapter.discriminator = Scale(0.6), GrayLevel()
    return adapter


def test_losses_of_constant_images_are_hand_computed():
    one = batch(constant(0.5), constant(-0.25))
    losses = all_losses(see_through(SimGANConfig, adversarial=2), one)
    expected = {
        "generator/adversarial": 2 * (0.3 - 1) ** 2,
        "generator/self_regularisation": 10 * abs(0.3 - 0.5),
        "discriminator/adversarial": 0.5 * ((-0.25 - 1) ** 2 + 0.3**2),
    }
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(losses[name].item(), value, rtol=0, atol=1e-6)
    alone = all_losses(see_through(GANConfig), one)
    assert alone.keys() == {"generator/adversarial", "discriminator/adversarial"}
    # the first filters have a sum of 0, so a constant image has no features to change
    features = all_losses(see_through(FeatureGANConfig), one)
    assert_close(features["generator/features"].item(), 0.0, rtol=0, atol=1e-6)


def test_the_feature_distance_is_ten_times_the_mean_difference_of_features():
    adapter, source = see_through(FeatureGANConfig), image(0)
    losses = all_losses(adapter, batch(source, image(1)))
    # without biases, features of 0.6 x are 0.6 of those of x
    assert_close(losses["generator/features"], 10 * 0.4 * adapter.features(source).abs().mean())


def test_random_features_are_the_same_in_every_run_and_part_of_no_checkpoint():
    first, second = build(FeatureGANConfig), FeatureGANConfig(**(TINY | SMALL)).build(seed=9)
    one = image(3)
    assert_close(first.features(one), second.features(one), rtol=0, atol=0)
    assert not torch.equal(
        first.features(one), RandomFeaturesConfig(width=2, halvings=1, seed=1).build()(one)
    )
    assert not [name for name in first.state_dict() if name.startswith("features")]
    assert not list(first.features.parameters())
    assert first.features(one).shape == (2, 4, 8, 8)


@each_method
def test_invalid_pixels_count_in_nothing(kind: type[OneSidedConfig]):
    adapter, source = see_through(kind), image(0)
    adapter.generator = Fold()  # pointwise: an invalid pixel can't reach its neighbours
    valid = torch.ones_like(source)
    valid[..., 10:] = 0
    broken = torch.where(valid > 0, source, torch.full_like(source, 0.9))
    expected = all_losses(adapter, batch(source, image(1), valid))
    for name, value in all_losses(adapter, batch(broken, image(1), valid)).items():
        assert_close(value, expected[name])


@each_method
def test_it_learns_one_way_only_and_says_so(kind: type[OneSidedConfig]):
    adapter = see_through(kind)
    assert_close(adapter.translate(constant(0.5), direction="source-to-target"), constant(0.3))
    with pytest.raises(UsageError, match=f"method '{kind.model_fields['name'].default}'"):
        adapter.translate(constant(0.5), direction="target-to-source")
    assert not adapter.bidirectional
    assert adapter.reconstruct(constant(0.5), constant(0.3), "source-to-target") is None


def test_the_pool_is_kept_and_given_back():
    adapter, other = see_through(GANConfig, pool_size=2), see_through(GANConfig, pool_size=2)
    all_losses(adapter, batch(constant(0.5), constant(0.0)))
    state = adapter.local_state()
    assert_close(state["pool"], torch.cat([constant(0.3), constant(1.0)], dim=1))
    other.load_local_state(state)
    assert_close(other.local_state(), state)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (GANConfig, {"adversarial": 0}, "greater than 0"),
        (GANConfig, {"self_regularisation": 1}, "Extra inputs"),
        (SimGANConfig, {"self_regularisation": -1}, "greater than or equal to 0"),
        (FeatureGANConfig, {"features": {"halvings": 6}}, "less than or equal to 5"),
    ],
)
def test_wrong_settings_are_refused(kind: type[OneSidedConfig], changes: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        kind.model_validate(changes)


def random_image(seed: int) -> Tensor:
    return 2 * torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(seed)).double() - 1


def stepper_of(adapter: DomainAdapter) -> Stepper:
    config = TrainingConfig(steps=100, constant=1.0, batch_size=2)
    return Stepper(adapter, config, make_accelerator("cpu", "fp32"), seed=5, epoch_length=9)


def sample_of(source: Tensor, target: Tensor) -> dict[str, Tensor]:
    images = {"source": source, "target": target}
    return images | {f"{name}_valid": torch.ones_like(value) for name, value in images.items()}


def features_written_out(network: nn.Module, x: Tensor) -> Tensor:
    """Two 3 x 3 convolutions with ReLU, half the size, and two more."""
    weights = dict(network.named_buffers())
    for stage in range(2):
        for layer in range(2):
            x = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
            x = torch.relu(nn.functional.conv2d(x, weights[f"filters_{stage}_{layer}"]))
        if stage == 0:
            x = nn.functional.avg_pool2d(x, 2)
    return x


@each_method
def test_a_step_equals_its_equations_written_out(kind: type[OneSidedConfig]):
    adapter = build(kind, pool_size=0, generator={"width": 2, "blocks": 1}).double()
    published = copy.deepcopy(adapter)
    g, d = published.generator, published.discriminator
    optimizers = [torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in (g, d)]
    source, target = random_image(0), random_image(1)
    losses = stepper_of(adapter).take([sample_of(source, target)])
    translated = g(source)
    expected = {"generator/adversarial": ((d(translated) - 1) ** 2).mean()}
    if kind is SimGANConfig:
        expected["generator/self_regularisation"] = 10 * (translated - source).abs().mean()
    if kind is FeatureGANConfig:
        pair = [features_written_out(published.features, x) for x in (translated, source)]
        expected["generator/features"] = 10 * (pair[0] - pair[1]).abs().mean()
    sum(expected.values()).backward()
    optimizers[0].step()
    d.zero_grad()
    judged = 0.5 * (((d(target) - 1) ** 2).mean() + (d(translated.detach()) ** 2).mean())
    expected["discriminator/adversarial"] = judged
    judged.backward()
    optimizers[1].step()
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(losses[name], value.detach(), rtol=0, atol=1e-6)
    assert_close(dict(adapter.state_dict()), dict(published.state_dict()), rtol=0, atol=1e-6)


@each_method
def test_a_step_moves_both_networks_and_a_turn_only_its_own(kind: type[OneSidedConfig]):
    adapter = build(kind, structure_losses=[{"name": "gradient_correlation"}], augmentation={})
    before = copy.deepcopy(adapter.state_dict())
    source, target = random_image(0).float(), random_image(1).float()
    losses = stepper_of(adapter).take([sample_of(source, target)])
    assert "generator/gradient_correlation_0_source" in losses
    still = [name for name, value in adapter.state_dict().items() if torch.equal(value, before[name])]
    assert not [name for name in still if name.endswith("weight")]
    one = Batch(**(vars(batch(source, target))))
    shared = all_losses(adapter, one)
    assert shared["discriminator/adversarial"].requires_grad
    adapter.zero_grad()
    shared["discriminator/adversarial"].backward()
    assert all(p.grad is None for p in adapter.generator.parameters())
