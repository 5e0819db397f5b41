import math

import pytest
import torch
from torch.testing import assert_close

from medi2i.losses import GradientCorrelationConfig, TranslationPair
from medi2i.similarity.gradient_correlation import gradient_correlation, local_gradient_correlation


def ramp(rows: int, columns: int, slope: float) -> torch.Tensor:
    return (slope * torch.arange(columns, dtype=torch.float64)).expand(1, 1, rows, columns)


def texture(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equal_images_score_one_even_where_they_are_flat():
    x = torch.zeros(1, 1, 40, 40, dtype=torch.float64)
    x[..., 20:] = texture(1, 1, 40, 20)
    assert_close(local_gradient_correlation(x, x), torch.ones(1, dtype=torch.float64))


def test_hand_computed_value_of_ramps():
    # gradients 0.1 and 0.3 everywhere, noise 0.1: (0.03 + 0.01) / sqrt((0.01 + 0.01) (0.09 + 0.01))
    value = local_gradient_correlation(ramp(20, 20, 0.1), ramp(20, 20, 0.3), window_px=8, noise=0.1)
    assert_close(value, torch.tensor([0.04 / math.sqrt(0.02 * 0.1)], dtype=torch.float64))
    # against each other: (-0.03 + 0.01) / the same
    value = local_gradient_correlation(ramp(20, 20, 0.1), ramp(20, 20, -0.3), window_px=8, noise=0.1)
    assert_close(value, torch.tensor([-0.02 / math.sqrt(0.02 * 0.1)], dtype=torch.float64))


def test_an_inverted_half_costs_its_share_however_weak_its_contrast():
    x = torch.cat([texture(1, 1, 34, 33), 0.1 * texture(1, 1, 34, 33, seed=1)], dim=-1)
    y = torch.cat([x[..., :33], -x[..., 33:]], dim=-1)
    local = local_gradient_correlation(x, y, window_px=16, noise=1e-4)
    # of 7 windows in a row 4 are ruled by strong texture, 1 holds only its edge, and the last 2 are inverted:
    # between (4 - 1 - 2) / 7 and (4 + 1 - 2) / 7
    assert 1 / 7 < local.item() < 3 / 7
    assert gradient_correlation(x, y).item() > 0.95


def test_a_shape_drawn_into_a_flat_region_costs_though_the_global_measure_hardly_sees_it():
    x = texture(1, 1, 66, 66)
    x[..., :33, :] = 0
    y = x.clone()
    y[..., 8:24, 8:24] = 0.2  # a square out of nothing
    assert gradient_correlation(x, y).item() > 0.97
    assert local_gradient_correlation(x, y).item() < 0.9


def test_invalid_pixels_count_in_nothing():
    x, y = texture(1, 1, 40, 40), texture(1, 1, 40, 40, seed=1)
    weight = torch.ones_like(x)
    weight[..., 25:] = 0
    filled = torch.where(weight > 0, x, torch.tensor(1e3, dtype=torch.float64))
    assert_close(local_gradient_correlation(filled, y, weight), local_gradient_correlation(x, y, weight))


def test_without_a_valid_window_it_is_undefined():
    x = texture(1, 1, 40, 40)
    value = local_gradient_correlation(x, x, torch.zeros_like(x), undefined=math.nan)
    assert torch.isnan(value).all()


def test_its_gradient_is_right():
    x = texture(1, 1, 12, 12)
    y = texture(1, 1, 12, 12, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: local_gradient_correlation(x, t, window_px=6), (y,))


@pytest.mark.parametrize("window_px", [None, 8])
def test_the_loss_is_one_minus_the_measure_it_is_configured_for(window_px: int | None):
    x, y = texture(2, 1, 20, 20), texture(2, 1, 20, 20, seed=1)
    loss = GradientCorrelationConfig(window_px=window_px).build()(TranslationPair(x, y))
    measure = (
        gradient_correlation(x, y)
        if window_px is None
        else local_gradient_correlation(x, y, window_px=window_px)
    )
    assert_close(loss, 1 - measure.mean())
