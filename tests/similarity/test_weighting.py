import torch
from torch.testing import assert_close

from medi2i.similarity.weighting import erode_weight, masked_mean, masked_mean_per_image


def test_masked_mean_is_weighted_sum_over_sum_of_weights():
    values = torch.tensor([[[[1.0, 2.0], [3.0, 10.0]]]])
    weight = torch.tensor([[[[1.0, 3.0], [0.0, 0.5]]]])
    assert_close(masked_mean(values, weight), torch.tensor((1 + 6 + 5) / 4.5))


def test_masked_mean_equals_plain_mean_without_weight_and_with_ones():
    values = torch.randn(3, 2, 17, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plain = values.mean()
    assert_close(masked_mean(values), plain, rtol=0, atol=1e-12)
    assert_close(masked_mean(values, torch.ones_like(values)), plain, rtol=0, atol=1e-12)
    assert_close(masked_mean(values, torch.ones(3, 1, 17, 13).double()), plain, rtol=0, atol=1e-12)


def test_masked_mean_counts_a_broadcast_weight_once_for_each_channel():
    values = torch.stack([torch.zeros(2, 2), torch.full((2, 2), 4.0)])[None]
    weight = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert_close(masked_mean(values, weight), torch.tensor(2.0))


def test_all_weights_zero_give_zero_and_zero_gradient():
    values = torch.ones(2, 1, 4, 4, requires_grad=True)
    mean = masked_mean(values, torch.zeros(2, 1, 4, 4))
    mean.backward()
    assert mean.item() == 0
    assert_close(values.grad, torch.zeros_like(values))


def test_an_excluded_nan_counts_in_nothing():
    values = torch.tensor([[[[1.0, float("nan")], [3.0, float("inf")]]]], requires_grad=True)
    weight = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    mean = masked_mean(values, weight)
    mean.backward()
    assert mean.item() == 2
    assert_close(values.grad, weight / 2)


def test_per_image_mean_does_not_mix_images():
    values = torch.stack([torch.full((1, 2, 2), 1.0), torch.tensor([[[2.0, 4.0], [8.0, 8.0]]])])
    weight = torch.stack([torch.zeros(1, 2, 2), torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])])
    assert_close(masked_mean_per_image(values, weight), torch.tensor([0.0, 3.0]))
    assert_close(masked_mean_per_image(values), torch.tensor([1.0, 5.5]))


def test_half_precision_values_are_averaged_in_float32():
    values = torch.full((1, 1, 64, 64), 1.0, dtype=torch.bfloat16)
    assert masked_mean(values).dtype == torch.float32
    assert masked_mean(values, torch.ones(1, 1, 64, 64)).item() == 1


def test_erosion_removes_what_touches_an_invalid_pixel_and_keeps_other_weights():
    weight = torch.full((1, 1, 5, 6), 2.0)
    weight[0, 0, 2, 0] = 0
    eroded = erode_weight(weight, 1)[0, 0]
    expected = torch.full((5, 6), 2.0)
    expected[1:4, 0:2] = 0
    assert_close(eroded, expected)
