import numpy as np
import pytest
import torch
from tiny_data import make_masks, make_scene, save_png, write_source, write_target
from torch.nn import functional as F  # noqa: N812

from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import inspect_folder
from medi2i.data.unpaired import (
    DataConfig,
    FramingConfig,
    UnpairedCrops,
    decoded_images,
    random_crop,
    resize,
    unpaired_loader,
    working_shape,
)
from medi2i.image import IntensityConfig, IntensityMap

FULL = IntensityMap(0.0, 1.0)
STILL = FramingConfig(zoom=0, aspect=0, rotation_deg=0)


class FixedDraws:
    """Stands for the random generator: the framing and the corner are given."""

    def __init__(self, corner, framing=(0.0, 0.0, 0.0), flip=1.0):
        self._corner, self._framing, self._flip = list(corner), np.array(framing), flip

    def uniform(self, low, high, size=None):
        if size is not None:
            return self._framing
        value = self._corner.pop(0)
        assert low <= value <= high
        return value

    def random(self):
        return self._flip


def make_config(**values) -> DataConfig:
    defaults = {"working_size": None, "crop_size": 32, "minimum_valid": 0.0}
    return DataConfig.model_validate(defaults | values)


def make_image(pixels: np.ndarray, **planes: np.ndarray) -> dict[str, torch.Tensor]:
    image = torch.as_tensor(pixels, dtype=torch.float32)[None]
    planes = {key: torch.as_tensor(value, dtype=torch.float32) for key, value in planes.items()}
    return {"image": image, "valid": torch.ones_like(image)} | planes


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


def load_domain(folder, config, **options):
    found = discover(folder)
    rows, _ = inspect_folder(found, "source", IntensityConfig(), salt=b"")
    return decoded_images(rows, found.root, FULL, config, **options)


@pytest.mark.parametrize(
    ("matrix", "size", "expected"),
    [
        ((512, 256), 256, (256, 128)),
        ((100, 300), 64, (21, 64)),
        ((16, 16), 32, (32, 32)),
        ((7, 9), None, (7, 9)),
    ],
)
def test_the_longest_side_becomes_the_working_size(matrix, size, expected):
    assert working_shape(*matrix, size) == expected


def test_shrinking_averages_areas():
    image = torch.arange(16.0).reshape(1, 4, 4)
    torch.testing.assert_close(resize(image, (2, 2)), torch.tensor([[[2.5, 4.5], [10.5, 12.5]]]))
    assert resize(image, (4, 4)) is image


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
        # the landmark is 6.5 px below and 5.5 px left of the window's centre
        ((0, 0, 0), (32, 32), (6.5, -5.5)),
        # zoom 1.5 and 1 / 1.5: the window is 48 and 21.3 px wide
        ((1, 0, 0), (48, 48), (6.5 / 1.5, -5.5 / 1.5)),
        ((-1, 0, 0), (32 / 1.5, 32 / 1.5), (6.5 * 1.5, -5.5 * 1.5)),
        # aspect 1.21: 1.1 times as high, 1.1 times less wide
        ((0, 1, 0), (32 * 1.1, 32 / 1.1), (6.5 / 1.1, -5.5 * 1.1)),
        # turned by 45 degrees: (6.5 - 5.5, -6.5 - 5.5) / sqrt 2, and back: (6.5 + 5.5, 6.5 - 5.5) / sqrt 2
        ((0, 0, 1), (32, 32), (0.7071, -8.4853)),
        ((0, 0, -1), (32, 32), (8.4853, 0.7071)),
    ],
)
def test_a_landmark_ends_where_geometry_says_and_masks_go_with_it(draws, extent, offset):
    blob = make_blob(31.5 + 6.5, 31.5 - 5.5)  # the window's centre is the image's, at (31.5, 31.5)
    image = make_image(blob, mask=((blob + 1) / 2)[None])
    config = make_config(framing=FramingConfig(zoom=0.5, aspect=0.21, rotation_deg=45))
    corner = [32 - side / 2 for side in extent]
    crop = random_crop(image, config, FixedDraws(corner, draws))
    expected = (15.5 + offset[0], 15.5 + offset[1])
    assert centroid(crop["image"][0]) == pytest.approx(expected, abs=0.05)
    assert centroid(crop["mask"][0]) == pytest.approx(expected, abs=0.05)


def test_what_a_framed_crop_sees_beyond_the_image_is_invalid():
    config = make_config(framing=FramingConfig(zoom=0, aspect=0, rotation_deg=45))
    crop = random_crop(make_image(make_ramp(32, 32)), config, FixedDraws((0, 0), (0, 0, 1)))
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


