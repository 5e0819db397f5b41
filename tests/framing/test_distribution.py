import numpy as np
import pytest

from medi2i.config import dump_config, load_config, preset_folder
from medi2i.errors import ConfigError
from medi2i.framing.distribution import FittedFrom, FramingDistribution

RANGES = FramingDistribution(
    height_mm=(300, 400, 420),
    aspect=(0.8, 1.25),
    down_mm=(-30, 10),
    right_mm=(-5, 5),
    rotation_deg=(-4, 2),
    fitted=FittedFrom(
        method="registration", films=9, used=7, rejected={"unlike the template": 2}, templates=1,
        quantiles=(0.05, 0.95), median_score=0.7,
    ),
)  # fmt: skip


class Levels:
    """Stands for the random generator: gives fixed levels, and counts them."""

    def __init__(self, *levels):
        self.levels, self.drawn = levels, 0

    def random(self, size):
        self.drawn += size
        return np.array(self.levels)


def test_a_frame_is_interpolated_from_the_ranges():
    frame = RANGES.sample(Levels(0.25, 0.5, 0.75, 0.0, 1.0))
    # half way from 300 to 400 in the logarithm, aspect 1 half way from 0.8 to 1.25
    assert frame.height_mm == pytest.approx(np.sqrt(300 * 400))
    assert frame.width_mm == pytest.approx(np.sqrt(300 * 400))
    assert frame.center_mm == pytest.approx((0, -5))
    assert frame.rotation_deg == 2
    assert RANGES.sample(Levels(0.5, 0, 0, 0, 0)).height_mm == pytest.approx(400)


def test_a_frame_costs_the_same_number_of_draws_whatever_varies():
    for ranges in (RANGES, FramingDistribution(height_mm=(300, 300))):
        levels = Levels(0, 0, 0, 0, 0)
        ranges.sample(levels)
        assert levels.drawn == 5


def test_samples_keep_to_the_ranges_and_have_their_quantiles():
    rng = np.random.default_rng(0)
    frames = [RANGES.sample(rng) for _ in range(2000)]
    heights = np.array([frame.height_mm for frame in frames])
    assert 300 <= heights.min() < heights.max() <= 420
    # the second number is the median; 3 standard deviations of a fraction of 2000 are 0.034
    assert np.mean(heights < 400) == pytest.approx(0.5, abs=0.034)
    ratios = np.array([frame.width_mm / frame.height_mm for frame in frames])
    assert np.mean(ratios < 1) == pytest.approx(0.5, abs=0.034)


def test_ranges_survive_yaml(tmp_path):
    path = tmp_path / "framing.yaml"
    path.write_text(dump_config(RANGES))
    assert load_config(path, FramingDistribution) == RANGES


def test_the_chest_preset_frames_what_its_detectors_show():
    ranges = load_config(preset_folder("framing") / "chest.yaml", FramingDistribution)
    shown = [size / (1800 / 1600) for size in (350, 430)]
    assert ranges.height_mm[-1] == pytest.approx(shown[1], abs=0.5)
    assert ranges.aspect == pytest.approx((shown[0] / shown[1], shown[1] / shown[0]), abs=0.01)


@pytest.mark.parametrize(
    "text", ["height_mm: [400, 300]", "height_mm: [300]", "height_mm: [0, 300]", "height_mm: [1, 2]\nzoom: 1"]
)
def test_impossible_ranges_are_refused(tmp_path, text):
    path = tmp_path / "framing.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"height_mm|zoom"):
        load_config(path, FramingDistribution)
