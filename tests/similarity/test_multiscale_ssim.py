import math

import pytest
import torch
from monai.metrics.regression import MultiScaleSSIMMetric
from torch.testing import assert_close

from medi2i.errors import UsageError
from medi2i.similarity.multiscale_ssim import SCALE_WEIGHTS, multiscale_ssim
from medi2i.similarity.ssim import ssim
from tests.similarity.pairs import anatomy, half_valid, warped


def unit(image: torch.Tensor) -> torch.Tensor:
    return (image.float() + 1) / 2


@pytest.mark.parametrize("scales", [2, 5])
def test_without_weights_it_is_monais(scales: int):
    size = 11 * 2 ** (scales - 1)
    x, y = unit(anatomy(size, count=2)), unit(warped(anatomy(size, count=2), 1))
    weights = [value / sum(SCALE_WEIGHTS[:scales]) for value in SCALE_WEIGHTS[:scales]]
    # its size check counts one pixel too many
    monai = MultiScaleSSIMMetric(2, kernel_size=11, weights=weights)
    monai.kernel_size = (11, 11)
    expected = _without_size_check(monai, y, x)
    assert_close(multiscale_ssim(x, y, 1.0, scales=scales), expected, rtol=1e-5, atol=1e-6)
    assert_close(
        multiscale_ssim(x, y, 1.0, torch.ones_like(x), scales=scales), expected, rtol=1e-5, atol=1e-6
    )


def test_one_scale_is_ssim():
    x, y = unit(anatomy(24)), unit(warped(anatomy(24), 2))
    assert_close(multiscale_ssim(x, y, 1.0, half_valid(x), scales=1), ssim(x, y, 1.0, half_valid(x)))


def test_a_constant_offset_costs_only_the_luminance_of_the_coarsest_scale():
    x, y = torch.full((1, 1, 24, 24), 0.2), torch.full((1, 1, 24, 24), 0.6)
    # contrast is 1 everywhere; luminance (2ab + C1) / (a^2 + b^2 + C1) to the power of the second weight
    exponent = SCALE_WEIGHTS[1] / (SCALE_WEIGHTS[0] + SCALE_WEIGHTS[1])
    expected = ((0.24 + 1e-4) / (0.4 + 1e-4)) ** exponent
    assert_close(multiscale_ssim(x, y, 1.0, scales=2).item(), expected, rtol=0, atol=1e-3)


def test_invalid_pixels_reach_no_scale():
    x, y = unit(anatomy(64)), unit(warped(anatomy(64), 2))
    valid = half_valid(x)
    broken = torch.where(valid > 0, y, torch.full_like(y, 5.0))
    assert_close(
        multiscale_ssim(x, broken, 1.0, valid, scales=2),
        multiscale_ssim(x[..., :32], y[..., :32], 1.0, scales=2),
    )
    assert math.isnan(multiscale_ssim(x, y, 1.0, 0 * valid, scales=2, undefined=math.nan).item())


def test_images_too_small_for_the_coarsest_scale_are_refused():
    small = torch.zeros(1, 1, 43, 60)
    with pytest.raises(
        UsageError, match="MS-SSIM of 3 scales: images of 43 x 60 pixels; expected at least 44"
    ):
        multiscale_ssim(small, small, 1.0, scales=3)


def _without_size_check(
    metric: MultiScaleSSIMMetric, first: torch.Tensor, second: torch.Tensor
) -> torch.Tensor:
    return metric._compute_metric(first, second)[:, 0]
