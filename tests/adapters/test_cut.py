"""CUT and FastCUT: which features are compared, whole steps written out, and what mirrored inputs do."""

import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.testing import assert_close

from medi2i.adaptation import AdaptConfig
from medi2i.adapters import Batch, CUTConfig, Shared
from medi2i.adapters.cut import CUT
from medi2i.config import find_preset, load_config
from medi2i.errors import ConfigError
from medi2i.networks.discriminator import PatchGANConfig
from medi2i.networks.patch_features import EncodedGenerator, Projections
from medi2i.networks.resnet import ResNetGeneratorConfig
from medi2i.training.engine import frozen, make_accelerator
from medi2i.training.settings import TrainingConfig
from medi2i.training.step import Stepper
from tests.adapters.transparent import all_losses, batch

ANTIALIASED = {"downsample": "antialiased", "upsample": "antialiased", "initialization": "xavier"}
TINY: dict[str, Any] = {
    "generator": {"width": 2, "blocks": 1} | ANTIALIASED,
    "discriminator": PatchGANConfig(width=2, layers=1),
    "layers": (0, 4, 8, 12),
    "projection_width": 4,
    "places": 1000,  # all of them: nothing depends on the draw
}


def cut(**changes: Any) -> CUT:
    return CUTConfig.model_validate(TINY | changes).build(seed=0)


def noise(seed: int) -> Tensor:
    return 2 * torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) - 1


def test_the_defaults_are_the_published_recipe():
    config = CUTConfig()
    assert config.generator == ResNetGeneratorConfig(width=64, blocks=9, **ANTIALIASED)
    assert (config.layers, config.places, config.projection_width) == ((0, 4, 8, 12, 16), 256, 256)
    assert (config.temperature, config.contrast, config.identity) == (0.07, 1, True)
    assert (config.pool_size, config.flip_equivariance) == (0, False)
    fast = load_config(find_preset("fastcut", "adapt"), AdaptConfig).adapter
    assert (fast.contrast, fast.identity, fast.flip_equivariance) == (10, False, True)


def test_layers_are_counted_as_the_authors_count_modules():
    encoded = EncodedGenerator(ResNetGeneratorConfig(width=4, blocks=5, **ANTIALIASED).build(seed=0))
    assert encoded.channels([0, 1, 4, 8, 12, 16]) == [1, 4, 8, 16, 16, 16]
    image = noise(0)
    features = encoded(image, (0, 4, 8, 12, 16))
    assert [tuple(layer.shape[1:]) for layer in features] == [
        (1, 16, 16),
        (8, 16, 16),
        (16, 8, 8),
        (16, 4, 4),
        (16, 4, 4),
    ]
    assert torch.equal(features[0], image)
    with pytest.raises(ConfigError, match=r"layer 17; expected 0 to 16"):
        encoded.channels([17])


def test_projections_are_unit_vectors_of_the_chosen_places():
    features = [torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))]
    network = Projections([3], 6, seed=0)
    places = torch.tensor([[7, 0], [19, 3]])
    (vectors,) = network(features, [places])
    assert_close(vectors.norm(dim=2), torch.ones(2, 2))
    first = network[0](features[0][0, :, 1, 2])  # place 7 of five columns
    assert_close(vectors[0, 0], first / first.norm())


