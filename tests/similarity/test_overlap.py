import torch
from monai.losses import DiceLoss
from torch.testing import assert_close

from medi2i.similarity.overlap import soft_dice


def test_two_squares_sharing_a_column_overlap_by_half():
    first, second = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    first[..., 1:3, 0:2] = 1
    second[..., 1:3, 1:3] = 1
    overlap, present = soft_dice(first, second > 0)
    assert_close(overlap, torch.tensor([[0.5]]))
    assert present.all()


def test_without_weights_it_is_monais():
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(2, 3, 9, 8, generator=generator, dtype=torch.float64)
    mask = (torch.rand(2, 3, 9, 8, generator=generator) > 0.6).double()
    expected = 1 - DiceLoss(reduction="none", smooth_nr=0, smooth_dr=0)(probability, mask)
    assert_close(soft_dice(probability, mask)[0], expected.flatten(1))


def test_an_empty_mask_says_nothing_and_invalid_pixels_count_in_nothing():
    probability = torch.full((1, 2, 2, 2), 0.5)
    mask = torch.zeros(1, 2, 2, 2)
    mask[0, 0, 0, 0] = 1
    overlap, present = soft_dice(probability, mask)
    assert_close(overlap, torch.tensor([[2 * 0.5 / (2 + 1), 0.0]]))
    assert present.tolist() == [[True, False]]
    weight = torch.tensor([[[[2.0, 0], [0, 0]]]])
    probability[0, 0, 1, 1] = float("nan")
    assert_close(soft_dice(probability, mask, weight)[0][0, 0].item(), 2 * 0.5 * 2 / (1 + 2))
