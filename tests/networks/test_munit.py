import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.testing import assert_close

from medi2i.errors import UsageError
from medi2i.networks.adain import adaptive_instance_norm
from medi2i.networks.munit import ContentEncoder, Decoder, MUNITGeneratorConfig, StyleEncoder
from medi2i.networks.munit_discriminator import PyramidDiscriminator, PyramidDiscriminatorConfig
from medi2i.networks.munit_styles import interpolate_styles, sample_styles, styles_as_asked, styles_of_content
from medi2i.networks.normalization import MapLayerNorm

SMALL = MUNITGeneratorConfig(width=2, blocks=1, style_size=3, mlp_width=4)


def count(network: nn.Module | None) -> int:
    assert network is not None
    return sum(p.numel() for p in network.parameters())


def image(seed: int, count: int = 2, size: int = 32, channels: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, channels, size, size, generator=rng) - 1


@pytest.mark.parametrize(
    ("channels", "generator", "one_scale", "three_scales"),
    [(1, 15_007_369, 2_755_009, 8_265_027), (3, 15_026_187, 2_757_057, 8_271_171)],
)
def test_the_networks_have_the_published_numbers_of_parameters(
    channels: int, generator: int, one_scale: int, three_scales: int
):
    config = MUNITGeneratorConfig()
    networks = [kind(config, channels) for kind in (ContentEncoder, StyleEncoder, Decoder)]
    assert sum(count(network) for network in networks) == generator
    for scales, expected in ((1, one_scale), (3, three_scales)):
        judge = PyramidDiscriminator(PyramidDiscriminatorConfig(scales=scales), channels)
        assert count(judge) == expected


def test_each_gray_network_has_its_published_number_of_parameters():
    config = MUNITGeneratorConfig()
    decoder = Decoder(config)
    assert count(ContentEncoder(config)) == 5_379_584
    assert count(StyleEncoder(config)) == 2_758_664
    assert count(decoder.style_mlp) == 1_120_768
    assert count(decoder) - count(decoder.style_mlp) == 5_748_353
    assert count(Decoder(config, norm="instance")) == 5_748_353  # UNIT's


def test_adaptive_instance_norm_of_a_two_by_two_map():
    x = torch.tensor([[[[1.0, 3.0], [1.0, 3.0]]]], dtype=torch.float64)  # mean 2, variance 1
    out = adaptive_instance_norm(x, torch.tensor([[10.0]]).double(), torch.tensor([[5.0]]).double())
    root = (1 + 1e-5) ** 0.5
    low, high = 10 - 5 / root, 10 + 5 / root  # the scale is raw: 5, not 6
    assert_close(out, torch.tensor([[[[low, high], [low, high]]]], dtype=torch.float64))


def test_each_image_and_channel_gets_its_own_shift_and_scale():
    shift, scale = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.5, 0.0], [2.0, 1.0]])
    out = adaptive_instance_norm(image(0, channels=2), shift, scale)
    assert_close(out.mean(dim=(2, 3)), shift)
    assert_close(out.std(dim=(2, 3), correction=0), scale, rtol=1e-3, atol=1e-6)


def test_layer_norm_divides_by_the_unbiased_deviation_plus_a_small_number():
    norm = MapLayerNorm(2).double()
    with torch.no_grad():
        norm.gain.copy_(torch.tensor([2.0, 3.0]))
        norm.offset.copy_(torch.tensor([0.0, 1.0]))
    x = torch.tensor([[[[0.0]], [[2.0]]]], dtype=torch.float64)  # mean 1, unbiased variance 2
    step = 1 / (2**0.5 + 1e-5)
    assert_close(norm(x), torch.tensor([[[[-2 * step]], [[3 * step + 1]]]], dtype=torch.float64))
    constant = torch.full((1, 2, 3, 3), 4.0, dtype=torch.float64)
    assert_close(norm(constant)[0, :, 0, 0], torch.tensor([0.0, 1.0], dtype=torch.float64))


