import numpy as np
import pytest
import torch
from tiny_data import make_masks, make_scene
from torch.nn import functional as F  # noqa: N812

from medi2i.data.crops import random_crop
from medi2i.data.settings import FramingConfig, relative_framing
from medi2i.framing.distribution import FramingDistribution
from medi2i.framing.frame import Frame
from tests.data.images import STILL, make_config, make_image


class FixedDraws:
    """Stands for the random generator: the framing and the corner are given."""

    def __init__(self, corner, framing=(0.0, 0.0, 0.0, 0.0, 0.0), flip=1.0):
        self._corner, self._framing, self._flip = list(corner), np.array(framing), flip

    def uniform(self, low, high, size=None):
        if size is not None:
            return self._framing
        value = self._corner.pop(0)
        assert low <= value <= high
        return value

    def random(self):
        return self._flip


def make_ramp(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (0.01 * rows - 0.02 * columns) / 2


def make_blob(row: float, column: float, size: int = 64) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return 2 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 1.5**2)) - 1


def centroid(plane: torch.Tensor) -> tuple[float, float]:
    weight = plane.double() - plane.min()
    rows, columns = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64) for n in plane.shape), indexing="ij"
    )
    return float((rows * weight).sum() / weight.sum()), float((columns * weight).sum() / weight.sum())


def test_a_crop_without_framing_is_the_windows_own_pixels():
    pixels = make_scene(0, (50, 60))
    crop = random_crop(make_image(pixels), make_config(), FixedDraws((7, 11)))
    np.testing.assert_array_equal(crop["image"][0], pixels[7:39, 11:43].astype(np.float32))
    assert crop["valid"].all()


def test_still_framing_at_an_integer_corner_is_the_same_window():
    pixels = make_ramp(64, 64)  # bicubic interpolation reproduces ramps
    crop = random_crop(make_image(pixels), make_config(framing=STILL), FixedDraws((16, 9)))
    np.testing.assert_allclose(crop["image"][0], pixels[16:48, 9:41], atol=1e-5)
    smooth = make_scene(3, (64, 64))
    crop = random_crop(make_image(smooth), make_config(framing=STILL), FixedDraws((16, 9)))
    np.testing.assert_allclose(crop["image"][0], smooth[16:48, 9:41], atol=0.02)
    assert crop["valid"].all()


