import math

import pytest
import torch
from monai.metrics.regression import SSIMMetric
from torch.testing import assert_close

from medi2i.errors import UsageError
from medi2i.similarity.ssim import ssim


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_constant_images_give_the_luminance_term():
    # no variance: SSIM = (2ab + C1) / (a^2 + b^2 + C1), C1 = 0.01^2, a = 0.2, b = 0.6
    x, y = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.6)
    assert_close(ssim(x, y, 1.0), torch.tensor([(0.24 + 1e-4) / (0.4 + 1e-4)]), rtol=0, atol=1e-4)


def test_it_equals_monai_without_weights_and_with_ones():
    x, y = image(3, 1, 20, 24), image(3, 1, 20, 24, seed=1)
    expected = SSIMMetric(spatial_dims=2, data_range=1.0)(x, y)[:, 0]
    assert_close(ssim(x, y, 1.0), expected)
    assert_close(ssim(x, y, 1.0, torch.ones_like(x)), expected)


def test_only_windows_of_valid_pixels_count():
    x, y = image(1, 1, 20, 40), image(1, 1, 20, 40, seed=1)
    weight = torch.ones_like(x)
    weight[..., 25:] = 0
    filled = torch.where(weight > 0, y, torch.tensor(50.0))
    assert_close(ssim(x, filled, 1.0, weight), ssim(x[..., :25], y[..., :25], 1.0))


def test_a_windows_weight_is_its_centres():
    x, y = image(1, 1, 11, 12), image(1, 1, 11, 12, seed=1)
    weight = torch.ones_like(x)
    weight[..., 5, 5] = 3  # two windows: centred at columns 5 and 6
    left, right = ssim(x[..., :11], y[..., :11], 1.0), ssim(x[..., 1:], y[..., 1:], 1.0)
    assert_close(ssim(x, y, 1.0, weight), (3 * left + right) / 4)


def test_without_a_valid_window_it_is_undefined_with_zero_gradient():
    x, y = image(1, 1, 16, 16), image(1, 1, 16, 16, seed=1).requires_grad_()
    weight = torch.zeros_like(x)
    assert math.isnan(ssim(x, y, 1.0, weight, undefined=math.nan).item())
    value = ssim(x, y, 1.0, weight)
    value.sum().backward()
    assert value.item() == 0
    assert_close(y.grad, torch.zeros_like(x))


def test_autocast_changes_nothing():
    x, y = image(1, 1, 16, 16), image(1, 1, 16, 16, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = ssim(x, y, 1.0)
    assert inside.dtype == torch.float32
    assert_close(inside, ssim(x, y, 1.0), rtol=0, atol=0)


def test_images_smaller_than_the_window_are_refused():
    with pytest.raises(UsageError, match="10 x 32 pixels; expected at least 11 x 11"):
        ssim(image(1, 1, 10, 32), image(1, 1, 10, 32), 1.0)
