import pytest
import torch
from torch import nn
from torch.testing import assert_close

from medi2i.networks.siamese import Siamese, SiameseConfig


def patches(count: int, side: int = 24, seed: int = 0) -> torch.Tensor:
    return 2 * torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed)) - 1


def counted_by_hand(width: int, blocks: int) -> int:
    """k7 w, k3 2w, k3 4w, k3 8w, two k3 8w a block, k1 8w twice, k1 1, k3 4w, k3 2w, linear 3; all biased."""
    code = 8 * width
    down = (49 + 1) * width + (9 * width + 1) * 2 * width + (18 * width + 1) * 4 * width
    encoder = down + (36 * width + 1) * code + blocks * 2 * (9 * code + 1) * code
    codes = 2 * (code + 1) * code + (code + 1)
    classifier = (18 * code + 1) * 4 * width + (36 * width + 1) * 2 * width + (2 * width + 1) * 3
    return encoder + codes + classifier


@pytest.mark.parametrize(("width", "blocks"), [(64, 2), (8, 1), (4, 0)])
def test_the_number_of_parameters_is_that_of_its_layers(width: int, blocks: int):
    network = Siamese(SiameseConfig(width=width, blocks=blocks))
    assert sum(p.numel() for p in network.parameters()) == counted_by_hand(width, blocks)


def test_the_default_has_fourteen_million_weights():
    assert counted_by_hand(64, 2) == 14_172_420


@pytest.mark.parametrize(("patch", "code"), [(85, 11), (170, 22), (42, 6), (9, 2)])
def test_a_patch_of_85_gives_the_codes_of_11_of_the_paper(patch: int, code: int):
    network = SiameseConfig(width=1, blocks=1).build(seed=0)
    features = network.encoder(patches(2, patch))
    assert features.shape == (2, 8, code, code)
    reading = network(patches(1, patch), patches(1, patch, seed=1))
    assert reading.first_map.shape == (1, 1, patch, patch)
    assert reading.domain_logits.shape == (1, 3)


def test_codes_of_the_default_have_512_channels_each():
    network = Siamese(SiameseConfig())
    assert (network.content[0].out_channels, network.domain[0].out_channels) == (512, 512)
    assert network.domain_head[0].in_channels == 1024


def test_both_patches_go_through_the_same_weights():
    network = SiameseConfig(width=4).build(seed=0)
    one, other = patches(3), patches(3, seed=1)
    there, back = network(one, other), network(other, one)
    assert_close(there.first_map, back.second_map)
    assert_close(there.second_map, back.first_map)
    assert not torch.allclose(there.first_map, there.second_map)
    assert not torch.allclose(
        there.domain_logits, back.domain_logits
    )  # their order is known to the classifier


def test_instance_norm_hides_tone_and_its_absence_leaves_it_to_the_domain_branch_alone():
    dark, bright = patches(2) * 0.5 - 0.2, patches(2) * 0.8 + 0.1
    normed = SiameseConfig(width=4).build(seed=0).double()
    before, after = (normed(x.double(), x.double()) for x in (dark, bright))
    assert_close(before.domain_logits, after.domain_logits, rtol=0, atol=1e-3)
    assert_close(before.first_map, after.first_map, rtol=0, atol=1e-3)
    plain = SiameseConfig(width=4, norm="none").build(seed=0)
    before, after = plain(dark, dark), plain(bright, bright)
    assert (before.domain_logits - after.domain_logits).abs().max() > 0.1


def test_a_norm_behind_the_domain_codes_is_an_option():
    def norms(**changes: str) -> int:
        network = Siamese(SiameseConfig.model_validate({"width": 1, "blocks": 2} | changes))
        found = [m for m in network.modules() if isinstance(m, nn.InstanceNorm2d)]
        assert not any(norm.affine or norm.track_running_stats for norm in found)
        return len(found)

    # four layers, two a block, the content code
    assert norms() == 4 + 2 * 2 + 1
    assert norms(classifier_norm="instance") == 4 + 2 * 2 + 2
    assert norms(norm="none") == 1


def test_a_map_is_linear_in_its_head_and_enlarged_bilinearly():
    network = SiameseConfig(width=1, blocks=0).build(seed=0)
    patch = patches(1, 16)
    code = network.content(network.encoder(patch))
    nn.init.zeros_(network.content_head.weight)
    with torch.no_grad():
        network.content_head.weight[0, 3] = 2.0
        network.content_head.bias.fill_(-0.5)
    corner = 2 * code[0, 3, 0, 0] - 0.5
    reading = network(patch, patch)
    # 2 x 2 onto 16 x 16 without aligned corners: four pixels lie before the centre of the corner's value
    assert_close(reading.first_map[0, 0, :4, :4], corner.expand(4, 4))
    assert not torch.isclose(reading.first_map[0, 0, 0, 5], corner)
    assert reading.first_map.min() < 0


def test_a_fixed_content_branch_asks_for_no_gradient_and_the_rest_gets_some():
    network = SiameseConfig(width=2).build(seed=0)
    network.fix("content")
    reading = network(patches(2), patches(2, seed=1))
    reading.domain_logits.square().sum().backward()
    without = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is None}
    assert without == {"content", "content_head"}
    assert all(p.grad is not None for p in (*network.encoder.parameters(), *network.domain_head.parameters()))


def test_weights_depend_on_the_seed_only():
    torch.manual_seed(1)
    first = SiameseConfig(width=2).build(seed=5).state_dict()
    torch.manual_seed(2)
    again, other = (SiameseConfig(width=2).build(seed=seed).state_dict() for seed in (5, 6))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["encoder.0.weight"], other["encoder.0.weight"])