def test_layer_norm_keeps_the_ratio_between_channels_that_instance_norm_takes_away():
    x = image(0, count=1, channels=2) * torch.tensor([1.0, 4.0]).view(1, 2, 1, 1)
    spread = MapLayerNorm(2)(x).std(dim=(2, 3))[0]
    before = x.std(dim=(2, 3))[0]
    assert_close(spread[1] / spread[0], before[1] / before[0])
    after = F.instance_norm(x).std(dim=(2, 3))[0]
    assert_close(after[1] / after[0], torch.tensor(1.0), rtol=1e-3, atol=0)


def test_gains_of_layer_norm_are_drawn_uniform_by_the_seed():
    first, again, other = (MUNITGeneratorConfig().build_decoder(seed=seed) for seed in (1, 1, 2))
    gains = [module.gain for module in first.modules() if isinstance(module, MapLayerNorm)]
    assert [gain.numel() for gain in gains] == [128, 64]
    values = torch.cat(gains)
    assert 0 <= values.min() < 0.1 and 0.9 < values.max() <= 1
    assert abs(float(values.mean().detach()) - 0.5) < 0.1
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert not torch.equal(first.state_dict()["up.2.gain"], other.state_dict()["up.2.gain"])


def test_kernels_start_with_the_variance_of_he():
    encoder = MUNITGeneratorConfig().build_style_encoder(seed=0)
    kernel = encoder.state_dict()["layers.6.weight"]  # 4 x 4 x 256 numbers reach an output
    assert_close(kernel.std().item(), (2 / 4096) ** 0.5, rtol=0.02, atol=0)
    assert not encoder.state_dict()["layers.6.bias"].any()


def test_content_has_a_quarter_of_the_resolution_and_neither_offset_nor_contrast_of_the_image():
    encoder = MUNITGeneratorConfig(width=4, blocks=1).build_content_encoder(seed=0)
    one = image(0)
    (content,) = encoder(one)
    assert content.shape == (2, 16, 8, 8)
    (other,) = encoder(0.5 * one + 0.25)
    assert_close(other, content, rtol=0, atol=1e-2)
    (moved,) = encoder(one.flip(3))
    assert (moved - content).abs().mean() > 0.1


def test_the_style_sees_contrast_and_is_the_mean_of_what_is_valid():
    encoder = SMALL.build_style_encoder(seed=0)
    one = image(0)
    style = encoder(one)
    assert style.shape == (2, 3)
    assert (encoder(0.25 * one) - style).abs().max() > 0.01
    everywhere = torch.ones_like(one)
    assert_close(encoder(one, everywhere), style)
    assert_close(encoder(one, torch.zeros_like(one)), style)  # nothing is known: everything counts
    # a constant image has the same features everywhere, so that any area gives the same mean
    part = everywhere.clone()
    part[..., :16] = 0
    assert_close(encoder(torch.full_like(one, 0.5), part), encoder(torch.full_like(one, 0.5)))
    assert not torch.allclose(encoder(one, part), style)


def test_the_mlp_gives_for_each_norm_its_shifts_and_then_its_scales():
    decoder = SMALL.build_decoder(seed=0)
    mlp = decoder.style_mlp
    assert isinstance(mlp, nn.Sequential)
    last = mlp[-1]
    assert isinstance(last, nn.Linear)
    assert last.out_features == 2 * 1 * 2 * 8  # shift and scale, one block, two norms, 8 channels
    nn.init.zeros_(last.weight)
    numbers = torch.arange(32.0)
    last.bias.data.copy_(numbers)
    looks = decoder._looks(torch.zeros(1, 3))
    assert [(a[0].tolist(), b[0].tolist()) for a, b in looks] == [
        (numbers[:8].tolist(), numbers[8:16].tolist()),
        (numbers[16:24].tolist(), numbers[24:].tolist()),
    ]


