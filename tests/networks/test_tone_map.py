import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.testing import assert_close

from medi2i.networks.tone_map import (
    ToneBounds,
    ToneGrids,
    apply_tone,
    blur,
    bound_grids,
    curve,
    split_bands,
    spread,
)


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_grids(bounds: ToneBounds, *, seed: int, scale: float) -> ToneGrids:
    """What a network with large random weights may ask for."""
    return bound_grids(
        drawn(1, bounds.pieces, 8, 8, seed=seed, scale=scale),
        drawn(1, len(bounds.band_px), 16, 16, seed=seed + 1, scale=scale),
        drawn(1, 2, 16, 16, seed=seed + 2, scale=scale),
        bounds,
    )


def texture(height: int, width: int) -> Tensor:
    """Detail of every size in [-1, 1]."""
    image = drawn(1, 1, height, width) + 3 * blur(drawn(1, 1, height, width, seed=1), 3.0) * 6
    return image / image.abs().max()


def test_a_curve_of_two_pieces_is_hand_computed():
    increments = torch.tensor([0.75, 0.25]).view(1, 2, 1, 1)
    base = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]).view(1, 1, 1, 5)
    assert_close(curve(base, increments), torch.tensor([-1.0, -0.25, 0.5, 0.75, 1.0]).view(1, 1, 1, 5))


def test_numbers_of_zero_are_the_identity():
    bounds = ToneBounds(reference_px=40)
    grids = bound_grids(torch.zeros(1, 8, 8, 8), torch.zeros(1, 3, 16, 16), torch.zeros(1, 2, 16, 16), bounds)
    image = texture(40, 33)
    assert_close(apply_tone(image, grids, bounds), image, rtol=0, atol=1e-5)


def test_base_and_bands_add_up_to_the_image():
    image = texture(40, 33)
    base, bands = split_bands(image, ToneBounds(reference_px=40))
    assert len(bands) == 3
    assert_close(base + sum(bands), image, rtol=0, atol=1e-6)


def test_a_wave_falls_into_bands_as_gaussians_pass_it():
    wavelength, sigmas = 16.0, (1.0, 2.0, 4.0)
    wave = torch.cos(2 * math.pi * torch.arange(257) / wavelength).expand(1, 1, 257, 257)
    base, bands = split_bands(wave.contiguous(), ToneBounds(reference_px=257))
    passed = [1.0, *(math.exp(-2 * (math.pi * sigma / wavelength) ** 2) for sigma in sigmas)]
    middle = (0, 0, 128, 128)  # a crest, far from the border
    for number, band in enumerate(bands):
        assert band[middle].item() == pytest.approx(passed[number] - passed[number + 1], abs=0.01)
    assert base[middle].item() == pytest.approx(passed[-1], abs=0.01)


def test_bands_scale_with_the_image():
    small = blur(texture(64, 64), 1.5)
    large = F.interpolate(small, (192, 192), mode="bicubic", align_corners=False).clamp(-1, 1)
    bounds = ToneBounds(reference_px=64)
    grids = random_grids(bounds, seed=3, scale=1.0)
    wanted = apply_tone(small, grids, bounds)

    def error(bounds: ToneBounds) -> float:
        found = F.adaptive_avg_pool2d(apply_tone(large, grids, bounds), 64)
        return float((found - wanted)[..., 4:-4, 4:-4].abs().mean())

    # averaging 3 x 3 pixels smooths a little
    assert error(bounds) < 0.005
    assert error(bounds) < error(ToneBounds(reference_px=192)) / 3


@pytest.mark.parametrize("scale", [0.0, 1.0, 10.0, 1e4])
def test_whatever_the_weights_the_map_rises_with_the_base(scale: float):
    bounds = ToneBounds()
    steps = torch.linspace(-1, 1, 41)
    for seed in range(3):
        grids = random_grids(bounds, seed=seed, scale=scale)
        toned = torch.cat([curve(torch.full((1, 1, 24, 24), value), grids.increments) for value in steps])
        rise = toned.diff(dim=0) / 0.05
        assert rise.min() > bounds.least_slope - 1e-3
        assert_close(toned[0], torch.full((1, 24, 24), -1.0), rtol=0, atol=1e-5)
        assert_close(toned[-1], torch.full((1, 24, 24), 1.0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 10.0, 1e4])
@pytest.mark.parametrize("band_px", [(1.0,), (2.0,), (4.0,)])
def test_whatever_the_weights_no_band_changes_its_sign_or_exceeds_its_gain(
    scale: float, band_px: tuple[float, ...]
):
    bounds = ToneBounds(reference_px=48, band_px=band_px)
    image = texture(48, 36)
    base, (band,) = split_bands(image, bounds)
    grids = random_grids(bounds, seed=5, scale=scale)
    applied = apply_tone(image, grids, bounds) - curve(base, grids.increments)
    gain = (applied / band)[band.abs() > 1e-2]
    assert gain.numel() > 500
    # a band that is alone is the mean of all bands
    assert gain.min() > math.exp(-bounds.most_log_sharpness) - 1e-3
    assert gain.max() < math.exp(bounds.most_log_sharpness) + 1e-3


