import pytest
import torch
from torch.testing import assert_close

from medi2i.segmentation.appearance import AppearanceConfig, cover_outside, vary_appearance

OFF = dict.fromkeys(("gamma", "tone", "contrast", "brightness", "detail", "blur_px", "noise", "inversion"), 0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramps(count: int = 3) -> torch.Tensor:
    return torch.linspace(-1, 1, 400).reshape(1, 1, 20, 20).repeat(count, 1, 1, 1)


def varied(image: torch.Tensor, seed: int = 0, **changes: float) -> torch.Tensor:
    return vary_appearance(image, AppearanceConfig(**(OFF | changes)), generator(seed))


def test_with_everything_off_an_image_stays_itself():
    assert_close(varied(ramps()), ramps(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("change", ["gamma", "tone", "contrast", "brightness"])
def test_tone_changes_keep_the_order_of_gray_levels_and_differ_between_images(change: str):
    found = varied(ramps(), **{change: 0.5})
    assert (found.flatten(1).diff(dim=1) >= -1e-6).all()
    assert not torch.allclose(found[0], ramps(1)[0], atol=1e-3)
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_inversion_turns_the_ramp_around():
    assert_close(varied(ramps(), inversion=1.0), -ramps(), rtol=0, atol=1e-5)


def test_noise_has_at_most_the_strength_that_was_asked_for():
    spread = varied(torch.zeros(64, 1, 40, 40), noise=0.1).std(dim=(1, 2, 3))
    # of the whole range, which is 2; evenly drawn from 0 on
    assert 0.17 < spread.max() < 0.2
    assert spread.min() < 0.03


def test_detail_blurs_some_images_and_sharpens_others():
    image = torch.zeros(32, 1, 15, 15)
    image[:, :, 7, 7] = 0.2
    peak = varied(image, detail=1.0, blur_px=1.5)[:, 0, 7, 7]
    assert (peak < 0.15).any()
    assert (peak > 0.25).any()
    # a flat field has no detail
    assert_close(varied(image * 0 + 0.3, detail=1.0, blur_px=1.5), image * 0 + 0.3, rtol=0, atol=1e-5)


def test_the_same_generator_draws_the_same_and_the_argument_is_untouched():
    image = ramps()
    config = AppearanceConfig()
    first, second = (vary_appearance(image, config, generator(4)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(image, ramps())
    assert first.abs().max() <= 1
    assert not torch.equal(first, vary_appearance(image, config, generator(5)))


def test_what_is_outside_is_black_or_one_gray_level_and_what_is_inside_stays():
    image, valid = ramps(200), torch.ones(200, 1, 20, 20)
    valid[..., :5] = 0
    shown = cover_outside(image, valid, generator())
    assert torch.equal(shown[..., 5:], image[..., 5:])
    outside = shown[..., :5].flatten(1)
    assert (outside == outside[:, :1]).all()
    black = (outside[:, 0] == -1).float().mean()
    assert 0.5 < black < 0.7
    others = outside[outside[:, 0] > -1, 0]
    assert others.min() < -0.5
    assert others.max() > 0.5
    assert torch.equal(cover_outside(image, torch.ones_like(valid), generator()), image)
