"""Doses of known damage on real DRRs: the instruments must order them, and tone must not look like damage."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from medi2i.metrics.edges import edge_displacement
from medi2i.metrics.structure import gradient_correlation, sanity_flags

DATA = Path(os.environ.get("MEDI2I_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
IMAGES = sorted((DATA / "drr_chest" / "images").glob("*.png"))[::12]

pytestmark = pytest.mark.skipif(not IMAGES, reason=f"no drr_chest images in {DATA} (set MEDI2I_TEST_DATA)")


def read(path: Path) -> np.ndarray:
    """256 px image averaged to 128 px, its 0.5 to 99.5 percentiles mapped to [-1, 1]."""
    stored = np.asarray(Image.open(path), dtype=np.float64).reshape(128, 2, 128, 2).mean(axis=(1, 3))
    low, high = np.percentile(stored, [0.5, 99.5])
    return np.clip(2 * (stored - low) / (high - low) - 1, -1, 1)


def mean_over_images(measure: Callable[[np.ndarray], float]) -> float:
    return float(np.mean([measure(read(path)) for path in IMAGES]))


def test_gradient_correlation_falls_from_blur_to_shift_to_another_view():
    doses = [
        mean_over_images(lambda a: gradient_correlation(a, ndimage.gaussian_filter(a, 1))),
        mean_over_images(lambda a: gradient_correlation(a[:, 1:], a[:, :-1])),
        mean_over_images(lambda a: gradient_correlation(a[:, 2:], a[:, :-2])),
        mean_over_images(lambda a: gradient_correlation(a, a[:, ::-1].copy())),
    ]
    np.testing.assert_allclose(doses, [0.97, 0.89, 0.70, 0.32], atol=0.05)


def test_edges_move_more_with_a_shift_than_with_a_change_of_tone():
    def median(a: np.ndarray, b: np.ndarray) -> float:
        return edge_displacement(a, b, spacing_mm=None)["median_px"]

    tones = [mean_over_images(lambda a, g=g: median(a, 2 * ((a + 1) / 2) ** g - 1)) for g in (0.5, 2)]
    small = mean_over_images(lambda a: median(a[:, 2:], a[:, :-2]))
    large = mean_over_images(lambda a: median(a[:, 4:], a[:, :-4]))
    assert max(tones) <= 1 < small < large


def test_only_inversion_is_flagged():
    for path in IMAGES:
        image = read(path)
        assert sanity_flags(image, -image) == ["inverted"]
        assert sanity_flags(image, 2 * ((image + 1) / 2) ** 2 - 1) == []
        assert sanity_flags(image, ndimage.gaussian_filter(image, 2)) == []
