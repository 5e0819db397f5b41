import torch
from torch import Tensor
from torch.testing import assert_close

from medi2i.networks.tone_texture import draw_texture, weigh_texture


def texture(side: int, reference_px: int, seed: int = 0) -> Tensor:
    return draw_texture((1, side, side), reference_px, 2, torch.Generator().manual_seed(seed))


def neighbours(texture: Tensor, lag: int) -> float:
    """Correlation of pixels that are `lag` columns apart."""
    return float((texture[..., lag:] * texture[..., :-lag]).mean())


def test_textures_have_mean_zero_and_unit_spread():
    drawn = texture(64, 64)
    assert drawn.shape == (2, 2, 64, 64)
    assert_close(drawn.mean(dim=(-2, -1)), torch.zeros(2, 2), rtol=0, atol=1e-5)
    assert_close(drawn.square().mean(dim=(-2, -1)), torch.ones(2, 2), rtol=0, atol=1e-5)


def test_the_same_generator_draws_the_same_texture():
    assert torch.equal(texture(32, 64, 3), texture(32, 64, 3))
    assert not torch.equal(texture(32, 64, 3), texture(32, 64, 4))


def test_grain_has_the_size_of_a_reference_pixel_on_larger_images():
    own, larger = texture(64, 64), texture(192, 64)
    fine, coarse = own[:, 0], own[:, 1]
    assert neighbours(fine, 1) < 0.1 < neighbours(coarse, 1)
    # three pixels for each of the reference's
    assert neighbours(larger[:, 0], 1) > 0.7
    assert abs(neighbours(larger[:, 1], 3) - neighbours(coarse, 1)) < 0.1


def test_each_texture_is_weighed_by_its_own_amplitude():
    drawn = texture(16, 16)
    amplitudes = torch.tensor([0.02, 0.01]).view(1, 2, 1, 1).expand(2, 2, 4, 4)
    assert_close(weigh_texture(drawn, amplitudes), 0.02 * drawn[:, :1] + 0.01 * drawn[:, 1:])
