import pytest
import torch
from monai.losses import SSIMLoss
from pydantic import ValidationError
from torch.testing import assert_close

from medi2i.config import Config
from medi2i.losses.cycle import CycleKind, cycle_distance
from medi2i.similarity.multiscale_ssim import multiscale_ssim


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.mark.parametrize("kind", ["l1", "l1_ssim", "l1_ms_ssim"])
def test_a_perfect_reconstruction_costs_nothing(kind: CycleKind):
    x = image(2, 1, 16, 16)
    assert_close(cycle_distance(x, x, kind), torch.tensor(0.0), rtol=0, atol=1e-6)


def test_l1_is_the_weighted_mean_of_absolute_differences():
    x = torch.zeros(1, 1, 2, 2)
    y = torch.tensor([[[[0.5, -1.0], [1.0, 9.0]]]])
    valid = torch.tensor([[[[1.0, 1.0], [1.0, 0.0]]]])
    assert_close(cycle_distance(y, x, "l1", valid=valid), torch.tensor(2.5 / 3))
    assert_close(cycle_distance(y, x), torch.tensor(11.5 / 4))


def test_l1_ssim_of_constant_images_is_hand_computed():
    # -0.6 and 0.2 are 0.2 and 0.6 in [0, 1]: SSIM (0.24 + 1e-4) / (0.4 + 1e-4); L1 0.8 in [-1, 1]
    x, y = torch.full((1, 1, 16, 16), -0.6), torch.full((1, 1, 16, 16), 0.2)
    similarity = 0.2401 / 0.4001
    expected = torch.tensor(0.84 * (1 - similarity) + 0.16 * 0.8)
    assert_close(cycle_distance(x, y, "l1_ssim"), expected, rtol=0, atol=1e-4)


def test_alpha_one_is_monais_ssim_loss_on_the_unit_range():
    x, y = image(2, 1, 24, 20), image(2, 1, 24, 20, seed=1)
    expected = SSIMLoss(spatial_dims=2, data_range=1.0)((x + 1) / 2, (y + 1) / 2)
    assert_close(cycle_distance(x, y, "l1_ssim", alpha=1.0), expected)
    assert_close(cycle_distance(x, y, "l1_ssim", alpha=0.0), (x - y).abs().mean())


@pytest.mark.parametrize(("size", "scales"), [(16, 1), (44, 3), (90, 4)])
def test_l1_ms_ssim_takes_as_many_scales_as_fit(size: int, scales: int):
    x, y = image(1, 1, size, size + 5), image(1, 1, size, size + 5, seed=1)
    similarity = multiscale_ssim((x + 1) / 2, (0.9 * x + 0.1 * y + 1) / 2, 1.0, scales=scales)
    loss = cycle_distance(0.9 * x + 0.1 * y, x, "l1_ms_ssim", alpha=0.5)
    assert_close(loss, 0.5 * (1 - similarity.mean()) + 0.05 * (x - y).abs().mean())


def test_an_image_without_a_valid_window_costs_no_ssim():
    x, y = image(2, 1, 16, 16), image(2, 1, 16, 16, seed=1).requires_grad_()
    loss = cycle_distance(y, x, "l1_ssim", valid=torch.zeros_like(x))
    loss.backward()
    assert loss.item() == 0
    assert_close(y.grad, torch.zeros_like(x))


def test_autocast_outputs_are_compared_in_float32():
    x = image(1, 1, 16, 16)
    y = image(1, 1, 16, 16, seed=1).bfloat16()
    loss = cycle_distance(y, x, "l1_ssim")
    assert loss.dtype == torch.float32
    assert_close(loss, cycle_distance(y.float(), x, "l1_ssim"))


def test_the_kind_is_a_typed_choice():
    class Settings(Config):
        cycle_loss: CycleKind = "l1"

    with pytest.raises(ValidationError, match="'l1', 'l1_ssim' or 'l1_ms_ssim'"):
        Settings(cycle_loss="l2")
