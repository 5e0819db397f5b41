import io

import numpy as np
import pytest
from PIL import Image

from medi2i.errors import UsageError
from medi2i.framing.estimation import FrameEstimate
from medi2i.framing.frame import Frame
from medi2i.framing.picture import choose_examples, corners_mm, draw_framing
from medi2i.framing.placement import Placement
from medi2i.image import Radiograph, RadiographHeader
from tests.framing.scenes import make_film, make_template

PLACE = Placement((4.0, 4.0), 0.0, (0.0, 0.0))


def make_estimate(score: float, *, accepted: bool = True) -> FrameEstimate:
    frame = PLACE.frame_of(np.ones((80, 70), dtype=bool))
    reason = None if accepted else "unlike the template"
    return FrameEstimate(frame, PLACE, score, 0.2, accepted=accepted, reason=reason)


def test_corners_of_a_turned_frame():
    # 20 x 40 mm turned clockwise by a quarter: what was its right side points down
    np.testing.assert_allclose(
        corners_mm(Frame(20, 40, (5, 7), 90)),
        [[5 - 20, 7 + 10], [5 + 20, 7 + 10], [5 + 20, 7 - 10], [5 - 20, 7 - 10]],
        atol=1e-12,
    )


def test_examples_go_from_the_worst_accepted_to_the_best_and_end_with_rejected_ones():
    scores = [0.9, 0.2, 0.6, 0.7, 0.8, 0.1]
    estimates = [make_estimate(score, accepted=score > 0.5) for score in scores]
    assert choose_examples(estimates, 10) == [2, 3, 4, 0, 1, 5]
    assert choose_examples([*estimates, *estimates[:1] * 6], 5)[-1] == 1
    assert choose_examples([estimates[1]], 5) == [0]


def test_the_picture_shows_both_domains_and_the_films():
    film = make_film(PLACE, (80, 70)).astype(np.float32)
    shown = Radiograph(film, np.ones((80, 70), dtype=bool), RadiographHeader("npy", 80, 70))
    estimates = [make_estimate(0.8), make_estimate(0.3, accepted=False)]
    source = [Frame(350, 350), Frame(360, 340, (5, 5), 2)]
    picture = draw_framing([make_template()], source, estimates, {0: shown, 1: shown})
    with Image.open(io.BytesIO(picture)) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0] > 120).sum()
    orange = (pixels[..., 0] - pixels[..., 2] > 120).sum()
    assert blue > 300
    assert orange > 300
    alone = draw_framing([make_template()], [], estimates, {})
    with Image.open(io.BytesIO(alone)) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert (pixels[..., 2] - pixels[..., 0] > 120).sum() == 0


def test_nothing_to_draw_is_an_error():
    with pytest.raises(UsageError, match="0 films"):
        draw_framing([make_template()], [], [], {})
