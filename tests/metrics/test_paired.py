import math

import numpy as np
import pytest

from medi2i.errors import UsageError
from medi2i.metrics.paired import mean_absolute_error, ssim


def test_mean_absolute_error_is_the_mean_over_valid_pixels():
    truth = np.zeros((2, 2), dtype=np.float32)
    translated = np.array([[0.5, -1.0], [0.25, 9.0]], dtype=np.float32)
    assert mean_absolute_error(translated, truth) == pytest.approx(10.75 / 4)
    valid = np.array([[True, True], [True, False]])
    assert mean_absolute_error(translated, truth, valid) == pytest.approx(1.75 / 3)
    assert math.isnan(mean_absolute_error(translated, truth, np.zeros((2, 2), dtype=bool)))


def test_ssim_of_constant_images_is_the_luminance_term_on_the_unit_range():
    # -0.6 and 0.2 are 0.2 and 0.6 in [0, 1]: (2 * 0.2 * 0.6 + 1e-4) / (0.04 + 0.36 + 1e-4)
    value = ssim(np.full((16, 16), -0.6), np.full((16, 16), 0.2))
    assert value == pytest.approx(0.2401 / 0.4001, abs=1e-4)


def test_ssim_is_undefined_without_a_valid_window_and_refused_below_its_size():
    image = np.zeros((16, 16))
    assert math.isnan(ssim(image, image, np.zeros((16, 16), dtype=bool)))
    with pytest.raises(UsageError, match="8 x 8"):
        ssim(np.zeros((8, 8)), np.zeros((8, 8)))
