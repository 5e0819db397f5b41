import math
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from medi2i.networks import augmentation
from medi2i.networks.augmentation import DiscriminatorAugmentationConfig, augment_pair

STILL = {"shift": 0.0, "rotation_deg": 0.0, "zoom": 0.0, "cutout": 0.0}


def config(**changes: float) -> DiscriminatorAugmentationConfig:
    return DiscriminatorAugmentationConfig(**({"probability": 1.0} | STILL | changes))


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 1


def augment(
    x: torch.Tensor, settings: DiscriminatorAugmentationConfig, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    return augment_pair(x, torch.ones_like(x), settings, torch.Generator().manual_seed(seed))


def draw_always(monkeypatch: pytest.MonkeyPatch, unit: float) -> None:
    """Every uniform draw on [0, 1] is `unit`: 1 is the upper end of each range, 0.5 its middle."""

    plain = torch.rand

    def rand(*size: int, device: torch.device | None = None, **keywords: Any) -> torch.Tensor:
        return plain(*size, **keywords) if device is None else torch.full(size, unit)

    monkeypatch.setattr(augmentation.torch, "rand", rand)


def test_the_same_seed_gives_the_same_result_and_another_seed_another():
    x = image(3, 1, 24, 20)
    settings = DiscriminatorAugmentationConfig()
    first, second, other = (augment(x, settings, seed) for seed in (4, 4, 5))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


def test_the_images_of_a_batch_are_warped_differently():
    x = image(1, 1, 24, 24).expand(4, -1, -1, -1)
    warped, _ = augment(x, DiscriminatorAugmentationConfig(probability=1.0))
    assert all(not torch.equal(warped[0], warped[i]) for i in range(1, 4))


def test_probability_zero_changes_nothing():
    x = image(2, 1, 24, 20)
    valid = (image(2, 1, 24, 20, seed=1) > 0).float()
    settings = DiscriminatorAugmentationConfig(probability=0.0)
    warped, warped_valid = augment_pair(x, valid, settings, torch.Generator().manual_seed(0))
    assert_close(warped, x, rtol=0, atol=2e-5)
    assert torch.equal(warped_valid, valid)


def test_about_the_wanted_fraction_of_images_is_changed():
    x = image(1, 1, 8, 8).expand(2000, -1, -1, -1)
    warped, _ = augment(x, DiscriminatorAugmentationConfig(probability=0.3, rotation_deg=8.0))
    changed = int(((warped - x).abs().amax(dim=(1, 2, 3)) > 1e-3).sum())
    assert abs(changed - 600) < 5 * math.sqrt(2000 * 0.3 * 0.7)


def test_a_turn_is_a_rotation_in_pixels_of_a_non_square_image(monkeypatch: pytest.MonkeyPatch):
    height, width, degrees = 40, 80, 30.0
    y = torch.arange(height).view(-1, 1) - (height - 1) / 2
    x = torch.arange(width).view(1, -1) - (width - 1) / 2

    def blobs(points: list[tuple[float, float]]) -> torch.Tensor:
        return sum(torch.exp(-((y - r) ** 2 + (x - c) ** 2) / 18) for r, c in points)[None, None]

    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    before = [(6.0, 16.0), (-10.0, 4.0), (0.0, -12.0)]
    # output pixel p shows input pixel R p, so a blob at q moves to R^-1 q; (row, column) = (y, x)
    after = [(-sine * c + cosine * r, cosine * c + sine * r) for r, c in before]
    draw_always(monkeypatch, 1.0 - 1e-7)
    turned, valid = augment(blobs(before), config(rotation_deg=degrees))
    assert_close(turned * valid, blobs(after), rtol=0, atol=0.03)


def test_a_shift_is_a_fraction_of_the_side_and_what_comes_from_outside_is_invalid(
    monkeypatch: pytest.MonkeyPatch,
):
    draw_always(monkeypatch, 1.0 - 1e-7)
    x = image(1, 1, 16, 32)
    warped, valid = augment(x, config(shift=0.25))
    assert_close(warped[..., :12, :24], x[..., 4:, 8:], rtol=0, atol=1e-4)
    expected = torch.zeros(1, 1, 16, 32)
    expected[..., :12, :24] = 1
    assert torch.equal(valid, expected)


def test_a_zoom_beyond_the_frame_leaves_a_valid_middle(monkeypatch: pytest.MonkeyPatch):
    draw_always(monkeypatch, 1.0 - 1e-7)
    _, valid = augment(image(1, 1, 30, 30), config(zoom=0.5))
    # scale 1.5: 30 / 1.5 = 20 rows of the frame are left, the outermost of them mixed with the outside
    rows = valid[0, 0].amax(dim=1)
    assert 18 <= int(rows.sum()) <= 20
    assert torch.equal(rows, rows.flip(0))


def test_a_cutout_is_invalid_and_leaves_the_image(monkeypatch: pytest.MonkeyPatch):
    draw_always(monkeypatch, 0.5)  # the hole's centre is the image's
    x = image(1, 1, 20, 40)
    warped, valid = augment(x, config(cutout=0.5))
    expected = torch.ones(1, 1, 20, 40)
    expected[..., 5:15, 10:30] = 0
    assert torch.equal(valid, expected)
    assert_close(warped, x, rtol=0, atol=2e-5)


def test_invalid_pixels_move_with_the_image(monkeypatch: pytest.MonkeyPatch):
    draw_always(monkeypatch, 1.0 - 1e-7)
    x, valid = image(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
    valid[..., 8:, 8:] = 0
    _, warped_valid = augment_pair(x, valid, config(shift=0.125), torch.Generator())
    expected = torch.zeros(1, 1, 16, 16)
    expected[..., :14, :14] = 1
    expected[..., 6:, 6:] = 0
    assert torch.equal(warped_valid, expected)


def test_the_generator_learns_through_the_warp():
    x = image(2, 1, 24, 24).requires_grad_()
    warped, valid = augment(x, DiscriminatorAugmentationConfig(probability=1.0))
    (warped * valid).sum().backward()
    assert x.grad is not None
    # each image holds pixels that the warp shows about once
    assert_close(x.grad.amax(dim=(1, 2, 3)), torch.ones(2), rtol=0, atol=0.5)


def test_autocast_moves_no_pixel():
    x = image(2, 1, 256, 256)
    plain, plain_valid = augment(x, DiscriminatorAugmentationConfig())
    with torch.autocast("cpu", torch.bfloat16):
        warped, valid = augment(x, DiscriminatorAugmentationConfig())
    assert torch.equal(warped, plain)
    assert torch.equal(valid, plain_valid)
