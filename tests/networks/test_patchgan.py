import pytest
import torch
from torch import nn

from medi2i.networks.discriminator import PatchGAN, PatchGANConfig


def support(layers: int, size: int) -> tuple[int, int]:
    """Rows and columns of input pixels that the central logit depends on, by its gradient."""
    discriminator = PatchGANConfig(width=2, layers=layers).build(seed=0)
    for name, module in list(discriminator.named_modules()):
        if isinstance(module, nn.InstanceNorm2d):  # its statistics see the whole image
            parent, _, child = name.rpartition(".")
            setattr(discriminator.get_submodule(parent), child, nn.Identity())
    for parameter in discriminator.parameters():
        nn.init.constant_(parameter, 0.1)  # no gradient cancels
    image = torch.ones(1, 1, size, size, requires_grad=True)
    logits = discriminator(image)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    assert image.grad is not None
    touched = image.grad[0, 0] != 0
    return int(touched.any(dim=1).sum()), int(touched.any(dim=0).sum())


def test_the_default_is_the_published_70_pixel_patch():
    assert support(3, 256) == (70, 70)


def test_fewer_layers_see_smaller_patches():
    # one stride-2 and two stride-1 convolutions of 4: 4 + 3 * 2 + 3 * 2; then one more stride: 34
    assert support(1, 64) == (16, 16)
    assert support(2, 96) == (34, 34)


def test_the_default_has_the_published_number_of_parameters_less_the_useless_biases():
    first, last = (16 * 1 + 1) * 64, 16 * 512 + 1
    inner = 16 * (64 * 128 + 128 * 256 + 256 * 512)
    assert first + inner + last == 2_761_793
    assert sum(p.numel() for p in PatchGAN(PatchGANConfig()).parameters()) == 2_761_793


def test_256_pixels_give_30_by_30_logits():
    discriminator = PatchGANConfig(width=2).build(seed=0)
    assert discriminator(torch.zeros(1, 1, 256, 256)).shape == (1, 1, 30, 30)


def test_the_logits_are_raw():
    discriminator = PatchGANConfig(width=2).build(seed=0)
    last = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d)][-1]
    nn.init.zeros_(last.weight)
    assert last.bias is not None
    for value in (-3.0, 5.0):
        nn.init.constant_(last.bias, value)
        assert torch.equal(discriminator(torch.zeros(1, 1, 64, 64)), torch.full((1, 1, 6, 6), value))


def test_only_inner_convolutions_have_a_norm_and_it_is_instance_norm_without_affine():
    discriminator = PatchGAN(PatchGANConfig(width=2))
    norms = [m for m in discriminator.modules() if "Norm" in type(m).__name__]
    assert [type(norm) for norm in norms] == [nn.InstanceNorm2d] * 3
    assert [norm.num_features for norm in norms] == [4, 8, 16]
    assert not any(norm.affine or norm.track_running_stats for norm in norms)


def test_training_and_evaluation_give_the_same_logits():
    discriminator = PatchGANConfig(width=2).build(seed=0)
    image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(discriminator.train()(image), discriminator.eval()(image))


def test_half_precision_inside_gives_float32_logits():
    discriminator = PatchGANConfig(width=2).build(seed=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert discriminator(torch.zeros(1, 1, 64, 64)).dtype == torch.float32


def test_without_norm_the_strength_of_fine_detail_reaches_the_logits_and_with_it_hardly():
    def response(norm: str) -> float:
        discriminator = PatchGANConfig(width=8, norm=norm).build(seed=0)  # type: ignore[arg-type]
        detail = torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
        weak, strong = (discriminator(strength * detail) for strength in (0.05, 0.4))
        return ((strong - weak).std() / strong.std()).item()

    # eight times the detail: without norm, logits (but for biases, 0 at the start) are eight times as large
    assert response("none") == pytest.approx(1 - 1 / 8, rel=1e-3)
    assert response("instance") < 0.5


def test_a_discriminator_without_norm_has_biases_everywhere():
    discriminator = PatchGANConfig(width=4, norm="none").build(seed=0)
    convolutions = [m for m in discriminator.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 5
    assert all(m.bias is not None for m in convolutions)


def test_the_detail_channel_shows_fine_detail_magnified_and_nothing_of_smooth_tone():
    discriminator = PatchGANConfig(width=4, detail_gain=4.0).build(seed=0)
    seen: list[torch.Tensor] = []
    discriminator.layers.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    ramp = torch.linspace(-1, 1, 64).expand(1, 1, 64, 64).clone()
    ramp[..., 32, 32] += 0.09
    discriminator(ramp)
    # a single bright pixel stands 8/9 of its height above its 3 x 3 mean, its neighbours 1/9 below theirs
    detail = seen[0][0, 1]
    assert detail[32, 32].item() == pytest.approx(4 * 0.08, abs=1e-5)
    assert detail[32, 33].item() == pytest.approx(-4 * 0.01, abs=1e-5)
    assert detail[10:20, 10:20].abs().max() < 1e-5
    assert torch.equal(seen[0][:, :1], ramp)
