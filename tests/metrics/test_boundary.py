import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_surface_dice
from scipy import ndimage
from scipy.spatial.distance import cdist

from medi2i.errors import UsageError
from medi2i.metrics.boundary import BoundaryScores, measure_boundary, surface_distances
from medi2i.metrics.overlap import dice


def rectangle(
    rows: tuple[int, int], columns: tuple[int, int], shape: tuple[int, int] = (32, 32)
) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def blobs(seed: int, size: int = 40) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 3) > 0.04


def measure(
    predicted: np.ndarray, mask: np.ndarray, *, spacing_mm: tuple[float, float] | None = (1.0, 1.0), **options
) -> BoundaryScores:
    options = {"tolerance_mm": 1.0, "tolerance_px": 1.0, **options}
    return measure_boundary(predicted[None], mask[None], spacing_mm=spacing_mm, **options)


def test_two_pixels_2_mm_apart_give_the_numbers_of_the_reference_implementation():
    # google-deepmind/surface-distance, surface_distance_test.py, test_on_2_pixels_2mm_away (2D)
    predicted, mask = rectangle((5, 6), (7, 8)), rectangle((5, 6), (9, 10))
    distances = surface_distances(predicted, mask, spacing=(2, 1))
    assert distances.from_predicted.tolist() == distances.from_true.tolist() == [1, 1, 2, 2]
    assert distances.true_lengths == pytest.approx([math.sqrt(5) / 2] * 4)
    assert distances.mean() == pytest.approx(1.5)
    assert distances.hausdorff(100) == distances.hausdorff(95) == 2
    assert distances.overlap(1) == pytest.approx(0.5)
    scores = measure(predicted, mask, spacing_mm=(2, 1))
    assert (scores.hd95[0], scores.unit) == (2.0, "mm")
    assert dice(predicted[None], mask[None])[0] == 0


def test_squares_of_two_and_three_rows_give_the_numbers_of_the_reference_implementation():
    # google-deepmind/surface-distance, surface_distance_test.py, test_two_squares_shifted_by_one_pixel
    mask, predicted = rectangle((1, 3), (1, 3), (6, 6)), rectangle((1, 4), (1, 3), (6, 6))
    distances = surface_distances(predicted, mask, spacing=(2, 1))
    corner = math.sqrt(5) / 2
    # the true outline's lower side runs inside the prediction, 1 mm from its left and right
    assert distances.from_true.tolist() == [0] * 7 + [1]
    assert distances.true_lengths[-1] == 1
    assert distances.true_lengths.sum() == pytest.approx(4 * corner + 2 * 1 + 2 * 2)
    # the prediction's lower side and its two corners are one row of 2 mm away
    assert distances.from_predicted.tolist() == [0] * 7 + [2] * 3
    assert sorted(distances.predicted_lengths[-3:]) == pytest.approx([1, corner, corner])
    both = (4 * corner + 6) + (4 * corner + 10)
    assert distances.mean() == pytest.approx((1 * 1 + 2 * (2 * corner + 1)) / both)
    assert distances.overlap(1) == pytest.approx((both - 2 * corner - 1) / both)
    assert distances.overlap(0) == pytest.approx((both - 2 * corner - 2) / both)


@pytest.mark.parametrize("seed", range(4))
def test_surface_dice_is_that_of_monai_with_subvoxels(seed: int):
    predicted, mask = blobs(seed), blobs(seed + 10)
    planes = [torch.from_numpy(plane[None, None].astype(np.float32)) for plane in (predicted, mask)]
    for tolerance, spacing in ((1.0, (1.0, 1.0)), (2.5, (1.4, 0.7))):
        expected = compute_surface_dice(
            *planes, [tolerance], include_background=True, spacing=spacing, use_subvoxels=True
        )
        scores = measure(predicted, mask, spacing_mm=spacing, tolerance_mm=tolerance)
        assert scores.nsd[0] == pytest.approx(float(expected), abs=1e-5)


def element_lengths(mask: np.ndarray, spacing: tuple[float, float]) -> dict[tuple[int, int], float]:
    """Lengths at corners, written out for the number and place of mask pixels around each."""
    row, column = spacing
    corner = math.hypot(row, column) / 2
    lengths = {
        "0011": column,
        "1100": column,
        "0101": row,
        "1010": row,
        "0110": 2 * corner,
        "1001": 2 * corner,
    }
    padded = np.pad(mask, 1).astype(int)
    found = {}
    for i in range(padded.shape[0] - 1):
        for j in range(padded.shape[1] - 1):
            code = "".join(str(value) for value in padded[i : i + 2, j : j + 2].ravel())
            if code not in ("0000", "1111"):
                found[i, j] = lengths.get(code, corner)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_distances_are_those_of_all_pairs_of_elements(seed: int):
    predicted, mask, spacing = blobs(seed, 24), blobs(seed + 10, 24), (0.5, 0.8)
    ours, true = (element_lengths(plane, spacing) for plane in (predicted, mask))
    pairs = cdist(np.array(list(ours)) * spacing, np.array(list(true)) * spacing)
    lengths = [np.array(list(outline.values())) for outline in (ours, true)]
    nearest = [pairs.min(axis=1), pairs.min(axis=0)]
    total = sum(part @ length for part, length in zip(nearest, lengths, strict=True))
    scores = measure(predicted, mask, spacing_mm=spacing)
    assert scores.assd[0] == pytest.approx(total / (lengths[0].sum() + lengths[1].sum()))
    hd95 = 0.0
    for part, length in zip(nearest, lengths, strict=True):
        # the smallest distance within which lie 95 % of the outline
        hd95 = max(hd95, min(d for d in part if length[part <= d].sum() >= 0.95 * length.sum() - 1e-9))
    assert scores.hd95[0] == pytest.approx(hd95)


