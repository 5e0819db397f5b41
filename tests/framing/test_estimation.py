import numpy as np
import pytest

from medi2i.errors import UsageError
from medi2i.framing.estimation import EstimationConfig, estimate_frame
from medi2i.framing.placement import Placement
from medi2i.framing.template import Template
from tests.framing.scenes import QUICK, make_film, make_template

CONFIG = EstimationConfig(search=QUICK)
PLACES = [
    Placement((2.4, 2.4), 0.0, (0.0, 0.0)),
    Placement((2.7, 2.3), 5.0, (20.0, -14.0)),
    Placement((1.9, 2.1), -7.0, (-30.0, 25.0)),
]


@pytest.fixture(scope="module")
def template() -> Template:
    return make_template()


@pytest.mark.parametrize("place", PLACES)
def test_a_known_frame_is_found_whatever_the_tone(template, place):
    film = make_film(place, (140, 120))
    found = estimate_frame(film, np.ones(film.shape, dtype=bool), template, CONFIG)
    assert found.accepted
    assert found.score > 0.85
    # 0.5 %, and what the penalty on stretch pulls: a quarter of the stretch
    tolerance = 0.005 + 0.25 * abs(np.log(place.stretch))
    assert found.frame.height_mm == pytest.approx(140 * place.spacing_mm[0], rel=tolerance)
    assert found.frame.width_mm == pytest.approx(120 * place.spacing_mm[1], rel=tolerance)
    assert found.frame.center_mm == pytest.approx(place.center_mm, abs=0.8)
    assert found.frame.rotation_deg == pytest.approx(place.rotation_deg, abs=0.3)


def test_borders_and_writing_do_not_move_the_frame_that_is_around_the_exposed_field(template):
    place = PLACES[1]
    film = make_film(place, (140, 120))
    valid = np.ones(film.shape, dtype=bool)
    valid[:14], valid[:, 108:] = False, False
    film[~valid] = 255.0
    film[20:26, 10:13] = film[20:26, 17:20] = 255.0
    found = estimate_frame(film, valid, template, CONFIG)
    expected = place.frame_of(valid)
    assert found.accepted
    assert found.frame.height_mm == pytest.approx(expected.height_mm, rel=0.015)
    assert found.frame.width_mm == pytest.approx(expected.width_mm, rel=0.015)
    assert found.frame.center_mm == pytest.approx(expected.center_mm, abs=3.0)


def test_films_of_another_patient_turned_or_without_content_are_rejected_with_the_reason(template):
    film = make_film(PLACES[0], (140, 120))
    shown = np.ones(film.shape, dtype=bool)
    other = estimate_frame(make_film(PLACES[0], (140, 120), patient=5), shown, template, CONFIG)
    assert (other.accepted, other.reason) == (False, "unlike the template")
    loose = CONFIG.model_copy(update={"minimum_score": 0.0})
    turned = estimate_frame(np.rot90(film), np.rot90(shown), template, loose)
    assert (turned.accepted, turned.reason) == (False, "as much like the template turned or inverted")
    empty = estimate_frame(np.zeros((50, 60)), np.ones((50, 60), dtype=bool), template, CONFIG)
    assert (empty.accepted, empty.score, empty.reason) == (False, 0.0, "too little of it is exposed")
    hidden = estimate_frame(film, np.zeros_like(shown), template, CONFIG)
    assert hidden.reason == "too little of it is exposed"


def test_the_template_that_agrees_best_decides(template):
    film = make_film(PLACES[0], (140, 120))
    shown = np.ones(film.shape, dtype=bool)
    found = estimate_frame(film, shown, [make_template(patient=5), template], CONFIG)
    assert found.template == 1


def test_arguments_stay_as_they_were_and_the_result_is_the_same_each_time(template):
    film = make_film(PLACES[0], (70, 60))
    shown = np.ones(film.shape, dtype=bool)
    before = film.copy(), template.image.copy()
    first = estimate_frame(film, shown, template, CONFIG)
    assert first == estimate_frame(film, shown, template, CONFIG)
    np.testing.assert_array_equal(film, before[0])
    np.testing.assert_array_equal(template.image, before[1])
    assert shown.all()


def test_a_template_knows_its_own_frame():
    frame = make_template(rows=100, columns=110, spacing_mm=3.0).frame
    assert (frame.height_mm, frame.width_mm) == (300, 330)
    assert frame.center_mm == pytest.approx((-12, 18))


@pytest.mark.parametrize(
    ("image", "valid", "spacing"),
    [
        (np.ones((40, 40)), np.ones((40, 40), dtype=bool), (1.0, 1.0)),
        (np.eye(20), np.ones((20, 20), dtype=bool), (1.0, 1.0)),
        (np.eye(40), np.zeros((40, 40), dtype=bool), (1.0, 1.0)),
        (np.eye(40), np.ones((40, 40), dtype=bool), (0.0, 1.0)),
    ],
)
def test_useless_templates_are_refused(image, valid, spacing):
    with pytest.raises(UsageError, match="template DRR"):
        Template(image, spacing, (20.0, 20.0), valid)
