import numpy as np
import pytest

from medi2i.errors import NothingUsableError
from medi2i.framing.estimation import EstimationConfig, FrameEstimate
from medi2i.framing.fitting import FittingConfig, fit_framing, merge_estimates
from medi2i.framing.frame import Frame
from medi2i.framing.placement import Placement
from medi2i.image import Radiograph, RadiographHeader
from tests.framing.scenes import QUICK, make_film, make_template


def make_estimate(height: float, *, accepted: bool = True, stretch: float = 1.0) -> FrameEstimate:
    frame = Frame(height, 0.5 * height, (height - 300, 0.0), 3.0)
    place = Placement((stretch, 1.0), 3.0, frame.center_mm)
    reason = None if accepted else "unlike the template"
    return FrameEstimate(frame, place, 0.7, 0.2, accepted=accepted, reason=reason)


def test_ranges_are_equidistant_quantiles_of_the_accepted_films():
    heights = [300.0, 310.0, 320.0, 330.0, 340.0]
    estimates = [*(make_estimate(h, stretch=h / 320) for h in heights), make_estimate(900.0, accepted=False)]
    found = merge_estimates(estimates, 2, FittingConfig(quantiles=(0.0, 1.0)))
    assert found.height_mm == (300, 310, 320, 330, 340)
    assert found.aspect == (0.5,) * 5
    assert found.down_mm == (0, 10, 20, 30, 40)
    assert found.rotation_deg == (3,) * 5
    assert found.stretch == pytest.approx([h / 320 for h in heights], abs=1e-3)
    # 5 % of the way from the first to the last of five is a fifth of a step
    assert merge_estimates(estimates, 2, FittingConfig()).height_mm[0] == 302
    assert (found.fitted.films, found.fitted.used, found.fitted.templates) == (6, 5, 2)
    assert found.fitted.rejected == {"unlike the template": 1}


def test_too_few_fits_are_no_distribution():
    estimates = [make_estimate(300.0), *(make_estimate(300.0, accepted=False) for _ in range(8))]
    with pytest.raises(NothingUsableError, match=r"1 of 9 films fit the CT \(8 unlike the template\)"):
        merge_estimates(estimates, 1, FittingConfig())
    with pytest.raises(NothingUsableError, match="0 of 0 films"):
        fit_framing([], [make_template()])


def test_films_are_fitted_one_by_one_and_strangers_left_out():
    shape = (80, 70)
    places = [Placement((4.2, 4.2), 0.0, (0.0, 0.0)), Placement((4.6, 4.6), 4.0, (10.0, 0.0))]
    pictures = [make_film(place, shape) for place in places]
    pictures.append(np.random.default_rng(0).random(shape))
    films = (
        Radiograph(pixels.astype(np.float32), np.ones(shape, dtype=bool), RadiographHeader("npy", *shape))
        for pixels in pictures
    )
    done: list[int] = []
    config = FittingConfig(estimation=EstimationConfig(search=QUICK), minimum_films=2, quantiles=(0, 1))
    found = fit_framing(films, [make_template()], config, done.append)
    assert done == [1, 2, 3]
    assert found.rejected == (2,)
    low, high = found.distribution.height_mm[0], found.distribution.height_mm[-1]
    assert (low, high) == pytest.approx((80 * 4.2, 80 * 4.6), rel=0.01)
    assert found.distribution.rotation_deg[-1] == pytest.approx(4, abs=0.7)
