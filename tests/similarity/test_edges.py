import math

import numpy as np
import torch
from scipy import ndimage
from torch.testing import assert_close

from medi2i.similarity.edges import edge_distance, edge_map
from medi2i.similarity.gradients import sobel_gradient
from tests.similarity.pairs import anatomy, half_valid, warped


def ramp(slope: float) -> torch.Tensor:
    return (slope * torch.arange(8, dtype=torch.float64)).expand(1, 1, 8, 8)


def test_the_gradient_is_sobels():
    x = anatomy(16)
    expected = np.stack([ndimage.sobel(x[0, 0].numpy(), axis) / 8 for axis in (1, 0)])[:, 1:-1, 1:-1]
    assert_close(sobel_gradient(x)[0], torch.from_numpy(expected))


def test_hand_computed_maps_and_distance_of_ramps():
    # everywhere |g|^2 / (2 |g|^2 + noise^2): 0.01 / 0.03 and 0.04 / 0.09
    assert_close(edge_map(ramp(0.1), noise=0.1), torch.full((1, 1, 6, 6), 1 / 3, dtype=torch.float64))
    assert_close(edge_distance(ramp(0.1), ramp(-0.2), noise=0.1).item(), 4 / 9 - 1 / 3)


def test_gain_and_polarity_do_not_count_without_noise():
    x = anatomy(24)
    assert_close(edge_map(x, noise=1e-9), edge_map(0.3 - 5 * x, noise=1e-9))


def test_flat_images_have_no_edges():
    assert edge_map(torch.full((1, 1, 8, 8), 0.4)).max().item() == 0


def test_valid_pixels_decide_alone_also_what_a_typical_edge_is():
    x, y = anatomy(24), warped(anatomy(24), 2)
    valid = half_valid(x)
    broken = torch.where(valid > 0, y, 100 * y)
    assert_close(edge_distance(x, broken, valid), edge_distance(x[..., :12], y[..., :12]))
    assert math.isnan(edge_distance(x, y, 0 * valid, undefined=math.nan).item())


def test_gradcheck_and_no_copy_to_the_host():
    x, y = anatomy(6), warped(anatomy(6), 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: edge_distance(x, t), (y,))
    empty = torch.empty(2, 1, 16, 16, device="meta")
    assert edge_distance(empty, empty, empty).shape == (2,)
