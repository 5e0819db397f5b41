import numpy as np
import pytest

from medi2i.io import read_radiograph
from medi2i.io.field import fill_outside, find_exposed_field
from medi2i.io.masks import read_mask_folder, read_mask_nifti


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).uniform(100, 200, (100, 80)).astype(np.float32)


def test_a_black_wedge_at_the_corner_is_outside(noise):
    row, column = np.indices(noise.shape)
    wedge = row + column < 30
    assert np.array_equal(find_exposed_field(np.where(wedge, 0, noise)), ~wedge)


def test_a_white_frame_is_outside(noise):
    frame = np.ones(noise.shape, dtype=bool)
    frame[6:-6, 6:-6] = False
    assert np.array_equal(find_exposed_field(np.where(frame, 255, noise)), ~frame)


def test_a_black_disc_inside_the_body_stays(noise):
    row, column = np.indices(noise.shape)
    disc = (row - 50) ** 2 + (column - 40) ** 2 < 400
    assert find_exposed_field(np.where(disc, 0, noise)).all()


def test_noise_and_ramps_have_no_field_edge(noise):
    assert find_exposed_field(noise).all()
    assert find_exposed_field(np.tile(np.linspace(0, 1, 600, dtype=np.float32), (20, 1))).all()


def test_a_constant_image_is_wholly_valid():
    assert find_exposed_field(np.full((10, 12), 7.0)).all()


def test_an_image_of_nothing_but_edges_is_wholly_valid():
    halves = np.zeros((20, 20), dtype=np.float32)
    halves[:, 10:] = 1
    assert find_exposed_field(halves).all()


def test_a_region_below_half_a_per_cent_stays(noise):
    image = noise.copy()
    image[0, :30] = 0  # 30 of 8000 pixels are 0.375 %
    assert find_exposed_field(image).all()
    image[0, :45] = 0  # 0.56 %
    assert (~find_exposed_field(image)).sum() == 45


def test_an_edge_that_varies_by_less_than_a_500th_of_the_range_is_outside(noise):
    image = noise.copy()
    image[:, :10] = np.random.default_rng(1).uniform(0, 0.15, (100, 10))  # range is about 200
    assert np.array_equal(find_exposed_field(image), np.tile(np.arange(80) >= 10, (100, 1)))


def test_a_dense_abdomen_that_saturates_smoothly_stays():
    row, column = np.indices((200, 200))
    dome = 2.5 - np.hypot(row - 220, column - 100) / 60  # saturates in a disc that the lower border cuts
    clipped = np.clip(dome, -5, 1).astype(np.float32)
    assert (clipped == 1).mean() > 0.05
    assert find_exposed_field(clipped).all()


def test_a_white_collimator_with_a_wide_penumbra_is_outside_up_to_its_straight_edge():
    image = np.clip(np.tile(np.linspace(2, 0.2, 400, dtype=np.float32), (150, 1)), 0, 1)
    outside = ~find_exposed_field(image)
    assert np.array_equal(outside, image >= 0.99841)  # largest minus 0.2 % of the robust range (0.79)


def test_real_anatomy_is_never_removed(shared_data):
    films = shared_data / "xray_radiologist_masks"
    for path in sorted((films / "images").glob("*.png"))[::6]:
        valid = read_radiograph(path).valid
        _, masks = read_mask_folder(films / "masks" / path.stem, image_shape=valid.shape)
        assert (masks & ~valid).sum() <= 1e-4 * masks.sum()


def test_drr_anatomy_is_never_removed_and_empty_corners_are(shared_data):
    folder = shared_data / "drr_chest"
    structures = ["left_lung", "right_lung", "heart", "left_clavicle", "right_clavicle", "spine", "ribs"]
    removed = []
    for path in sorted((folder / "images").glob("*.png"))[:24]:
        valid = read_radiograph(path).valid
        masks = read_mask_nifti(folder / "masks" / f"{path.stem}.nii.gz", structures, image_shape=valid.shape)
        assert not (masks & ~valid).any()
        removed.append((~valid).mean())
    assert max(removed) > 0.02


def test_outside_the_field_the_nearest_valid_value_is_filled_in():
    pixels = np.array([[0, 0, 3, 4], [0, 0, 5, 6], [0, 0, 7, 8]], dtype=np.float32)
    valid = np.array([[False, False, True, True]] * 3)
    expected = np.array([[3, 3, 3, 4], [5, 5, 5, 6], [7, 7, 7, 8]], dtype=np.float32)
    assert np.array_equal(fill_outside(pixels, valid), expected)
    assert pixels[0, 0] == 0  # the argument is left alone


def test_an_image_that_is_valid_everywhere_or_nowhere_is_not_filled(noise):
    assert fill_outside(noise, np.ones(noise.shape, dtype=bool)) is noise
    assert fill_outside(noise, np.zeros(noise.shape, dtype=bool)) is noise
