import math

import pytest
import torch
from monai.losses import LocalNormalizedCrossCorrelationLoss
from torch.testing import assert_close

from medi2i.errors import UsageError
from medi2i.similarity.lncc import local_correlation
from tests.similarity.pairs import anatomy, half_valid, warped


def test_without_noise_the_unsigned_one_is_monais_away_from_the_border():
    x, y = anatomy(20, count=2), warped(anatomy(20, count=2), 3)
    monai = LocalNormalizedCrossCorrelationLoss(
        spatial_dims=2, kernel_size=7, reduction="none", smooth_dr=1e-12
    )
    expected = -monai(y, x)[..., 3:-3, 3:-3].flatten(1).mean(dim=1)
    assert_close(local_correlation(x, y, window_px=7, noise=1e-7, signed=False), expected, rtol=1e-6, atol=0)


def test_hand_computed_value_of_ramps():
    ramp = torch.arange(5, dtype=torch.float64).expand(1, 1, 5, 5)
    # one window of 5 x 5: variance of 0 .. 4 is 2; slopes 0.1 and -0.3, noise 0.1
    expected = (-0.06 + 0.01) / math.sqrt((0.02 + 0.01) * (0.18 + 0.01))
    assert_close(local_correlation(0.1 * ramp, -0.3 * ramp, window_px=5, noise=0.1).item(), expected)
    unsigned = local_correlation(0.1 * ramp, -0.3 * ramp, window_px=5, noise=0.1, signed=False)
    assert_close(unsigned.item(), 0.07**2 / (0.03 * 0.19))


def test_flat_windows_agree_with_flat_ones_and_with_nothing_else():
    flat = torch.full((1, 1, 20, 20), -1.0)
    assert_close(local_correlation(flat, flat + 0.7), torch.ones(1))
    assert local_correlation(flat, anatomy(20).float()).item() < 0.2


def test_equal_images_score_one_in_float32_however_flat_they_are():
    x = anatomy(40).float() * half_valid(anatomy(40)).float() + 0.9
    for signed in (True, False):
        assert_close(local_correlation(x, x, signed=signed), torch.ones(1), rtol=0, atol=1e-4)


def test_only_valid_pixels_and_windows_with_some_count():
    x, y = anatomy(24), warped(anatomy(24), 2)
    valid = half_valid(x)
    broken = torch.where(valid > 0, y, torch.full_like(y, 50.0))
    assert_close(local_correlation(x, broken, valid), local_correlation(x, y, valid))
    assert math.isnan(local_correlation(x, y, 0 * valid, undefined=math.nan).item())


@pytest.mark.parametrize("signed", [True, False])
def test_gradcheck(signed: bool):
    x, y = anatomy(7), warped(anatomy(7), 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: local_correlation(x, t, window_px=5, signed=signed), (y,))


def test_nothing_is_copied_to_the_host():
    empty = torch.empty(2, 1, 16, 16, device="meta")
    assert local_correlation(empty, empty, empty).shape == (2,)


def test_images_smaller_than_the_window_are_refused():
    with pytest.raises(UsageError, match="10 x 32 pixels; expected at least 11 x 11"):
        local_correlation(torch.zeros(1, 1, 10, 32), torch.zeros(1, 1, 10, 32))
