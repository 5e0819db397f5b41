from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.testing import assert_close

from medi2i.errors import UsageError
from medi2i.networks.stargan_discriminator import StarGANDiscriminator, StarGANDiscriminatorConfig


def build(*, matches: bool = True, **changes: Any) -> StarGANDiscriminator:
    config = StarGANDiscriminatorConfig.model_validate({"width": 2, "layers": 2} | changes)
    return config.build(bits=3, matches=matches, seed=1).double()


def images(count: int, rows: int = 16, columns: int = 16) -> Tensor:
    rng = torch.Generator().manual_seed(count)
    return 2 * torch.rand(count, 1, rows, columns, generator=rng, dtype=torch.float64) - 1


@pytest.mark.parametrize(
    ("matches", "channels", "expected"),
    [(False, 1, 44_760_000), (False, 3, 44_762_048), (True, 1, 44_792_768), (True, 3, 44_794_816)],
)
def test_the_published_critics_have_the_published_number_of_weights(
    matches: bool, channels: int, expected: int
):
    with torch.device("meta"):
        config = StarGANDiscriminatorConfig(heads="fixed", size_px=128)
        critic = StarGANDiscriminator(config, bits=5, matches=matches, channels=channels)
    assert sum(p.numel() for p in critic.parameters()) == expected


def test_the_layers_are_those_of_the_paper():
    critic = build()
    x = images(2)
    features = x
    for index in (0, 2):
        layer = critic.trunk[index]
        features = torch.nn.functional.conv2d(features, layer.weight, layer.bias, stride=2, padding=1)
        features = torch.where(features > 0, features, 0.01 * features)
    judged = critic(x, None, torch.tensor([[1, 0]]))
    realness = torch.nn.functional.conv2d(features, critic.realness.weight, padding=1)
    means = features.mean(dim=(2, 3))
    assert_close(judged.realness, realness)
    assert_close(judged.bits, means @ critic.bits.weight[:, :, 0, 0].T)
    assert judged.match is not None
    assert_close(judged.match, torch.cat([means[1:], means[:1]], dim=1) @ critic.match.weight[:, :, 0, 0].T)


def test_fixed_heads_read_the_whole_map():
    critic = build(heads="fixed", size_px=16)
    x = images(2)
    features = critic.trunk(x)  # (2, 4, 4, 4)
    judged = critic(x, None, torch.tensor([[0, 1]]))
    assert judged.match is not None
    assert_close(judged.bits, torch.einsum("bfhw,cfhw->bc", features, critic.bits.weight))
    both = torch.cat([features[0], features[1]])
    assert_close(judged.match[0], torch.einsum("fhw,cfhw->c", both, critic.match.weight))


def test_pooled_heads_take_any_size_and_fixed_heads_refuse_another():
    assert build()(images(1, 12, 40)).bits.shape == (1, 3)
    with pytest.raises(UsageError, match="images of 12 x 40 px; expected 16 x 16 px for fixed heads"):
        build(heads="fixed", size_px=16)(images(1, 12, 40))
    with pytest.raises(UsageError, match="at least 4 px for 2 layers"):
        build()(images(1, 3, 40))
    with pytest.raises(ValidationError, match="multiple of 64, found 96"):
        StarGANDiscriminatorConfig(heads="fixed", size_px=96)


def test_what_is_not_valid_does_not_count_in_pooled_heads():
    critic, x = build(layers=1), images(1)
    valid = torch.ones_like(x)
    valid[..., 8:] = 0
    judged = critic(x, valid)
    # columns 0 to 3 of the map are those of the valid half; a 4 x 4 kernel reaches one pixel beyond
    assert_close(judged.bits, critic.trunk(x)[..., :4].mean(dim=(2, 3)) @ critic.bits.weight[:, :, 0, 0].T)
    assert not critic(x, torch.zeros_like(x)).bits.any()


def test_without_pairs_or_match_head_nothing_is_compared():
    assert build()(images(2)).match is None
    assert build(matches=False)(images(2), None, torch.tensor([[0, 1]])).match is None


def test_detail_is_shown_magnified_and_limited():
    critic = build(detail_gain=8.0)
    flat, dot = torch.zeros(1, 1, 16, 16).double(), torch.zeros(1, 1, 16, 16).double()
    dot[0, 0, 8, 8] = 0.09
    assert not critic._seen(flat)[:, 1].any()
    # the dot less its 3 x 3 mean is 0.08, eight times that 0.64; its neighbours are 0.01 below their mean
    assert_close(critic._seen(dot)[0, 1, 8, 7:10], torch.tensor([-0.08, 0.64, -0.08]).double())
    assert_close(critic._seen(100 * dot)[0, 1, 8, 8].item(), 1.0)


def test_kaiming_keeps_the_signal_that_the_default_lets_fade():
    x = images(4, 64, 64)
    spread = {}
    for initialization in ("default", "kaiming"):
        critic = build(width=16, layers=4, initialization=initialization)
        spread[initialization] = float(critic.trunk(x).detach().square().mean().sqrt())
    assert spread["default"] < 0.1 < 0.3 < spread["kaiming"]