def test_what_is_in_one_mask_only_has_the_worst_values_and_what_is_in_neither_none():
    square, nothing = rectangle((2, 9), (3, 8), (30, 40)), np.zeros((30, 40), dtype=bool)
    scores = measure_boundary(
        np.stack([square, nothing, square, nothing]),
        np.stack([square, square, nothing, nothing]),
        spacing_mm=(2, 2),
        tolerance_mm=1,
        tolerance_px=1,
    )
    assert scores.nsd[:3].tolist() == [1, 0, 0]
    assert scores.hd95[:3].tolist() == scores.assd[:3].tolist() == [0, 100, 100]  # 60 and 80 mm
    assert np.isnan([scores.nsd[3], scores.hd95[3], scores.assd[3]]).all()
    assert scores.missed.tolist() == [False, True, False, False]
    assert scores.invented.tolist() == [False, False, True, False]


def test_without_spacing_all_is_in_pixels_and_says_so():
    square, moved = rectangle((5, 15), (5, 15)), rectangle((5, 15), (8, 18))
    scores = measure(moved, square, spacing_mm=None, tolerance_mm=0.1, tolerance_px=3)
    assert (scores.unit, scores.tolerance, scores.hd95[0], scores.nsd[0]) == ("px", 3, 3, 1)
    scores = measure(moved, square, spacing_mm=(0.5, 0.5), tolerance_mm=1, tolerance_px=9)
    assert (scores.unit, scores.tolerance, scores.hd95[0]) == ("mm", 1, 1.5)


def test_millimetres_scale_with_the_pixel():
    predicted, mask = blobs(0), blobs(1)
    fine = measure(predicted, mask, spacing_mm=(0.5, 0.7), tolerance_mm=1.4)
    coarse = measure(predicted, mask, spacing_mm=(1.0, 1.4), tolerance_mm=2.8)
    assert coarse.nsd[0] == pytest.approx(fine.nsd[0])
    assert [coarse.hd95[0], coarse.assd[0]] == pytest.approx([2 * fine.hd95[0], 2 * fine.assd[0]])


def circles_3_mm_apart(pixels_per_mm: int) -> BoundaryScores:
    rows, columns = (np.mgrid[: 60 * pixels_per_mm, : 60 * pixels_per_mm] + 0.5) / pixels_per_mm
    mask, predicted = (np.hypot(rows - row, columns - 30) < 20 for row in (30, 33))
    pixel = 1 / pixels_per_mm
    return measure(predicted, mask, spacing_mm=(pixel, pixel), tolerance_mm=2.0)


def test_millimetres_are_those_of_geometry_however_fine_the_grid():
    # distances of a circle's points from the other circle, by angle
    angle = np.linspace(0, 2 * np.pi, 10_000, endpoint=False)
    distance = np.abs(np.hypot(20 * np.cos(angle) - 3, 20 * np.sin(angle)) - 20)
    fine, coarse = circles_3_mm_apart(8), circles_3_mm_apart(2)
    for scores, error_mm in ((fine, 0.0625), (coarse, 0.25)):
        assert scores.assd[0] == pytest.approx(distance.mean(), abs=error_mm)
        assert scores.hd95[0] == pytest.approx(np.quantile(distance, 0.95), abs=error_mm)
    assert fine.nsd[0] == pytest.approx(np.mean(distance <= 2), abs=0.03)


def test_millimetres_stay_when_grid_and_spacing_scale_together():
    mask, predicted = rectangle((4, 12), (4, 12)), rectangle((6, 14), (4, 12))
    missing = np.zeros_like(mask)
    for factor in (1, 2, 5):
        finer = [np.kron(plane, np.ones((factor, factor), bool)) for plane in (predicted, mask, missing)]
        pixel = (1 / factor, 1 / factor)
        assert measure(finer[0], finer[1], spacing_mm=pixel).hd95[0] == pytest.approx(2)
        assert measure(finer[2], finer[1], spacing_mm=pixel).hd95[0] == pytest.approx(32 * math.sqrt(2))
        assert measure(finer[0], finer[1], spacing_mm=pixel, tolerance_mm=2).nsd[0] == 1


def test_the_tolerance_is_met_by_equality_in_floating_point_too():
    # 3 * 0.1 is 0.30000000000000004
    square, moved = rectangle((5, 15), (5, 15)), rectangle((5, 15), (8, 18))
    assert measure(moved, square, spacing_mm=(0.1, 0.1), tolerance_mm=0.3).nsd[0] == 1


def test_the_images_border_ends_a_mask():
    whole = np.ones((4, 6), dtype=bool)
    distances = surface_distances(whole, whole, spacing=(1, 1))
    # four corners cut, three sides of rows and five of columns between them
    assert distances.true_lengths.sum() == pytest.approx(4 * math.sqrt(0.5) + 2 * 3 + 2 * 5)


def test_pixels_that_are_invalid_are_background_in_both():
    mask, predicted = rectangle((5, 15), (5, 15)), rectangle((5, 15), (5, 25))
    valid = rectangle((0, 32), (0, 15))
    assert measure(predicted, mask).hd95[0] == 10
    assert measure(predicted, mask, valid=valid).hd95[0] == 0
    assert measure(mask, predicted & ~mask, valid=valid).invented[0]


def test_arguments_that_do_not_fit_are_refused():
    square = rectangle((5, 15), (5, 15))
    with pytest.raises(UsageError, match="one shape"):
        measure(square[:-1], square)
    with pytest.raises(UsageError, match="above 0"):
        measure(square, square, spacing_mm=(1.0, 0.0))
    with pytest.raises(UsageError, match="at least 0"):
        measure(square, square, tolerance_mm=-1.0)
