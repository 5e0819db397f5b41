import math

import pytest
import torch

from medi2i.adapters.image_pool import ImagePool

DRAWS = 4000


def numbered(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def within_five_sigma(count: int, trials: int, probability: float) -> bool:
    return abs(count - trials * probability) < 5 * math.sqrt(trials * probability * (1 - probability))


def test_until_it_is_full_the_pool_returns_and_stores_each_new_image():
    pool = ImagePool(50)
    for number in range(25):
        pair = numbered(2 * number, 2 * number + 1)
        assert torch.equal(pool.exchange(pair, generator()), pair)
    assert torch.equal(pool.state(), numbered(*range(50)))


def test_a_full_pool_trades_half_of_the_time_and_each_place_alike():
    pool, rng = ImagePool(50), generator()
    pool.exchange(numbered(*range(50)), rng)
    content = [float(n) for n in range(50)]
    trades = [0] * 50
    for number in range(50, 50 + DRAWS):
        returned = pool.exchange(numbered(number), rng)[0, 0, 0, 0].item()
        if returned == number:
            continue
        place = content.index(returned)  # a stored image, and the new one takes its place
        content[place] = float(number)
        trades[place] += 1
    assert pool.state()[:, 0, 0, 0].tolist() == content
    assert within_five_sigma(sum(trades), DRAWS, 0.5)
    assert all(within_five_sigma(count, DRAWS, 0.5 / 50) for count in trades)


def test_an_image_that_is_not_traded_is_not_stored():
    pool, rng = ImagePool(1), generator(3)
    pool.exchange(numbered(0), rng)
    stored = 0.0
    outcomes = set()
    for number in range(1, 40):
        returned = pool.exchange(numbered(number), rng)[0, 0, 0, 0].item()
        outcomes.add(returned == number)
        assert returned in (number, stored)
        stored = stored if returned == number else float(number)
        assert pool.state()[0, 0, 0, 0].item() == stored
    assert outcomes == {True, False}


def test_a_pool_without_capacity_returns_the_batch_itself():
    batch = numbered(1, 2)
    pool = ImagePool(0)
    assert pool.exchange(batch, generator()) is batch
    assert pool.state().numel() == 0


def test_the_pool_keeps_copies_without_gradients():
    pool = ImagePool(2)
    image = numbered(1).requires_grad_()
    returned = pool.exchange(image, generator())
    with torch.no_grad():
        image.fill_(9)
    assert not returned.requires_grad
    assert torch.equal(pool.state(), numbered(1))


@pytest.mark.parametrize("stored", [0, 1, 3])
def test_a_restored_pool_goes_on_as_the_first_would_have(stored: int):
    first, second = ImagePool(3), ImagePool(3)
    if stored:
        first.exchange(numbered(*range(stored)), generator())
    second.load(first.state())
    batch = numbered(*range(10, 20))
    assert torch.equal(first.exchange(batch, generator(1)), second.exchange(batch, generator(1)))
    assert torch.equal(first.state(), second.state())
