import math

import pytest
import torch
from monai.losses import GlobalMutualInformationLoss
from torch.testing import assert_close

from medi2i.similarity.mutual_information import lost_information, mutual_information
from tests.similarity.pairs import anatomy, half_valid, warped


def levels(*counts: int) -> torch.Tensor:
    """So many pixels of each of equally spaced gray levels from -1 to 1, in a row."""
    values = torch.linspace(-1, 1, len(counts), dtype=torch.float64)
    return torch.repeat_interleave(values, torch.tensor(counts))[None, None, None]


def test_without_weights_it_is_monais():
    x, y = anatomy(24, count=3), warped(anatomy(24, count=3), 2)
    monai = GlobalMutualInformationLoss(num_bins=16, reduction="none", smooth_nr=1e-12, smooth_dr=1e-12)
    expected = -monai((y + 1) / 2, (x + 1) / 2).flatten()
    assert_close(mutual_information(x, y, bins=16), expected, rtol=1e-5, atol=1e-7)


def test_two_levels_hold_the_entropy_of_their_shares():
    # levels at opposite ends fall into bins that do not touch: MI = H(1/4, 3/4), whatever the tone
    x = levels(2, 6)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert_close(mutual_information(x, x).item(), entropy, rtol=0, atol=1e-6)
    assert_close(mutual_information(x, -x).item(), entropy, rtol=0, atol=1e-6)
    assert_close(lost_information(x, -x).item(), 0.0, rtol=0, atol=1e-6)


def test_what_merging_two_of_four_levels_loses_is_hand_computed():
    # 2 bits before; after: 1.5 bits, all of them shared: 1 - 2 * 1.5 / (2 + 1.5)
    x, merged = levels(2, 2, 2, 2), torch.where(levels(2, 2, 2, 2) < 0, -1.0, levels(2, 2, 2, 2))
    assert_close(mutual_information(x, x).item(), math.log(4), rtol=0, atol=1e-6)
    assert_close(lost_information(x, merged).item(), 1 / 7, rtol=0, atol=1e-6)


def test_independent_levels_share_nothing():
    x = torch.tensor([-1.0, -1, 1, 1])[None, None, None]
    y = torch.tensor([-1.0, 1, -1, 1])[None, None, None]
    assert_close(mutual_information(x, y), torch.zeros(1), rtol=0, atol=1e-6)
    assert_close(lost_information(x, y), torch.ones(1), rtol=0, atol=1e-5)
    flat = torch.zeros_like(x)
    assert_close(mutual_information(x, flat), torch.zeros(1), rtol=0, atol=1e-6)
    assert_close(lost_information(x, flat), torch.ones(1), rtol=0, atol=1e-6)
    assert lost_information(flat, flat + 0.3).item() == 0  # nothing to lose


@pytest.mark.parametrize("gain", [0.03, 0.3, 3.0])
def test_more_contrast_than_the_source_has_is_no_gain(gain: float):
    x = 0.3 * anatomy(48)
    assert mutual_information(x, 3 * x) > mutual_information(x, x)  # so -MI would want it
    assert lost_information(x, gain * x).item() > 0.05


def test_one_to_one_remaps_of_the_bins_do_not_count():
    x = levels(3, 1, 2, 5)
    shuffled = torch.zeros_like(x)
    for level, other in zip((-1, -1 / 3, 1 / 3, 1), (1 / 3, -1, 1, -1 / 3), strict=True):
        shuffled = torch.where((x - level).abs() < 1e-6, other, shuffled)
    assert_close(mutual_information(x, shuffled), mutual_information(x, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("similarity", [mutual_information, lost_information])
def test_pixels_count_by_their_weight(similarity):
    x, y = anatomy(24), warped(anatomy(24), 2)
    valid = half_valid(x)
    broken = torch.where(valid > 0, y, torch.full_like(y, math.nan))
    assert_close(similarity(x, broken, valid), similarity(x[..., :12], y[..., :12]))
    doubled = torch.ones_like(x)
    doubled[..., 12:] = 2
    twice = [torch.cat([image, image[..., 12:]], dim=-1) for image in (x, y)]
    assert_close(similarity(x, y, doubled), similarity(*twice))
    assert math.isnan(similarity(x, y, 0 * valid, undefined=math.nan).item())


def test_gradcheck():
    x, y = anatomy(5), warped(anatomy(5), 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: lost_information(x, t, bins=8), (y,))