@pytest.mark.parametrize("scale", [1.0, 10.0, 1e4])
def test_whatever_the_weights_bands_stay_near_their_mean_and_that_near_1(scale: float):
    bounds = ToneBounds()
    for seed in range(3):
        log_gains = random_grids(bounds, seed=seed, scale=scale).log_gains
        mean = log_gains.mean(dim=1, keepdim=True)
        assert mean.abs().max() <= bounds.most_log_sharpness + 1e-5
        assert (log_gains - mean).abs().max() <= bounds.most_log_gain + 1e-5


def test_gains_at_their_bounds_are_hand_computed():
    bounds = ToneBounds(most_log_gain=1.2, most_log_sharpness=0.4)
    asked = torch.tensor([[100.0, -100.0, -100.0], [100.0, 100.0, 100.0]])
    found = bound_grids(
        torch.zeros(2, 8, 1, 1), asked.view(2, 3, 1, 1), torch.zeros(2, 2, 1, 1), bounds
    ).log_gains.view(2, 3)
    # 1, -1, -1 are 4/3, -2/3, -2/3 from their mean -1/3; 3/4 of that, times 1.2, less 0.4 / 3
    assert_close(found[0], torch.tensor([1.2 - 0.4 / 3, -0.6 - 0.4 / 3, -0.6 - 0.4 / 3]))
    assert_close(found[1], torch.full((3,), 0.4))


def test_gains_keep_a_share_of_their_distance_from_the_mean_gain():
    asked = torch.tensor([100.0, 0.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    bounds = ToneBounds(most_log_sharpness=0.4, local_share=0.25)
    grids = bound_grids(torch.zeros(1, 8, 1, 1), asked, torch.zeros(1, 2, 1, 1), bounds)
    # 0.4 and 0: 0.2 on average, a quarter of 0.2 kept
    assert_close(grids.log_gains[0, :, 0], torch.tensor([0.25, 0.15]).expand(3, 2))


@pytest.mark.parametrize("scale", [1.0, 10.0, 1e4])
def test_whatever_the_weights_a_curve_bends_slowly(scale: float):
    bounds = ToneBounds()
    for seed in range(3):
        slopes = random_grids(bounds, seed=seed, scale=scale).increments
        assert slopes.log().diff(dim=1).abs().max() <= bounds.most_log_bend + 1e-5


def test_curves_keep_a_share_of_their_distance_from_the_mean_curve():
    tone = torch.zeros(1, 2, 1, 2)
    tone[0, 1, 0, 0] = -100.0  # the left curve's second piece is as flat as may be
    bounds = ToneBounds(pieces=2, least_slope=0.2, most_log_bend=1.0, local_share=0.25)
    grids = bound_grids(tone, torch.zeros(1, 3, 1, 1), torch.zeros(1, 2, 1, 1), bounds)
    # e / (e + 1) and 1 / 2, a quarter of their distance from the mean kept, then 0.8 times that plus 0.2 / 2
    left, right = math.e / (math.e + 1), 0.5
    mean, kept = (left + right) / 2, 0.25 * (left - right) / 2
    assert_close(
        grids.increments[0, 0, 0], torch.tensor([0.8 * (mean + kept) + 0.1, 0.8 * (mean - kept) + 0.1])
    )


def test_textures_are_capped():
    bounds = ToneBounds(most_texture=0.02)
    assert random_grids(bounds, seed=0, scale=1e4).amplitudes.max() <= 0.02
    assert bound_grids(
        torch.zeros(1, 8, 1, 1), torch.zeros(1, 3, 1, 1), torch.zeros(1, 2, 1, 1), bounds
    ).amplitudes[0, 0].item() == pytest.approx(0.01)


def test_a_spread_grid_is_smooth_bounded_and_reproduces_a_ramp():
    ramp = torch.arange(8.0).view(1, 1, 1, 8)
    plane = spread(ramp, (32, 32))
    # cell centres are at pixels 1.5, 5.5, ...: pixel c is at (c + 0.5) / 4 - 0.5 cells
    expected = (torch.arange(32) + 0.5) / 4 - 0.5
    assert_close(plane[0, 0, 7, 8:24], expected[8:24])
    rough = drawn(1, 3, 8, 8)
    wide = spread(rough, (50, 64))
    assert wide.max() <= rough.max()
    assert wide.min() >= rough.min()
    assert_close(spread(torch.ones(1, 1, 8, 8), (50, 64)), torch.ones(1, 1, 50, 64))


def test_a_grid_lies_on_the_square_around_the_image():
    grid = drawn(1, 2, 8, 8)
    square = spread(grid, (64, 64))
    assert_close(spread(grid, (64, 40)), square[..., 12:52])
    assert_close(spread(grid, (40, 64)), square[..., 12:52, :])


def test_half_precision_does_not_band_the_tones():
    image = torch.linspace(-1, 1, 4096).view(1, 1, 64, 64)
    bounds = ToneBounds(reference_px=64)
    grids = random_grids(bounds, seed=0, scale=1.0)
    plain = apply_tone(image, grids, bounds)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(apply_tone(image, grids, bounds), plain)
