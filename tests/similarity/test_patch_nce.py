import math

import pytest
import torch
from torch.testing import assert_close

from medi2i.errors import UsageError
from medi2i.similarity.patch_nce import draw_places, patch_nce, patch_nce_distance
from tests.similarity.pairs import anatomy, half_valid, warped


def test_the_cross_entropy_of_two_places_is_hand_computed():
    keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    queries = torch.tensor([[[1.0, 0.0], [0.6, 0.8]]], dtype=torch.float64)
    # logits q . k / 0.5: (2, 0), its own the first; (1.2, 1.6), its own the second
    expected = torch.tensor([[math.log(1 + math.exp(-2)), math.log(1 + math.exp(-0.4))]])
    assert_close(patch_nce(queries, keys, 0.5), expected.double())


def test_an_invalid_place_is_nobodys_wrong_answer():
    keys = torch.nn.functional.normalize(
        torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(0)), dim=2
    )
    weight = torch.tensor([[1.0, 0.0, 1.0, 1.0, 0.0]])
    kept = weight[0] > 0
    found = patch_nce(keys.flip(2), keys, 0.2, weight)
    assert_close(found[:, kept], patch_nce(keys.flip(2)[:, kept], keys[:, kept], 0.2))
    # alone with itself there is nothing to confuse it with
    alone = patch_nce(keys, keys, 0.2, torch.zeros(1, 5))
    assert_close(alone, torch.zeros(1, 5), rtol=0, atol=1e-6)


def test_places_differ_are_valid_first_and_all_where_there_are_few():
    valid = torch.zeros(2, 1, 4, 5)
    valid[0, 0, 1:3, 1:4] = 1
    valid[1, 0, 0, 0] = 1
    places, weight = draw_places(valid, 6, torch.Generator().manual_seed(0))
    assert sorted(places[0].tolist()) == [6, 7, 8, 11, 12, 13]
    assert weight.tolist() == [[1] * 6, [1, 0, 0, 0, 0, 0]]
    assert places[1, 0] == 0
    assert len(set(places[1].tolist())) == 6
    assert draw_places(valid, 256, torch.Generator())[0].shape == (2, 20)
    other = draw_places(torch.ones_like(valid), 6, torch.Generator().manual_seed(1))[0]
    assert not torch.equal(places, other)


def test_the_distance_is_the_mean_of_what_each_place_loses():
    x, y = anatomy(40), warped(anatomy(40), 2)
    narrow = torch.zeros_like(x)
    narrow[..., :11, :19] = 1  # two places: (5, 5) and (5, 13)
    one = patch_nce_distance(x, y, narrow)
    assert 0 < one.item() < 2 / 0.07 + math.log(2)  # of two places, the cosine can be wrong by 2 at most
    assert_close(patch_nce_distance(x, x, narrow).item(), 0.0, rtol=0, atol=0)


def test_gain_offset_and_inversion_cost_nothing():
    x = anatomy(48)
    for other in (0.4 * x + 0.1, -x, -3 * x):
        assert_close(patch_nce_distance(x, other).item(), 0.0, rtol=0, atol=1e-9)
    # every place of an image without detail could be anywhere: log of the number of places, less x's own
    assert 1 < patch_nce_distance(x, 0 * x).item() < math.log(25)


def test_invalid_pixels_count_in_nothing():
    x, y = anatomy(48), warped(anatomy(48), 2)
    valid = half_valid(x)
    broken = torch.where(valid > 0, y, torch.full_like(y, 9.0))
    assert_close(patch_nce_distance(x, broken, valid), patch_nce_distance(x, y, valid))
    assert math.isnan(patch_nce_distance(x, y, 0 * valid, undefined=math.nan).item())


def test_gradients_are_those_of_differences():
    x, y = anatomy(19), warped(anatomy(19), 1).requires_grad_()
    distance = patch_nce_distance(x, y, temperature=1.0)
    (slope,) = torch.autograd.grad(distance.sum(), y)
    step = torch.zeros_like(y)
    step[0, 0, 8, 9] = 1e-6
    ahead, behind = (patch_nce_distance(x, y.detach() + s * step, temperature=1.0) for s in (1, -1))
    assert slope[0, 0, 8, 9].abs() > 1e-3
    assert_close(slope[0, 0, 8, 9], (ahead - behind)[0] / 2e-6, rtol=1e-4, atol=1e-6)


def test_images_without_room_for_two_places_are_refused():
    with pytest.raises(UsageError, match="expected at least 19 x 19"):
        patch_nce_distance(torch.zeros(1, 1, 18, 40), torch.zeros(1, 1, 18, 40))