@pytest.mark.parametrize(
    ("framing", "matrix", "expected"),
    [
        (None, (64, 48), (32, 24)),
        (STILL, (64, 48), (64, 48)),
        (STILL, (40, 30), (40, 30)),
        (None, (16, 8), (32, 16)),
    ],
)
def test_images_are_decoded_at_working_scale_or_up_to_twice_for_framing(tmp_path, framing, matrix, expected):
    save_png(tmp_path / "x.png", make_scene(0, matrix))
    sample = load_domain(tmp_path, make_config(working_size=32, framing=framing))[0]
    assert sample["image"].shape == sample["valid"].shape == (1, *expected)


def test_a_decoded_image_is_its_file_between_minus_one_and_one(tmp_path):
    scene = make_scene(0, (40, 30))
    save_png(tmp_path / "x.png", scene)
    full = {"lower_percentile": 0, "upper_percentile": 100, "fit": "domain"}
    sample = load_domain(tmp_path, make_config(source_intensity=full))[0]
    np.testing.assert_allclose(sample["image"][0], 2 * scene - 1, atol=1e-4)


def test_decoded_masks_are_in_the_order_of_their_names(tmp_path):
    write_source(tmp_path, images=1)
    sample = load_domain(tmp_path, make_config(), with_masks=True)[0]
    np.testing.assert_array_equal(sample["mask"], make_masks((32, 40)).astype(np.float32))
    assert "mask" not in load_domain(tmp_path, make_config())[0]


@pytest.mark.parametrize(("framing", "images"), [(None, 8), (STILL, 2)])
def test_the_cache_keeps_to_its_limit(tmp_path, framing, images):
    # half of 1 MiB holds 8 images of 90 x 90 in two planes of 4 bytes, or 2 of them at twice the side
    for number in range(10):
        save_png(tmp_path / f"{number}.png", make_scene(number, (90, 90)))
    config = make_config(working_size=90, framing=framing, cache_mib=1)
    assert load_domain(tmp_path, config).cache_num == images
    assert load_domain(tmp_path, make_config(cache_mib=0)).cache_num == 0
    assert load_domain(tmp_path, make_config()).cache_num == 10


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> UnpairedCrops:
    folder = tmp_path_factory.mktemp("unpaired")
    config = DataConfig(working_size=32, crop_size=32, framing=FramingConfig())
    source = load_domain(write_source(folder / "src", images=3), config, with_masks=True)
    target = load_domain(write_target(folder / "tgt", images=5), config)
    return UnpairedCrops(source, target, config, seed=7)


def test_a_sample_depends_on_seed_and_number_only(crops):
    forward = {n: crops[n] for n in range(8)}
    backward = {n: crops[n] for n in reversed(range(8))}
    for number, sample in forward.items():
        assert sample.keys() == {"source", "source_valid", "source_mask", "target", "target_valid"}
        for key, value in sample.items():
            torch.testing.assert_close(backward[number][key], value, rtol=0, atol=0)
    assert not torch.equal(forward[0]["source"], forward[1]["source"])


def test_another_seed_gives_other_samples(crops):
    other = UnpairedCrops(crops._domains["source"], crops._domains["target"], crops._config, seed=8)
    assert not torch.equal(other[0]["source"], crops[0]["source"])


def test_the_longer_domain_is_walked_through_once_an_epoch():
    def make_domain(count):
        return [make_image(np.full((32, 32), n / 10)) for n in range(count)]

    crops = UnpairedCrops(make_domain(2), make_domain(6), make_config(), seed=0)
    assert crops.epoch_length == 6
    shown = [round(float(crops[n]["target"].mean()) * 10) for n in range(12)]
    assert sorted(shown[:6]) == sorted(shown[6:]) == [0, 1, 2, 3, 4, 5]
    assert shown[:6] != shown[6:]


def test_batches_are_the_same_with_and_without_workers(crops):
    def batches(workers):
        return list(unpaired_loader(crops, batch_size=2, first=1, last=4, rank=0, world=1, workers=workers))

    alone, helped = batches(0), batches(2)
    assert len(alone) == 3
    for first, second in zip(alone, helped, strict=True):
        for key, value in first.items():
            torch.testing.assert_close(second[key], value, rtol=0, atol=0)
    torch.testing.assert_close(alone[0]["source"][1], crops[3]["source"])


def test_processes_share_the_samples_without_overlap(crops):
    def numbers(rank):
        loader = unpaired_loader(crops, batch_size=2, first=0, last=2, rank=rank, world=2, workers=0)
        return list(loader.sampler)

    assert (numbers(0), numbers(1)) == ([0, 1, 4, 5], [2, 3, 6, 7])


def test_a_loader_leaves_the_global_random_state_alone(crops):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    next(iter(unpaired_loader(crops, batch_size=1, first=0, last=1, rank=0, world=1, workers=0)))
    assert torch.equal(torch.get_rng_state(), before)