class Transcription:
    """The published step on copies of the adapter's networks."""

    def __init__(self, adapter: CUT) -> None:
        self.networks = copy.deepcopy(adapter)
        self.g, self.d = self.networks.generator.network, self.networks.discriminator
        settings: dict[str, Any] = {"lr": 2e-4, "betas": (0.5, 0.999)}
        self.optimizer_d = torch.optim.Adam(self.d.parameters(), **settings)
        self.optimizer_g = torch.optim.Adam(self.g.parameters(), **settings)
        self.optimizer_f = torch.optim.Adam(self.networks.projections.parameters(), **settings)

    def encode(self, x: Tensor) -> list[Tensor]:
        f, norm = nn.functional, nn.functional.instance_norm
        first = f.relu(norm(self.g.stem[1](f.pad(x, (3, 3, 3, 3), mode="reflect"))))
        fourth = self.g.encode[0](first)
        eighth = self.g.encode[4](self.g.encode[3](f.relu(norm(fourth))))
        twelfth = self.g.transform[0](self.g.encode[7](f.relu(norm(eighth))))
        return [x, fourth, eighth, twelfth]

    def nce(self, kept: Tensor, painted: Tensor) -> Tensor:
        losses = []
        layers = zip(self.encode(painted), self.encode(kept), self.networks.projections, strict=True)
        for queries, keys, mlp in layers:
            q, k = (
                nn.functional.normalize(mlp(x.flatten(2).transpose(1, 2)), dim=2) for x in (queries, keys)
            )
            logits = q @ k.detach().transpose(1, 2) / 0.07
            labels = torch.arange(logits.shape[1]).expand(logits.shape[0], -1)
            losses.append(nn.functional.cross_entropy(logits.transpose(1, 2), labels))
        return torch.stack(losses).mean()

    def step(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        fake = self.g(a).detach()
        judged = 0.5 * (((self.d(b) - 1) ** 2).mean() + (self.d(fake) ** 2).mean())
        judged.backward()
        self.optimizer_d.step()
        for optimizer in (self.optimizer_d, self.optimizer_g, self.optimizer_f):
            optimizer.zero_grad()
        losses = {
            "generator/adversarial": ((self.d(self.g(a)) - 1) ** 2).mean(),
            "generator/contrast": 0.5 * self.nce(a, self.g(a)),
            "generator/identity": 0.5 * self.nce(b, self.g(b)),
        }
        sum(losses.values()).backward()
        self.optimizer_g.step()
        self.optimizer_f.step()
        return losses | {"discriminator/adversarial": judged}


def test_a_step_equals_the_published_one():
    adapter = cut().double()
    published = Transcription(adapter)
    config = TrainingConfig(steps=100, constant=1.0, batch_size=2)
    stepper = Stepper(adapter, config, make_accelerator("cpu", "fp32"), seed=5, epoch_length=9)
    a, b = noise(0).double(), noise(1).double()
    sample = {
        "source": a,
        "target": b,
        "source_valid": torch.ones_like(a),
        "target_valid": torch.ones_like(b),
    }
    before = copy.deepcopy(adapter.state_dict())
    losses, expected = stepper.take([sample]), published.step(a, b)
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(losses[name], value.detach(), rtol=0, atol=1e-6)
    theirs = published.networks.state_dict()
    assert_close(dict(adapter.state_dict()), dict(theirs), rtol=0, atol=1e-6)
    still = [name for name, value in adapter.state_dict().items() if torch.equal(value, before[name])]
    assert not [name for name in still if name.endswith("weight")]


def test_each_turn_reaches_its_own_networks_and_the_discriminator_plays_first():
    adapter, one, shared = cut(), batch(noise(0), noise(1)), Shared()
    assert [player.name for player in adapter.players] == ["discriminator", "generator"]
    for player in adapter.players:
        others = {name for other in adapter.players for name in other.networks} - set(player.networks)
        with frozen([getattr(adapter, name) for name in others]):
            sum(adapter.losses(player, one, shared).values()).backward()
        moved = {n.split(".")[0] for n, p in adapter.named_parameters() if p.grad is not None}
        assert moved == set(player.networks)
        adapter.zero_grad(set_to_none=True)


def drawn_as(one: Batch, flipped: bool) -> Batch:
    """The batch with decisions under which sources are, or are not, mirrored."""
    for seed in range(100):
        if (torch.rand((), generator=torch.Generator().manual_seed(seed)) < 0.5) == flipped:
            return Batch(**(vars(one) | {"host": torch.Generator().manual_seed(seed)}))
    raise AssertionError


@pytest.mark.parametrize("flipped", [False, True])
def test_a_mirrored_source_is_compared_by_mirrored_features_and_judged_upright(flipped: bool):
    fast = {"identity": False, "flip_equivariance": True, "contrast": 10}
    adapter, a, b = cut(**fast).double(), noise(0).double(), noise(1).double()
    losses = all_losses(adapter, drawn_as(batch(a, b), flipped))
    assert losses.keys() == {"discriminator/adversarial", "generator/adversarial", "generator/contrast"}

    def mirror(x: Tensor) -> Tensor:
        return x.flip(-1) if flipped else x

    transcription = Transcription(adapter)
    painted = transcription.g(mirror(a))
    judged = transcription.d(mirror(painted))
    assert_close(losses["generator/adversarial"], ((judged - 1) ** 2).mean())
    plain = transcription.encode

    def encode(x: Tensor) -> list[Tensor]:
        return [mirror(layer) for layer in plain(x)] if x is painted else plain(x)

    transcription.encode = encode  # type: ignore[method-assign]
    assert_close(losses["generator/contrast"], 10 * transcription.nce(a, painted))


def test_places_over_invalid_pixels_count_in_nothing():
    adapter, image, painted = cut(layers=(0, 4), places=40), noise(0), noise(1)
    valid = torch.ones_like(image)
    valid[..., 10:] = 0

    def contrast(x: Tensor, y: Tensor) -> Tensor:
        one = batch(x, y, valid)
        return adapter._contrast(x, y, valid, one, flipped=False)

    broken = [torch.where(valid > 0, x, torch.full_like(x, 0.7)) for x in (image, painted)]
    assert_close(contrast(*broken), contrast(image, painted))
    assert contrast(image, painted) > contrast(image, image)
    empty = batch(image, painted, torch.zeros_like(image))
    assert adapter._contrast(image, painted, torch.zeros_like(image), empty, flipped=False).item() == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": (4, 0)}, "must ascend"),
        ({"layers": (-1, 4)}, "must ascend"),
        ({"layers": ()}, "at least 1"),
        ({"temperature": 0}, "greater than 0"),
        ({"places": 1}, "greater than or equal to 2"),
        ({"places": 100_000}, "less than or equal to 4096"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        CUTConfig.model_validate(changes)


def test_a_layer_that_a_small_generator_lacks_is_refused_by_its_key():
    with pytest.raises(ConfigError, match=r"adapter\.layers: layer 16; expected 0 to 12"):
        CUTConfig.model_validate(TINY | {"layers": (0, 16)}).build(seed=0)