def test_still_framing_at_double_resolution_averages_areas():
    pixels = make_scene(0, (64, 64)).astype(np.float32)
    config = make_config(working_size=32, framing=STILL)
    crop = random_crop(make_image(pixels), config, FixedDraws((0, 0)))
    expected = F.avg_pool2d(torch.from_numpy(pixels)[None, None], 2)[0, 0]
    np.testing.assert_allclose(crop["image"][0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("draws", "extent", "offset"),
    [
        # zoom, aspect, turn: the landmark is 6.5 px below and 5.5 px left of the window's centre
        ((0, 0, 0), (32, 32), (6.5, -5.5)),
        # zoom 1.5 and 1 / 1.5: the window is 48 and 21.3 px wide
        ((1, 0, 0), (48, 48), (6.5 / 1.5, -5.5 / 1.5)),
        ((-1, 0, 0), (32 / 1.5, 32 / 1.5), (6.5 * 1.5, -5.5 * 1.5)),
        # aspect 1.21: 1.1 times as high, 1.1 times less wide
        ((0, 1, 0), (32 * 1.1, 32 / 1.1), (6.5 / 1.1, -5.5 * 1.1)),
        # turned clockwise by 45 degrees, what was upright turns the other way in the crop:
        # (6.5 + 5.5, 6.5 - 5.5) / sqrt 2, and back: (6.5 - 5.5, -6.5 - 5.5) / sqrt 2
        ((0, 0, 1), (32, 32), (8.4853, 0.7071)),
        ((0, 0, -1), (32, 32), (0.7071, -8.4853)),
    ],
)
def test_a_landmark_ends_where_geometry_says_and_masks_go_with_it(draws, extent, offset):
    blob = make_blob(31.5 + 6.5, 31.5 - 5.5)  # the window's centre is the image's, at (31.5, 31.5)
    image = make_image(blob, mask=((blob + 1) / 2)[None])
    config = make_config(framing=FramingConfig(zoom=0.5, aspect=0.21, rotation_deg=45))
    corner = [32 - side / 2 for side in extent]
    crop = random_crop(image, config, FixedDraws(corner, (*draws, 0, 0)))
    expected = (15.5 + offset[0], 15.5 + offset[1])
    assert centroid(crop["image"][0]) == pytest.approx(expected, abs=0.05)
    assert centroid(crop["mask"][0]) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(("draws", "offset"), [((-1, -1), (8, 8)), ((1, 0), (-8, 0))])
def test_a_shifted_crop_moves_by_that_share_of_the_image(draws, offset):
    framing = FramingConfig(zoom=0, aspect=0, rotation_deg=0, shift_down=(-0.125, 0.125), shift_right=0.125)
    image = make_image(make_blob(31.5, 31.5))
    # the window lies in the middle; moving it down moves what it shows up: 0.125 of 64 px are 8
    down, right = draws
    crop = random_crop(image, make_config(framing=framing), FixedDraws((16, 16), (0, 0, 0, down, right)))
    assert centroid(crop["image"][0]) == pytest.approx((15.5 + offset[0], 15.5 + offset[1]), abs=0.05)


def test_a_crop_shifted_out_of_the_image_is_invalid_there_and_redrawn_when_too_little_is_left():
    framing = FramingConfig(zoom=0, aspect=0, rotation_deg=0, shift_down=(0.25, 0.25))
    image = make_image(make_ramp(32, 32))
    crop = random_crop(image, make_config(framing=framing), FixedDraws((0, 0)))
    # 8 of 32 rows lie below the image; the row at the edge mixes with what is outside
    assert crop["valid"][0, 1:23, 1:-1].all()
    assert not crop["valid"][0, 24:].any()
    wide = make_image(make_ramp(64, 32))
    corners = (32, 0, 16, 0)  # 48 + 32 reaches 16 rows beyond 64: half; 32 + 32 is whole again
    config = make_config(framing=framing, minimum_valid=0.6)
    crop = random_crop(wide, config, FixedDraws(corners))
    assert crop["valid"][0, 1:-1, 1:-1].all()


def test_ranges_go_from_their_lower_to_their_upper_end_and_numbers_are_symmetric():
    framing = FramingConfig(zoom=(1.2, 1.8), aspect=(0.9, 1.0), rotation_deg=(2, 6))
    assert framing.zoom_range == (1.2, 1.8)
    assert (framing.aspect_range, framing.rotation_range_deg) == ((0.9, 1.0), (2, 6))
    framing = FramingConfig(zoom=0.25, aspect=0, rotation_deg=4, shift_down=0.1)
    assert framing.zoom_range == (0.8, 1.25)
    assert (framing.aspect_range, framing.rotation_range_deg) == ((1, 1), (-4, 4))
    assert framing.shift_range == ((-0.1, 0.1), (0, 0))


def test_a_zoom_range_widens_the_window_to_its_ends():
    blob = make_blob(31.5 + 6.5, 31.5 - 5.5)
    config = make_config(framing=FramingConfig(zoom=(1.0, 2.0), aspect=0, rotation_deg=0))
    for draw, zoom in ((-1, 1.0), (0, 2**0.5), (1, 2.0)):
        corner = (32 - 16 * zoom,) * 2
        crop = random_crop(make_image(blob), config, FixedDraws(corner, (draw, 0, 0, 0, 0)))
        expected = (15.5 + 6.5 / zoom, 15.5 - 5.5 / zoom)
        assert centroid(crop["image"][0]) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    "values",
    [
        {"zoom": [1.2, 1.1]},
        {"zoom": [0.1, 1.0]},
        {"rotation_deg": [5, -5]},
        {"shift_down": [-2, 0]},
        {"zoom": -0.1},
    ],
)
def test_impossible_framing_is_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        FramingConfig.model_validate(values)


def test_relative_framing_compares_longer_sides_and_middles():
    # the source shows 400 x 320 mm, 10 mm below the isocentre; films show 300 to 500 mm squares around it
    target = FramingDistribution(height_mm=(300, 500), down_mm=(-30, 50), rotation_deg=(-3, 5))
    source = Frame(height_mm=400, width_mm=320, center_mm=(10, 0), rotation_deg=1)
    framing = relative_framing(target, source)
    # log-uniform from 0.75 to 1.25: 0.75 (5/3)^0.05 = 0.7694 and 0.75 (5/3)^0.95 = 1.2185
    assert framing.zoom == pytest.approx((0.7694, 1.2185), abs=0.004)
    assert framing.aspect == (1, 1)
    assert framing.rotation_deg == (-4, 4)
    assert framing.shift_down == pytest.approx((-0.1, 0.1))
    assert framing.shift_right == (0, 0)


