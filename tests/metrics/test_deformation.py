"""Warps that scipy makes from known displacements are found again, whatever the two images look like."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from medi2i.errors import UsageError
from medi2i.io.reader import read_radiograph
from medi2i.metrics.deformation import DeformationConfig, measure_deformation


def anatomy(size: int = 96) -> np.ndarray:
    """Soft blobs, rib-like stripes and one organ with a sharp border, in [0, 1]."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size] / size
    texture = sum(
        scale * ndimage.gaussian_filter(rng.normal(size=(size, size)), scale) for scale in (2.0, 5.0, 12.0)
    )
    stripes = 0.3 * np.sin(40 * (rows + 0.6 * (columns - 0.5) ** 2))
    organ = np.hypot((rows - 0.55) / 0.3, (columns - 0.6) / 0.2) < 1
    image = ndimage.gaussian_filter(texture + stripes + organ, 0.8)
    return (image - image.min()) / np.ptp(image)


def smooth_field(shape: tuple[int, int], rms_px: float, seed: int = 1) -> np.ndarray:
    """(row, column) displacement with this root mean square length and a correlation length of 20 px."""
    rng = np.random.default_rng(seed)
    field = np.stack([ndimage.gaussian_filter(rng.normal(size=shape), 20) for _ in range(2)])
    return field * rms_px / math.sqrt((field**2).sum(axis=0).mean())