def test_only_the_style_decides_how_a_content_looks():
    decoder = MUNITGeneratorConfig(width=4, blocks=1).build_decoder(seed=0)
    content = (image(0, count=1, size=8, channels=16),)
    styles = sample_styles(2, 8, torch.Generator().manual_seed(0))
    first, second = decoder(content, styles[:1]), decoder(content, styles[1:])
    assert first.shape == (1, 1, 32, 32)
    assert first.abs().max() <= 1
    assert (first - second).abs().mean() > 0.01


@pytest.mark.parametrize("norm", ["adaptive", "instance"])
def test_a_full_resolution_skip_carries_a_detail_that_the_bottleneck_loses(norm: str):
    config = MUNITGeneratorConfig(width=2, blocks=1, style_size=3, mlp_width=4, full_resolution_skip=True)
    encoder = config.build_content_encoder(seed=0)
    decoder = config.build_decoder(seed=1, norm=norm)  # type: ignore[arg-type]
    coarse, fine = encoder(image(0))
    assert (coarse.shape, fine.shape) == ((2, 8, 8, 8), (2, 2, 32, 32))
    style = torch.ones(2, 3)
    plain = decoder((coarse, fine), style)
    assert plain.shape == (2, 1, 32, 32)
    assert not torch.equal(decoder((coarse, fine.flip(3)), style), plain)


@pytest.mark.parametrize("norm", ["adaptive", "instance"])
@pytest.mark.parametrize("skip", [False, True])
def test_a_residual_output_adds_the_image_to_what_is_painted(norm: str, skip: bool):
    config = SMALL.model_copy(update={"residual_output": True, "full_resolution_skip": skip})
    encoder = config.build_content_encoder(seed=0)
    decoder = config.build_decoder(seed=1, norm=norm)  # type: ignore[arg-type]
    given = image(0)
    content, style = encoder(given), torch.ones(2, 3)
    assert torch.equal(content[-1], given)
    painted: list[Tensor] = []
    decoder.paint.register_forward_hook(lambda module, taken, out: painted.append(out))
    # 0.97, because the inverse of tanh ends at 1
    assert_close(decoder(content, style), torch.tanh(painted[0] + torch.atanh(0.97 * given)))
    plain = SMALL.model_copy(update={"full_resolution_skip": skip}).build_decoder(seed=1, norm=norm)  # type: ignore[arg-type]
    assert_close(decoder.paint.weight, 0.1 * plain.paint.weight)


def test_the_discriminator_judges_an_average_pooled_pyramid():
    judge = PyramidDiscriminatorConfig(width=2).build(seed=0)
    seen: list[Tensor] = []
    for scale in judge.scales:
        scale.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    one = image(0, size=64)
    logits = judge(one)
    assert [tuple(map.shape) for map in logits] == [(2, 1, 4, 4), (2, 1, 2, 2), (2, 1, 1, 1)]
    assert torch.equal(seen[0], one)
    # the corner has four neighbours with itself, an inner pixel nine: padding doesn't count
    assert_close(seen[1][0, 0, 0, 0], one[0, 0, :2, :2].mean())
    assert_close(seen[1][0, 0, 1, 1], one[0, 0, 1:4, 1:4].mean())
    assert seen[2].shape == (2, 1, 16, 16)


def test_the_three_discriminators_are_three_networks_with_raw_logits():
    judge = PyramidDiscriminatorConfig(width=2).build(seed=0)
    first = [value for name, value in judge.state_dict().items() if name.endswith("0.weight")]
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[1], first[2])
    for scale in judge.scales:
        last = list(scale.children())[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, -3.0)
    assert all(bool((logits == -3).all()) for logits in judge(image(0, size=64)))


def test_one_scale_sees_patches_of_46_pixels():
    judge = PyramidDiscriminatorConfig(width=2, scales=1).build(seed=0)
    for parameter in judge.parameters():
        nn.init.constant_(parameter, 0.1)  # no gradient cancels
    one = torch.ones(1, 1, 128, 128, requires_grad=True)
    judge(one)[0][0, 0, 4, 4].backward()
    assert one.grad is not None
    assert int((one.grad[0, 0] != 0).any(dim=1).sum()) == 46


