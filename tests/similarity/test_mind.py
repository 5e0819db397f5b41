import math

import pytest
import torch
from torch.testing import assert_close

from medi2i.similarity.mind import mind_descriptor, mind_distance


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_hand_computed_descriptor_of_a_single_bright_pixel():
    x = torch.zeros(1, 1, 7, 7)
    x[0, 0, 3, 3] = 1
    descriptor = mind_descriptor(x, patch_radius=0, dilation=1)[0]
    # at the pixel all four differences are 1: V = 1, D - nearest D = 0 for all
    assert_close(descriptor[:, 3, 3], torch.ones(4))
    # left of it, the neighbour to the right differs by 1, the others by 0: V = 1/4, exp(-1 / (1/4))
    assert_close(descriptor[:, 3, 2], torch.tensor([math.exp(-4), 1.0, 1.0, 1.0]))
    # far away nothing differs
    assert_close(descriptor[:, 0, 0], torch.ones(4))


def test_patch_differences_are_means_over_the_patch():
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 4] = 1
    descriptor = mind_descriptor(x, patch_radius=1, dilation=3)[0]
    # at (4, 4): each of the 4 patches differs from the centre's in the centre's bright pixel only: all equal.
    assert_close(descriptor[:, 4, 4], torch.ones(4))
    # at (4, 2), three columns left of (4, 5): its patch (columns 1-3) is dark, the one to the right (columns
    # 4-6) holds the bright pixel: D = 1/9, the others 0, V = 1/36
    assert_close(descriptor[:, 4, 2], torch.tensor([math.exp(-4), 1.0, 1.0, 1.0]))


@pytest.mark.parametrize("neighbours", [4, 8])
def test_linear_changes_of_tone_and_inversion_do_not_count(neighbours: int):
    x = image(2, 1, 14, 11)
    assert mind_descriptor(x, neighbours=neighbours).shape == (2, neighbours, 14, 11)
    distance = mind_distance(x, -0.4 * x + 0.3, neighbours=neighbours)
    assert_close(distance, torch.zeros(2), rtol=0, atol=1e-5)


def test_noise_in_flat_areas_is_not_structure():
    x = torch.zeros(1, 1, 24, 24)
    x[..., 12:] = 1
    noisy = x + 1e-3 * image(1, 1, 24, 24)
    # a variance of 1e-6 against an edge of 1: clamped, so the descriptor stays near 1 away from the edge
    assert mind_descriptor(noisy)[..., :6].min() > 0.9


def test_constant_images_have_equal_descriptors():
    flat = torch.full((1, 1, 8, 8), 0.3)
    assert_close(mind_descriptor(flat), torch.ones(1, 4, 8, 8))
    assert mind_distance(flat, flat + 0.5).item() == 0


def test_distance_is_symmetric_and_does_not_depend_on_the_batch():
    x, y = image(3, 1, 12, 12), image(3, 1, 12, 12, seed=1)
    together = mind_distance(x, y)
    assert_close(together, mind_distance(y, x))
    assert_close(together[1:2], mind_distance(x[1:2], y[1:2]))
    assert (together > 0.1).all()


def test_distance_grows_with_a_shift():
    smooth = torch.nn.functional.avg_pool2d(image(1, 1, 64, 64), 7, 1)
    distances = [
        mind_distance(smooth[..., :50], smooth[..., shift : shift + 50]).item() for shift in (0, 1, 2, 4)
    ]
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert distances[1] > 0.02


def test_invalid_pixels_count_in_nothing():
    x, y = image(1, 1, 24, 24), image(1, 1, 24, 24, seed=1)
    weight = torch.ones_like(x)
    weight[..., 15:] = 0
    filled = torch.where(weight > 0, y, torch.tensor(100.0))
    assert_close(mind_distance(x, filled, weight), mind_distance(x, y, weight))
    assert_close(mind_distance(x, y, torch.ones_like(x)), mind_distance(x, y))


def test_no_valid_pixel_gives_zero_without_nan_gradients():
    x, y = image(1, 1, 10, 10), image(1, 1, 10, 10, seed=1).requires_grad_()
    distance = mind_distance(x, y, torch.zeros_like(x)).sum()
    distance.backward()
    assert distance.item() == 0
    assert_close(y.grad, torch.zeros_like(x))


def test_constant_translation_has_finite_gradients():
    y = torch.full((1, 1, 10, 10), 0.3, requires_grad=True)
    mind_distance(image(1, 1, 10, 10), y).sum().backward()
    assert torch.isfinite(y.grad).all()


def test_gradcheck():
    x, y = image(1, 1, 5, 6).double(), image(1, 1, 5, 6, seed=1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: mind_distance(x, t, dilation=1, neighbours=8), (y,))


def test_autocast_changes_nothing_and_nothing_is_copied_to_the_host():
    x, y = image(1, 1, 16, 16), image(1, 1, 16, 16, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = mind_distance(x, y, torch.ones_like(x))
    assert_close(inside, mind_distance(x, y, torch.ones_like(x)), rtol=0, atol=0)
    empty = torch.empty(2, 1, 16, 16, device="meta")
    assert mind_distance(empty, empty, empty).shape == (2,)
