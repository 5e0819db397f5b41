import math

import pytest
import torch
from torch.testing import assert_close

from medi2i.errors import UsageError
from medi2i.similarity.self_similarity import self_similarity, self_similarity_distance
from tests.similarity.pairs import anatomy, half_valid, warped

SMALL = {"scales": 1, "patch_radius": 1, "reach_px": 2}


def test_hand_computed_maps_of_stripes():
    stripes = (-1.0) ** torch.arange(12, dtype=torch.float64).expand(1, 1, 12, 12)
    maps = self_similarity(stripes, patch_radius=1, reach_px=1, spacing_px=1, stride_px=1, noise=1e-6)
    assert maps.shape == (1, 8, 8, 8)
    # of the eight neighbours, one column further is the opposite, the same column is the same
    expected = torch.tensor([-1.0, 1, -1, -1, -1, -1, 1, -1], dtype=torch.float64)
    assert_close(maps, expected[None, :, None, None].expand_as(maps))


def test_places_lie_on_a_grid_within_reach_of_the_border():
    assert self_similarity(anatomy(40), patch_radius=2, reach_px=6, stride_px=4).shape == (1, 48, 6, 6)
    maps = self_similarity(anatomy(17), patch_radius=2, reach_px=6, stride_px=1)
    assert maps.shape == (1, 48, 1, 1)
    # the one place is the middle: mirroring the image mirrors the offsets
    mirrored = self_similarity(anatomy(17).flip(-1), patch_radius=2, reach_px=6, stride_px=1)
    whole = torch.cat([maps[:, :24], torch.ones_like(maps[:, :1]), maps[:, 24:]], dim=1).view(7, 7)
    other = torch.cat([mirrored[:, :24], torch.ones_like(maps[:, :1]), mirrored[:, 24:]], dim=1).view(7, 7)
    assert_close(other, whole.flip(-1))


def test_gain_offset_and_inversion_do_not_count_without_noise():
    x = anatomy(24)
    for other in (0.4 * x + 0.1, -x, -3 * x):
        distance = self_similarity_distance(x, other, noise=1e-9, **SMALL)
        assert_close(distance.item(), 0.0, rtol=0, atol=1e-9)
    assert self_similarity_distance(x, warped(x, 2), **SMALL).item() > 0.02


def test_flat_images_agree_with_flat_images():
    flat = torch.full((1, 1, 40, 40), 0.4)
    assert_close(self_similarity_distance(flat, 0 * flat, scales=1).item(), 0.0, rtol=0, atol=1e-6)


def test_scales_are_averaged_and_one_without_a_valid_place_is_left_out():
    x, y = anatomy(40), warped(anatomy(40), 2)
    half = [torch.nn.functional.avg_pool2d(image, 2) for image in (x, y)]
    options = {"patch_radius": 1, "reach_px": 2}
    first = self_similarity_distance(x, y, scales=1, **options)
    # the second scale has its places 2 px apart
    maps = [self_similarity(image, patch_radius=1, reach_px=2, stride_px=2) for image in half]
    product, powers = (maps[0] * maps[1]).mean(1), [(m * m).mean(1) for m in maps]
    second = 1 - ((product + 0.01) / ((powers[0] + 0.01) * (powers[1] + 0.01)).sqrt()).mean()
    assert_close(self_similarity_distance(x, y, scales=2, **options), (first + second) / 2)
    narrow = torch.zeros_like(x)
    narrow[..., :9] = 1  # 9 px: places at the finest scale only
    assert_close(
        self_similarity_distance(x, y, narrow, scales=2, **options),
        self_similarity_distance(x, y, narrow, scales=1, **options),
    )


def test_invalid_pixels_count_in_nothing():
    x, y = anatomy(48), warped(anatomy(48), 2)
    valid = half_valid(x)
    broken = torch.where(valid > 0, y, torch.full_like(y, 9.0))
    options = {"scales": 2, "patch_radius": 1, "reach_px": 2}
    assert_close(
        self_similarity_distance(x, broken, valid, **options),
        self_similarity_distance(x, y, valid, **options),
    )
    assert math.isnan(self_similarity_distance(x, y, 0 * valid, undefined=math.nan, **options).item())


def test_gradcheck_and_no_copy_to_the_host():
    x, y = anatomy(8), warped(anatomy(8), 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: self_similarity_distance(x, t, **SMALL), (y,))
    empty = torch.empty(2, 1, 24, 24, device="meta")
    assert self_similarity_distance(empty, empty, empty, **SMALL).shape == (2,)


def test_images_without_room_for_a_place_are_refused():
    small = torch.zeros(1, 1, 67, 80)
    with pytest.raises(UsageError, match="expected at least 68 x 68"):
        self_similarity_distance(small, small)
