import pytest
import torch
from torch.testing import assert_close

from medi2i.adapters.base import Direction
from medi2i.adapters.baselines import Histogram, HistogramConfig, IdentityConfig

FORWARD: Direction = "source-to-target"
BACK: Direction = "target-to-source"


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 1


def fitted(source: torch.Tensor | None = None, target: torch.Tensor | None = None) -> Histogram:
    adapter = HistogramConfig().build(seed=0)
    for domain, images in (("source", source), ("target", target)):
        if images is not None:
            adapter.fit(domain, [(one, torch.ones_like(one)) for one in images])
    return adapter


@pytest.mark.parametrize("direction", [FORWARD, BACK])
def test_identity_changes_nothing(direction: Direction):
    adapter = IdentityConfig().build(seed=0)
    x = image(2, 1, 7, 5)
    assert torch.equal(adapter.translate(x, direction=direction, valid=torch.zeros_like(x)), x)
    assert adapter.players == ()
    assert adapter.size_multiple == 1


def test_matching_an_image_to_its_own_histogram_is_nearly_the_identity():
    x = image(1, 1, 64, 64)
    matched = fitted(target=x).translate(x, direction=FORWARD)
    # 512 levels over a range of 2: half a level, and the unevenness of 8 draws a level
    assert_close(matched, x, rtol=0, atol=0.012)


def test_few_gray_levels_match_themselves_exactly():
    x = torch.tensor([-0.75, -0.25, 0.5, 0.875]).repeat(64).view(1, 1, 16, 16)
    assert torch.equal(fitted(target=x).translate(x, direction=FORWARD), x)


def test_a_uniform_image_takes_the_squares_of_another():
    levels = torch.linspace(0, 1, 1024).view(1, 1, 32, 32)
    matched = fitted(target=levels**2).translate(levels, direction=FORWARD)
    assert_close(matched, levels**2, rtol=0, atol=0.006)


def test_each_direction_has_its_own_domains_histogram():
    dark, bright = image(1, 1, 16, 16) / 4 - 0.5, image(1, 1, 16, 16, seed=1) / 4 + 0.5
    adapter = fitted(source=dark, target=bright)
    assert adapter.translate(dark, direction=FORWARD).min() >= 0.25
    assert adapter.translate(bright, direction=BACK).max() <= -0.25


def test_the_reference_is_the_mean_of_the_images_quantile_functions():
    one = torch.linspace(-1, 0, 512).view(1, 1, 16, 32)
    other = torch.linspace(0, 1, 512).view(1, 1, 16, 32)
    adapter = fitted(target=torch.cat([one, other]))
    assert_close(adapter.target_quantiles, torch.linspace(-0.5, 0.5, 512))


def test_the_map_is_monotone_and_equal_pixels_stay_equal():
    x = (image(1, 1, 32, 32) * 40).round() / 40
    matched = fitted(target=image(1, 1, 32, 32, seed=1) ** 3).translate(x, direction=FORWARD)
    order = x.flatten().argsort()
    before, after = x.flatten()[order], matched.flatten()[order]
    assert (after.diff() >= 0).all()
    assert (after.diff()[before.diff() == 0] == 0).all()


def test_invalid_pixels_do_not_count():
    x, target = image(1, 1, 16, 16), image(1, 1, 16, 16, seed=1)
    valid = torch.ones_like(x)
    valid[..., :6] = 0
    painted, target_painted = x.clone(), target.clone()
    painted[..., :6], target_painted[..., :6] = 1.0, -1.0
    clean, dirty = HistogramConfig().build(seed=0), HistogramConfig().build(seed=0)
    clean.fit("target", [(target[0], valid[0])])
    dirty.fit("target", [(target_painted[0], valid[0])])
    assert torch.equal(clean.target_quantiles, dirty.target_quantiles)
    expected = clean.translate(x, direction=FORWARD, valid=valid)
    found = dirty.translate(painted, direction=FORWARD, valid=valid)
    assert torch.equal(found[valid > 0], expected[valid > 0])
    assert not torch.equal(clean.translate(painted, direction=FORWARD)[valid > 0], expected[valid > 0])


def test_a_constant_image_becomes_the_median_of_the_reference():
    adapter = fitted(target=torch.linspace(-0.2, 0.6, 512).view(1, 1, 16, 32))
    matched = adapter.translate(torch.full((1, 1, 8, 8), 0.9), direction=FORWARD)
    assert_close(matched, torch.full((1, 1, 8, 8), 0.2))


def test_an_image_without_a_valid_pixel_is_matched_as_a_whole():
    x = image(1, 1, 16, 16)
    adapter = fitted(target=image(1, 1, 16, 16, seed=1))
    nowhere = adapter.translate(x, direction=FORWARD, valid=torch.zeros_like(x))
    assert torch.equal(nowhere, adapter.translate(x, direction=FORWARD))


def test_the_images_of_a_batch_are_matched_one_by_one():
    x = torch.cat([image(1, 1, 16, 16) / 3, image(1, 1, 16, 16, seed=1) / 3 + 0.5])
    adapter = fitted(target=image(1, 1, 16, 16, seed=2))
    assert torch.equal(
        adapter.translate(x, direction=FORWARD)[1:], adapter.translate(x[1:], direction=FORWARD)
    )


def test_what_was_fitted_travels_in_the_state():
    adapter = fitted(source=image(1, 1, 8, 8), target=image(1, 1, 8, 8, seed=1))
    restored = HistogramConfig().build(seed=0)
    restored.load_state_dict(adapter.state_dict())
    x = image(1, 1, 8, 8, seed=2)
    for direction in (FORWARD, BACK):
        expected = adapter.translate(x, direction=direction)
        assert torch.equal(restored.translate(x, direction=direction), expected)
        assert not torch.equal(HistogramConfig().build(seed=0).translate(x, direction=direction), expected)


def test_a_domain_without_training_images_keeps_the_straight_line():
    adapter = HistogramConfig().build(seed=0)
    adapter.fit("target", [])
    assert_close(adapter.target_quantiles, torch.linspace(-1, 1, 512))
