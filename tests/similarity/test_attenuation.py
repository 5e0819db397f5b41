import math

import torch
from scipy.optimize import isotonic_regression
from torch.testing import assert_close

from medi2i.similarity.attenuation import attenuation_distance, blur
from medi2i.similarity.tone_curve import apply_tone_curve, fit_tone_curve, isotonic
from tests.similarity.pairs import anatomy, half_valid, warped


def test_a_curve_that_bends_at_the_knots_is_found_and_undone():
    x = torch.linspace(-1, 1, 400, dtype=torch.float64).view(1, 1, 20, 20)
    values = torch.tensor([[-0.8, -0.6, 0.3, 0.9, 1.0]], dtype=torch.float64)
    y = apply_tone_curve(x, values)
    assert_close(y[0, 0, 0, 0].item(), -0.8)
    found = fit_tone_curve(x, y, torch.ones_like(x), knots=5)
    assert_close(found, values, rtol=0, atol=2e-3)


def test_levels_that_no_pixel_has_continue_the_line_and_the_ends_are_clipped():
    x = torch.linspace(-0.2, 0.2, 100, dtype=torch.float64).view(1, 1, 10, 10)
    found = fit_tone_curve(x, 0.5 * x + 0.1, torch.ones_like(x), knots=9)
    assert_close(found[0], 0.1 + 0.5 * torch.linspace(-1, 1, 9, dtype=torch.float64), rtol=0, atol=0.02)
    unchanged = fit_tone_curve(x, x, torch.ones_like(x), knots=9)
    assert_close(unchanged[0], torch.linspace(-1, 1, 9, dtype=torch.float64), rtol=0, atol=1e-12)
    assert_close(apply_tone_curve(torch.full_like(x, 7.0), found)[0, 0, 0, 0], found[0, -1])


def test_isotonic_regression_is_scipys():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    mass = torch.rand(5, 12, generator=generator, dtype=torch.float64) + 0.01
    for found, own, weights in zip(isotonic(values, mass), values, mass, strict=True):
        expected = isotonic_regression(own.numpy(), weights=weights.numpy()).x
        assert_close(found, torch.from_numpy(expected))
    rising = values.cumsum(dim=1).abs().cumsum(dim=1)
    assert_close(isotonic(rising, mass), rising)


def test_an_inversion_costs_what_a_curve_of_the_smallest_slope_leaves():
    x = torch.full((1, 1, 8, 8), -0.5, dtype=torch.float64)
    x[..., 4:] = 0.5
    # the fitted slope -1 becomes 0.1: T(+-0.5) = +-0.05, and y is -+0.5; a box of 1 px blurs nothing
    distance = attenuation_distance(x, -x, window_px=1, knots=5, minimum_slope=0.1)
    assert_close(distance.item(), 0.55, rtol=0, atol=1e-3)
    wiped = attenuation_distance(x, 0 * x, window_px=1, knots=5, minimum_slope=0.1)
    assert_close(wiped.item(), 0.05, rtol=0, atol=1e-3)


def test_both_sides_are_blurred():
    x = anatomy(48)
    checkers = 0.3 * (-1.0) ** (torch.arange(48)[:, None] + torch.arange(48)).to(x.dtype)
    moved = attenuation_distance(x, warped(x, 8), window_px=7).item()
    assert attenuation_distance(x, x + checkers, window_px=7).item() < 0.03 * moved
    assert attenuation_distance((x + checkers).clamp(-1, 1), x, window_px=7).item() < 0.5 * moved
    assert attenuation_distance(x, x + checkers, window_px=1).item() > 0.25


def test_the_blur_is_three_boxes():
    impulse = torch.zeros(1, 1, 15, 15, dtype=torch.float64)
    impulse[..., 7, 7] = 1
    response = blur(impulse, torch.ones_like(impulse), 3)[0, 0]
    # 1 1 1 three times convolved: 1 3 6 7 6 3 1, over 27
    line = torch.tensor([1.0, 3, 6, 7, 6, 3, 1], dtype=torch.float64) / 27
    assert_close(response[4:11, 4:11], line[:, None] * line)
    assert response[0, 7].item() == 0


def test_the_blur_leaves_a_constant_constant_whatever_is_invalid():
    valid = half_valid(torch.ones(1, 1, 12, 12))
    image = torch.where(valid > 0, 0.3, math.nan)
    assert_close(blur(image, valid, 5)[..., :6], torch.full((1, 1, 12, 6), 0.3))


def test_invalid_pixels_count_in_nothing():
    x, y = anatomy(32), warped(anatomy(32), 4)
    valid = half_valid(x)
    broken = torch.where(valid > 0, y, torch.full_like(y, math.nan))
    distance = attenuation_distance(x, broken, valid, window_px=5)
    assert_close(distance, attenuation_distance(x, y, valid, window_px=5))
    # three boxes come back from beyond the edge of what is valid, but not from beyond the edge of an image
    cropped = attenuation_distance(x[..., :16], y[..., :16], window_px=5)
    assert_close(distance, cropped, rtol=0.02, atol=0)
    assert math.isnan(attenuation_distance(x, y, 0 * valid, undefined=math.nan).item())


def test_gradcheck():
    x, y = anatomy(7), warped(anatomy(7), 1).requires_grad_()
    options = {"window_px": 3, "knots": 4}
    assert torch.autograd.gradcheck(lambda t: attenuation_distance(x, t, **options), (y,))