def test_too_small_crops_are_refused_with_the_smallest_size():
    judge = PyramidDiscriminatorConfig(width=2).build(seed=0)
    with pytest.raises(UsageError, match="images of 63 x 64 px; expected at least 64 px for 3 scales"):
        judge(image(0, size=64)[:, :, 1:])
    fewer = PyramidDiscriminatorConfig(width=2, layers=2, scales=2)
    assert fewer.smallest_px == 8
    assert len(fewer.build(seed=0)(image(0, size=8))) == 2


def test_magnified_detail_is_a_second_channel():
    judge = PyramidDiscriminatorConfig(width=2, scales=1, layers=1, detail_gain=8.0).build(seed=0)
    seen: list[Tensor] = []
    judge.scales[0].register_forward_hook(lambda module, given, out: seen.append(given[0]))
    one = torch.zeros(1, 1, 8, 8)
    one[0, 0, 4, 4] = 0.09
    judge(one)
    assert_close(seen[0][0, 1, 4, 4], torch.tensor(8 * (0.09 - 0.01)))
    assert_close(seen[0][0, 1, 3, 4], torch.tensor(8 * -0.01))


def test_interpolated_styles_lie_on_the_line_with_both_ends():
    first, second = torch.tensor([0.0, 2.0]), torch.tensor([1.0, -2.0])
    assert_close(interpolate_styles(first, second, 3), torch.tensor([[0.0, 2.0], [0.5, 0.0], [1.0, -2.0]]))


def test_what_is_asked_for_becomes_codes():
    one = image(0, size=4)
    ask = {"valid": None, "size": 3, "key": "7"}
    assert torch.equal(styles_as_asked("mean", one, **ask), torch.zeros(2, 3))
    drawn = styles_as_asked("random", one, **ask)
    for same in (None, 0):
        assert torch.equal(styles_as_asked(same, one, **ask), drawn)
    assert not torch.equal(styles_as_asked(1, one, **ask), drawn)
    assert not torch.equal(drawn[0], drawn[1])
    code = torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(styles_as_asked(code, one, **ask), torch.stack([code, code]))
    assert torch.equal(styles_as_asked(drawn, one, **ask), drawn)


@pytest.mark.parametrize(
    "style", ["fancy", 1.5, True, torch.zeros(2), torch.zeros(5, 3), torch.full((3,), float("nan"))]
)
def test_what_is_no_style_is_refused(style: object):
    with pytest.raises(UsageError, match="expected mean, random, an integer"):
        styles_as_asked(style, image(0, size=4), None, size=3, key="7")


def test_a_draw_depends_on_what_the_image_shows_and_on_the_key_only():
    one, valid = image(0, size=4), torch.ones(2, 1, 4, 4)
    valid[..., 0] = 0
    drawn = styles_of_content(one, valid, size=8, key="7")
    hidden, changed = one.clone(), one.clone()
    hidden[..., 0] = 0.3
    changed[0, 0, 1, 1] = 0.3
    assert torch.equal(styles_of_content(hidden, valid, size=8, key="7"), drawn)
    assert torch.equal(styles_of_content(one[1:], valid[1:], size=8, key="7"), drawn[1:])  # not on the batch
    assert not torch.equal(styles_of_content(one, valid, size=8, key="8"), drawn)
    other = styles_of_content(changed, valid, size=8, key="7")
    assert not torch.equal(other[0], drawn[0])
    assert torch.equal(other[1], drawn[1])


def test_draws_are_standard_normal():
    codes = sample_styles(4000, 8, torch.Generator().manual_seed(0))
    assert_close(codes.mean(dim=0), torch.zeros(8), rtol=0, atol=0.07)
    assert_close(codes.std(dim=0), torch.ones(8), rtol=0, atol=0.05)
    images = image(0, count=400, size=4)
    drawn = styles_of_content(images, None, size=8, key="7")
    assert_close(drawn.mean(), torch.tensor(0.0), rtol=0, atol=0.06)
    assert_close(drawn.std(), torch.tensor(1.0), rtol=0, atol=0.05)