def pull_back(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The image in which each pixel shows what `image` has at its place plus `field`."""
    return ndimage.map_coordinates(image, np.indices(image.shape) + field, order=3, mode="nearest")


def other_look(image: np.ndarray, look: str) -> np.ndarray:
    if look == "sigmoid":
        return np.tanh(4 * (image - 0.4))
    if look == "gamma":
        return image**2.2
    if look == "inverted":
        return 500 - 300 * image
    if look == "locally compressed":
        return np.sqrt(image + 0.2) - 0.8 * ndimage.gaussian_filter(np.sqrt(image + 0.2), 12)
    if look == "histogram of noise":
        ranks = image.ravel().argsort().argsort().reshape(image.shape)
        return np.sort(np.random.default_rng(3).gamma(2.0, size=image.size))[ranks]
    blurred = ndimage.gaussian_filter(image, 0.8)
    return blurred + np.random.default_rng(2).normal(0, 0.015, image.shape)


@pytest.mark.parametrize(
    ("rms_px", "look"),
    [
        (4, "locally compressed"),
        (4, "sigmoid"),
        (4, "blurred and noisy"),
        (2, "inverted"),
        (2, "histogram of noise"),
        (1, "gamma"),
    ],
)
def test_known_warps_are_found_within_a_third_of_a_pixel(rms_px: int, look: str):
    image = anatomy()
    truth = smooth_field(image.shape, rms_px)
    found = measure_deformation(pull_back(image, truth), other_look(image, look), spacing_mm=None)
    # the outer pixels show what was beyond the border
    counted = found.structured & (np.pad(np.ones((76, 76), dtype=bool), 10))
    error = np.hypot(*(found.field_px - truth))[counted]
    length = np.hypot(*truth)[found.structured]
    assert counted.mean() > 0.1
    assert np.percentile(error, 50) < 0.15
    assert np.percentile(error, 95) < 0.3
    assert found.p50_px == pytest.approx(np.percentile(length, 50), abs=0.3)
    assert found.p95_px == pytest.approx(np.percentile(length, 95), abs=0.3)


@pytest.mark.parametrize("look", ["sigmoid", "locally compressed", "blurred and noisy"])
def test_another_look_alone_moves_nothing(look: str):
    found = measure_deformation(anatomy(), other_look(anatomy(), look), spacing_mm=None)
    assert found.coverage > 0.1
    assert found.p95_px < 0.3


def test_an_image_has_not_moved_against_itself():
    found = measure_deformation(anatomy(), anatomy(), spacing_mm=(0.5, 0.5))
    # rounding of the spline that moves images
    assert max(found.p50_px, found.p95_px, found.max_px, found.max_mm) < 1e-9


def test_the_field_points_from_source_to_translation_and_millimetres_follow_each_axis():
    image = anatomy(136)
    # what is at (r, c) of the source is at (r + 2, c - 1) of the translation
    source, translated = image[4:-4, 4:-4], image[2:-6, 5:-3]
    found = measure_deformation(source, translated, spacing_mm=(0.5, 3.0))
    down, right = found.field_px[:, found.structured]
    assert np.median(down) == pytest.approx(2, abs=0.02)
    assert np.median(right) == pytest.approx(-1, abs=0.02)
    assert found.p50_px == pytest.approx(math.sqrt(5), abs=0.02)
    # 2 x 0.5 mm down, 1 x 3 mm to the left
    assert found.p50_mm == pytest.approx(math.sqrt(10), abs=0.04)
    assert found.p95_mm == pytest.approx(math.sqrt(10), abs=0.3)


def test_a_ramp_and_a_straight_edge_are_no_evidence():
    rows, columns = np.mgrid[:96, :96] / 96.0
    image = np.where(columns < 0.5, rows, 3.0)
    blob = np.exp(-((rows - 0.25) ** 2 + (columns - 0.2) ** 2) / 0.001)
    found = measure_deformation(image + blob, image + blob, spacing_mm=None)
    places = np.argwhere(found.structured)
    # the blob is at row 24, column 19; the edge ends at the image's border
    distance = np.hypot(*(places - np.array([24, 19])).T)
    assert distance.min() < 2
    assert distance.max() < 20
    assert found.coverage == pytest.approx(len(places) / 96**2)


def test_what_is_invalid_counts_for_nothing():
    image = anatomy()
    truth = smooth_field(image.shape, 2)
    source, translated = pull_back(image, truth), other_look(image, "gamma")
    valid = np.zeros(image.shape, dtype=bool)
    valid[6:88, 6:80] = True
    noise = np.random.default_rng(0).normal(size=image.shape)
    noise[::7] = np.nan
    first = measure_deformation(source, translated, spacing_mm=None, valid=valid)
    second = measure_deformation(
        np.where(valid, source, noise), np.where(valid, translated, -noise), spacing_mm=None, valid=valid
    )
    np.testing.assert_array_equal(first.field_px, second.field_px)
    assert not (first.structured & ~ndimage.binary_erosion(valid, np.ones((9, 9)))).any()
    error = np.hypot(*(first.field_px - truth))[first.structured]
    assert np.percentile(error, 95) < 0.3


def test_undefined_is_nan():
    image = anatomy(48)
    broken = image.copy()
    broken[20, 20] = np.nan
    nowhere = np.zeros(image.shape, dtype=bool)
    constant = np.full(image.shape, 7.3)
    for pair, valid in (
        ((image, constant), None),
        ((constant, image), None),
        ((image, broken), None),
        ((image, image), nowhere),
    ):
        found = measure_deformation(*pair, spacing_mm=(1.0, 1.0), valid=valid)
        assert all(math.isnan(value) for value in (found.p50_px, found.p95_px, found.max_px, found.p95_mm))
        assert not found.structured.any()
        assert np.isnan(found.field_px).all()
    assert math.isnan(found.coverage)
    assert measure_deformation(image, constant, spacing_mm=None).p95_mm is None


@pytest.mark.parametrize("shapes", [((48, 47), (48, 48)), ((31, 48), (31, 48))])
def test_images_that_cannot_be_compared_are_refused(shapes: tuple[tuple[int, int], ...]):
    with pytest.raises(UsageError, match="one pixel grid of at least 32 x 32"):
        measure_deformation(*(np.zeros(shape) for shape in shapes), spacing_mm=None)


def test_the_result_depends_neither_on_threads_nor_on_an_earlier_call():
    image = anatomy(48)
    source = pull_back(image, smooth_field(image.shape, 2))
    before = source.copy(), image.copy()
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 1):
            torch.set_num_threads(number)
            results.append(measure_deformation(source, image, spacing_mm=None).field_px)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_allclose(results[0], results[1], atol=1e-9)
    np.testing.assert_array_equal(source, before[0])
    np.testing.assert_array_equal(image, before[1])


def test_a_stricter_share_of_structure_counts_fewer_pixels():
    image = anatomy(48)
    coverage = [
        measure_deformation(
            image, image, spacing_mm=None, config=DeformationConfig(structure_fraction=share)
        ).coverage
        for share in (0.0, 0.6, 1.2)
    ]
    assert coverage[0] == 1
    assert 1 > coverage[1] > coverage[2] > 0


def test_a_warp_of_a_real_chest_is_found_through_a_tone_curve(shared_data):
    chest = read_radiograph(shared_data / "drr_chest" / "images" / "drr_000.png").pixels.astype(np.float64)
    chest = chest[60:172, 70:182]
    truth = smooth_field(chest.shape, 2)
    toned = np.tanh(3 * (chest / chest.max() - 0.5))
    found = measure_deformation(pull_back(chest, truth), toned, spacing_mm=(1.6, 1.6))
    error = np.hypot(*(found.field_px - truth))[found.structured]
    assert np.percentile(error, 95) < 0.3
    assert found.p95_mm == pytest.approx(1.6 * np.percentile(np.hypot(*truth)[found.structured], 95), abs=0.3)