def test_relative_framing_measures_the_longer_side_free_of_stretch():
    # 360 x 250 mm at a stretch of 1.44: the matrix is as 300 to 300, and a pixel is as of a 300 mm square
    target = FramingDistribution(height_mm=(360, 360), aspect=(250 / 360, 250 / 360), stretch=(1.44, 1.44))
    framing = relative_framing(target, Frame(height_mm=200, width_mm=100))
    assert framing.zoom == pytest.approx((1.5, 1.5))
    assert framing.aspect == (1.44, 1.44)


def test_what_framing_cannot_do_is_limited():
    target = FramingDistribution(height_mm=(1000, 1000), rotation_deg=(-90, 90), right_mm=(0, 600))
    framing = relative_framing(target, Frame(height_mm=100, width_mm=100))
    assert (framing.zoom, framing.rotation_deg, framing.shift_right) == ((4, 4), (-45, 45), (0, 1))


def test_what_a_framed_crop_sees_beyond_the_image_is_invalid():
    config = make_config(framing=FramingConfig(zoom=0, aspect=0, rotation_deg=45))
    crop = random_crop(make_image(make_ramp(32, 32)), config, FixedDraws((0, 0), (0, 0, 1, 0, 0)))
    valid = crop["valid"][0]
    assert not valid[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    # a square and its copy turned by 45 degrees share a regular octagon, 2 (sqrt 2 - 1) of the area
    assert float(valid.mean()) == pytest.approx(0.828, abs=0.07)
    assert float(crop["image"].abs().max()) <= 1


def test_a_crop_larger_than_the_image_is_padded_and_the_padding_invalid():
    pixels = make_scene(0, (20, 24))
    crop = random_crop(make_image(pixels, mask=np.ones((1, 20, 24))), make_config(), FixedDraws((-5, -3)))
    assert crop["image"].shape == crop["valid"].shape == crop["mask"].shape == (1, 32, 32)
    np.testing.assert_array_equal(crop["image"][0, :20, :24], pixels.astype(np.float32))
    assert (crop["image"][0, 20:] == -1).all()
    assert int(crop["valid"].sum()) == int(crop["mask"].sum()) == 20 * 24


def test_flipping_turns_everything_and_only_when_asked():
    image = make_image(make_ramp(32, 32), mask=make_masks((32, 32)))
    plain = random_crop(image, make_config(), FixedDraws((0, 0), flip=0.0))
    flipped = random_crop(image, make_config(flip=True), FixedDraws((0, 0), flip=0.0))
    for key in image:
        torch.testing.assert_close(flipped[key], plain[key].flip(-1))


def test_crops_that_show_little_of_the_image_are_drawn_again():
    image = make_image(make_scene(0, (64, 64)))
    image["valid"][:, :32] = 0  # a window that starts in row r is valid to r / 32: 0.5 on average
    rng = np.random.default_rng(0)
    strict = [
        float(random_crop(image, make_config(minimum_valid=0.6), rng)["valid"].mean()) for _ in range(60)
    ]
    loose = [float(random_crop(image, make_config(), rng)["valid"].mean()) for _ in range(60)]
    assert np.mean(np.array(strict) >= 0.6) > 0.9
    assert min(strict) > 0.3
    assert np.mean(loose) == pytest.approx(0.5, abs=0.15)


def test_an_image_without_a_valid_pixel_still_gives_a_crop():
    image = make_image(make_scene(0, (64, 64)))
    image["valid"][:] = 0
    crop = random_crop(image, make_config(minimum_valid=0.6), np.random.default_rng(0))
    assert not crop["valid"].any()


def test_a_crop_does_not_change_the_cached_image():
    image = make_image(make_scene(0, (32, 32)))
    before = image["image"].clone()
    crop = random_crop(image, make_config(), np.random.default_rng(0))
    crop["image"].add_(1)
    torch.testing.assert_close(image["image"], before)
