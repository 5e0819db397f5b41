import math

import pytest
import torch
from torch.testing import assert_close

from medi2i.similarity.gradient_correlation import gradient_correlation


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_hand_computed_value():
    # rows are equal: only differences along columns vary. x: (1, 2, 3) / 2, y: (1, 0, 2) / 2 in each row;
    # mean-free (-1, 0, 1) and (0, -1, 1): correlation 1 / sqrt(2 * 2) = 0.5; the other axis is left out.
    x = torch.tensor([0.0, 0.0, 1.0, 2.0, 4.0]).expand(1, 1, 4, 5)
    y = torch.tensor([0.0, 0.0, 1.0, 0.0, 3.0]).expand(1, 1, 4, 5)
    assert_close(gradient_correlation(x, y), torch.tensor([0.5]))


def test_both_axes_are_averaged():
    x = torch.tensor([0.0, 0.0, 1.0, 2.0, 4.0]).expand(1, 1, 5, 5)
    y = torch.tensor([0.0, 0.0, 1.0, 0.0, 3.0]).expand(1, 1, 5, 5)
    rows = torch.tensor([0.0, 1.0, 0.0, 2.0, 5.0])[:, None].expand(1, 1, 5, 5)
    # along columns 0.5 as above; along rows both have the same gradients: 1
    assert_close(gradient_correlation(x + rows, y + rows), torch.tensor([0.75]))


def test_affine_changes_of_tone_do_not_count_and_inversion_is_minus_one():
    x = image(2, 1, 16, 12)
    assert_close(gradient_correlation(x, 0.3 * x - 0.2), torch.ones(2), rtol=0, atol=1e-5)
    assert_close(gradient_correlation(x, -2 * x + 1), -torch.ones(2), rtol=0, atol=1e-5)


def test_it_is_symmetric_and_does_not_depend_on_the_batch():
    x, y = image(3, 1, 12, 15), image(3, 1, 12, 15, seed=1)
    weight = torch.rand(3, 1, 12, 15, generator=torch.Generator().manual_seed(2))
    together = gradient_correlation(x, y, weight)
    assert_close(together, gradient_correlation(y, x, weight))
    alone = torch.cat([gradient_correlation(x[i : i + 1], y[i : i + 1], weight[i : i + 1]) for i in range(3)])
    assert_close(together, alone)


def test_weights_of_one_change_nothing():
    x, y = image(2, 1, 12, 15), image(2, 1, 12, 15, seed=1)
    assert_close(gradient_correlation(x, y, torch.ones_like(x)), gradient_correlation(x, y))


def test_invalid_pixels_count_in_nothing():
    x, y = image(1, 1, 20, 20), image(1, 1, 20, 20, seed=1)
    weight = torch.ones_like(x)
    weight[..., :, 12:] = 0
    weight[..., 3, 4] = 0
    filled_x = torch.where(weight > 0, x, torch.tensor(-1e3))
    filled_y = torch.where(weight > 0, y, torch.tensor(5.0))
    assert_close(gradient_correlation(filled_x, filled_y, weight), gradient_correlation(x, y, weight))


def test_a_valid_part_counts_like_the_part_alone_along_the_cut_axis():
    x = torch.tensor([0.0, 0.0, 1.0, 2.0, 4.0, 9.0, -7.0]).expand(1, 1, 4, 7)
    y = torch.tensor([0.0, 0.0, 1.0, 0.0, 3.0, 1.0, 8.0]).expand(1, 1, 4, 7)
    weight = torch.ones_like(x)
    weight = torch.cat([weight[..., :5], torch.zeros(1, 1, 4, 2)], dim=-1)
    assert_close(gradient_correlation(x, y, weight), torch.tensor([0.5]))


def test_heavier_pixels_pull_the_value():
    x, y = image(1, 1, 20, 20), image(1, 1, 20, 20, seed=1)
    y[..., :10] = x[..., :10]
    weight = torch.ones_like(x)
    plain = gradient_correlation(x, y, weight)
    weight[..., :10] = 5
    assert gradient_correlation(x, y, weight).item() > plain.item() + 0.1


def test_constant_images_are_undefined_and_one_constant_image_scores_zero():
    flat, x = torch.full((1, 1, 8, 8), 0.3), image(1, 1, 8, 8)
    assert gradient_correlation(flat, flat + 0.1).item() == 0
    assert math.isnan(gradient_correlation(flat, flat + 0.1, undefined=math.nan).item())
    assert gradient_correlation(x, flat, undefined=math.nan).item() == 0
    nothing = torch.zeros_like(x)
    assert math.isnan(gradient_correlation(x, x, nothing, undefined=math.nan).item())


def test_undefined_images_have_zero_gradients_and_do_not_spoil_the_batch():
    x = image(2, 1, 8, 8)
    y = torch.stack([torch.full((1, 8, 8), 0.3), image(1, 8, 8, seed=1)]).requires_grad_()
    gradient_correlation(x, y).sum().backward()
    assert_close(y.grad[0], torch.zeros(1, 8, 8))
    assert torch.isfinite(y.grad[1]).all()
    assert y.grad[1].abs().max() > 0


def test_a_nan_comes_out_as_nan_unless_it_is_invalid():
    x, y = image(1, 1, 12, 12), image(1, 1, 12, 12, seed=1)
    weight = torch.ones_like(x)
    weight[0, 0, 3, 3] = 0
    broken = torch.where(weight > 0, y, torch.tensor(math.nan))
    assert math.isnan(gradient_correlation(x, broken).item())
    assert_close(gradient_correlation(x, broken, weight), gradient_correlation(x, y, weight))


def test_gradcheck():
    x, y = image(2, 1, 5, 6).double(), image(2, 1, 5, 6, seed=1).double().requires_grad_()
    weight = torch.ones_like(x)
    weight[0, 0, 2, 3] = 0
    assert torch.autograd.gradcheck(lambda t: gradient_correlation(x, t, weight), (y,))


def test_autocast_changes_nothing():
    x, y = image(1, 1, 16, 16), image(1, 1, 16, 16, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = gradient_correlation(x, y, torch.ones_like(x))
    assert inside.dtype == torch.float32
    assert_close(inside, gradient_correlation(x, y, torch.ones_like(x)), rtol=0, atol=0)


def test_half_precision_input_is_computed_in_float32():
    x, y = image(1, 1, 16, 16).bfloat16(), image(1, 1, 16, 16, seed=1).bfloat16()
    assert_close(gradient_correlation(x, y), gradient_correlation(x.float(), y.float()), rtol=0, atol=0)


def test_nothing_is_copied_to_the_host():
    # a meta tensor holds no values: .item(), a Python branch on a value, or .cpu() would raise
    x = torch.empty(2, 1, 16, 16, device="meta")
    assert gradient_correlation(x, x, x).shape == (2,)


@pytest.mark.parametrize(("shift_px", "lowest", "highest"), [(0, 1.0, 1.0), (1, 0.6, 0.95), (2, 0.2, 0.7)])
def test_it_falls_with_a_shift_of_a_smooth_texture(shift_px: int, lowest: float, highest: float):
    rough = image(1, 1, 64, 64)
    smooth = torch.nn.functional.avg_pool2d(torch.nn.functional.avg_pool2d(rough, 5, 1), 5, 1)
    width = smooth.shape[-1] - 2
    value = gradient_correlation(smooth[..., :width], smooth[..., shift_px : shift_px + width]).item()
    assert lowest - 1e-5 <= value <= highest + 1e-5
