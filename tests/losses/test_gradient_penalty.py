import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from medi2i.losses.gradient_penalty import gradient_penalty, mix


def points(seed: int = 0, count: int = 3) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 2, 2, generator=rng, dtype=torch.float64)


def test_the_penalty_of_a_linear_critic_is_its_slopes_length_less_one_squared():
    slope = torch.tensor([[[3.0, 0.0], [4.0, 12.0]]], dtype=torch.float64, requires_grad=True)

    def critic(x: Tensor) -> Tensor:
        return (x * slope).sum(dim=(1, 2, 3)) + 7

    penalty = gradient_penalty(critic, points())
    assert_close(penalty.item(), (13.0 - 1) ** 2)  # 3, 4, 12: length 13
    penalty.backward()
    # derivative of (|w| - 1)^2 is 2 (|w| - 1) w / |w|
    assert_close(slope.grad, 2 * 12 / 13 * slope.detach())


def test_it_is_a_mean_over_images_and_a_sum_over_patches():
    x = points()
    length = (2 * x).flatten(1).square().sum(dim=1).sqrt()  # of the gradient of sum x^2
    assert_close(gradient_penalty(lambda x: x**2, x), (length - 1).square().mean())


def test_it_is_second_derivatives_that_are_right():
    weight = torch.rand(1, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def penalty(w: Tensor) -> Tensor:
        return gradient_penalty(lambda x: torch.tanh(nn.functional.conv2d(x, w)), points())

    assert torch.autograd.gradcheck(penalty, weight.requires_grad_(True))


def test_a_critic_that_does_not_look_has_penalty_one_and_no_nan():
    weight = torch.zeros(1, requires_grad=True)
    penalty = gradient_penalty(lambda x: x * weight, points().float())
    penalty.backward()
    assert_close(penalty.item(), 1.0, rtol=0, atol=1e-5)
    assert torch.isfinite(weight.grad).all()


def test_under_autocast_it_is_computed_in_single_precision():
    critic, seen = nn.Conv2d(1, 1, 2), []

    def score(x: Tensor) -> Tensor:
        y = critic(x)
        seen.append((x.dtype, y.dtype))
        return y

    x = points().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        penalty = gradient_penalty(score, x.bfloat16())
    assert seen == [(torch.float32, torch.float32)]
    length = critic.weight.detach().flatten().norm()
    assert_close(penalty.item(), ((length - 1) ** 2).item())


def test_it_works_where_gradients_are_off_and_leaves_the_points_alone():
    x = points()
    with torch.no_grad():
        assert gradient_penalty(lambda x: 2 * x, x) > 0
    assert not x.requires_grad


def test_points_lie_between_their_two_images_in_one_share_each():
    real, translated = torch.ones(200, 1, 2, 2, requires_grad=True), torch.full((200, 1, 2, 2), -1.0)
    mixed = mix(real, translated, torch.Generator().manual_seed(3))
    assert not mixed.requires_grad
    share = (mixed[:, 0, 0, 0] + 1) / 2
    assert torch.equal(mixed, (2 * share - 1)[:, None, None, None].expand_as(mixed))
    assert (share.min() < 0.05) & (share.max() > 0.95)
    assert_close(share.mean().item(), 0.5, rtol=0, atol=0.06)  # 3 standard errors of 200 draws
    again = mix(real, translated, torch.Generator().manual_seed(3))
    assert torch.equal(mixed, again)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_is_that_of_the_points_or_single(dtype: torch.dtype):
    assert gradient_penalty(lambda x: x, points().to(dtype)).dtype == dtype
