import pytest
import torch
from monai.losses import PatchAdversarialLoss
from torch.testing import assert_close

from medi2i.losses.adversarial import least_squares


@pytest.mark.parametrize(
    ("logit", "real", "expected"), [(-0.5, True, 2.25), (-1.0, False, 1.0), (1, True, 0)]
)
def test_hand_computed_values_on_raw_logits(logit: float, real: bool, expected: float):
    logits = torch.full((1, 1, 3, 3), float(logit))
    assert_close(least_squares(logits, real), torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("real", [True, False])
def test_unweighted_it_is_monais_without_activation(real: bool):
    logits = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    monai = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
    expected = monai(logits, target_is_real=real, for_discriminator=True)
    assert_close(least_squares(logits, real), expected)
    assert_close(least_squares(logits, real, torch.ones_like(logits)), expected)


def test_each_patch_counts_by_its_weight():
    logits = torch.tensor([[[[0.0, 3.0]]]])
    weight = torch.tensor([[[[3.0, 1.0]]]])
    # targets 1: squares 1 and 4, weighted mean (3 + 4) / 4
    assert_close(least_squares(logits, True, weight), torch.tensor(1.75))


def test_patches_of_weight_zero_get_no_gradient():
    logits = torch.zeros(1, 1, 2, 2, requires_grad=True)
    weight = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    least_squares(logits, True, weight).backward()
    assert_close(logits.grad, -weight)


def test_half_precision_logits_give_a_float32_loss():
    logits = torch.full((1, 1, 64, 64), -0.5, dtype=torch.bfloat16)
    loss = least_squares(logits, True)
    assert loss.dtype == torch.float32
    assert loss.item() == 2.25
