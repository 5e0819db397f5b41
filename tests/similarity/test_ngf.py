import math

import pytest
import torch
from torch.testing import assert_close

from medi2i.similarity.gradients import central_gradient, gradient_weight, sobel_gradient
from medi2i.similarity.ngf import ngf_distance
from tests.similarity.pairs import anatomy, half_valid, warped


def ramp(slope: float, *, down: bool = False) -> torch.Tensor:
    image = (slope * torch.arange(9, dtype=torch.float64)).expand(1, 1, 9, 9)
    return image.transpose(-1, -2) if down else image


def test_hand_computed_value_of_parallel_ramps():
    # noise 0.1: s(x, x) = (0.01 / 0.02)^2, s(y, y) = (0.09 / 0.1)^2, s(x, y) = 0.03^2 / (0.02 * 0.1)
    expected = 1 - 2 * 0.45 / (0.25 + 0.81)
    distance = ngf_distance(ramp(0.1), ramp(0.3), noise=0.1)
    assert_close(distance, torch.tensor([expected], dtype=torch.float64))
    assert_close(ngf_distance(ramp(0.1), ramp(-0.3), noise=0.1), distance)


def test_edges_across_each_other_and_wiped_out_edges_cost_everything():
    assert_close(ngf_distance(ramp(0.1), ramp(0.1, down=True)).item(), 1.0)
    assert_close(ngf_distance(ramp(0.1), 0 * ramp(0.1)).item(), 1.0)
    assert_close(ngf_distance(0 * ramp(0.1), ramp(0.1)).item(), 1.0)


def test_ramps_at_45_degrees_agree_by_half():
    # <n_x, n_y>^2 = cos^2(45 degrees) where the noise is nothing
    both = ramp(0.1) + ramp(0.1, down=True)
    assert_close(ngf_distance(ramp(0.1), both, noise=1e-6).item(), 0.5, rtol=0, atol=1e-6)


def test_two_flat_images_are_equal_and_nothing_valid_is_undefined():
    flat = 0 * ramp(1.0)
    assert ngf_distance(flat, flat + 0.5).item() == 0
    assert math.isnan(ngf_distance(ramp(1), ramp(1), flat, undefined=math.nan).item())


def test_it_is_symmetric_and_counts_valid_pixels_only():
    x, y = anatomy(24), warped(anatomy(24), 2)
    assert_close(ngf_distance(x, y), ngf_distance(y, x))
    valid = half_valid(x)
    assert_close(ngf_distance(x, y, valid), ngf_distance(x[..., :12], y[..., :12]))


def test_gradcheck_and_no_copy_to_the_host():
    x, y = anatomy(6), warped(anatomy(6), 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: ngf_distance(x, t), (y,))
    empty = torch.empty(2, 1, 16, 16, device="meta")
    assert ngf_distance(empty, empty, empty).shape == (2,)


@pytest.mark.parametrize("gradient", [central_gradient, sobel_gradient])
def test_gradients_are_slopes_along_columns_and_rows(gradient):
    field = gradient(ramp(0.1) + ramp(0.3, down=True))
    assert_close(field[0, 0], torch.full((7, 7), 0.1, dtype=torch.float64))
    assert_close(field[0, 1], torch.full((7, 7), 0.3, dtype=torch.float64))


def test_a_gradient_counts_where_none_of_its_nine_pixels_is_invalid():
    weight = torch.full((1, 1, 4, 5), 2.0)
    weight[0, 0, 0, 0] = 0
    assert_close(gradient_weight(weight)[0, 0], torch.tensor([[0.0, 2, 2], [2, 2, 2]]))
