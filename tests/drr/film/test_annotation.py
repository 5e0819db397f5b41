import pytest
import torch
from pydantic import ValidationError

from medi2i.drr.film import CollimationConfig, FilmConfig, MarkerConfig, render_film
from medi2i.drr.film.annotation import draw_marker
from medi2i.drr.film.beam import collimate

SHAPE, SPACING_MM = (200, 160), (1.0, 1.25)
FREE = torch.ones(SHAPE, dtype=torch.bool)


def ink(**settings) -> torch.Tensor:
    config = MarkerConfig.model_validate({"height_mm": 24.0, "margin": 0.05} | settings)
    return draw_marker(FREE, config, spacing_mm=SPACING_MM)


def box(drawn: torch.Tensor) -> tuple[int, int, int, int]:
    rows, columns = torch.nonzero(drawn > 0.5, as_tuple=True)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def test_r_stands_left_and_l_stands_right():
    assert box(ink(side="R"))[3] < 80 < box(ink(side="L"))[2]


def test_a_letter_has_its_height_and_margin():
    top, bottom, left, _ = box(ink(side="R"))
    # strokes of 2.8 mm reach 1.4 mm beyond the letter's 24 mm; margins are 10 mm both
    assert (bottom - top + 1) * 1.0 == pytest.approx(24 + 2.8, abs=1.1)
    assert top * 1.0 == pytest.approx(10 - 1.4, abs=1.1)
    assert left * 1.25 == pytest.approx(10 - 1.4, abs=1.4)
    assert box(ink(side="R", at_bottom=True))[1] == pytest.approx(190 + 1.4, abs=1.6)


def test_l_is_an_upright_and_a_foot():
    drawn = ink(side="L")
    top, bottom, left, right = box(drawn)
    letter = drawn[top : bottom + 1, left : right + 1]
    assert letter[:, 1].min() == pytest.approx(1, abs=0.3)
    assert letter[-2].min() == pytest.approx(1, abs=0.3)
    assert letter[:-6, 5:].max() == 0
    # a stroke of 24 mm and one of 16 mm, 2.8 mm wide with round ends, joined at the corner
    area_mm2 = float(drawn.sum()) * 1.25
    assert area_mm2 == pytest.approx((24 + 16) * 2.8 + 3.1416 * 1.4**2 - 1.4**2 * 0.2, rel=0.05)


def test_words_stand_below_the_letter_and_a_frame_around_it():
    plain, words, framed = ink(), ink(words="PORTABLE"), ink(box=True)
    assert box(words)[1] > box(plain)[1] + 15
    assert framed.sum() > 2 * plain.sum()


def test_nothing_but_letters_can_be_written():
    for text in ("DOE 1970", "X1", "é", ""):
        with pytest.raises(ValidationError, match="words"):
            MarkerConfig(words=text)


def test_words_are_drawn_with_strokes_as_much_thinner_as_they_are_smaller():
    """The upright of an I below an R: strokes of 0.7 / 6 of a letter's height, 0.6 of that for words."""
    config = MarkerConfig(height_mm=60.0, words="I")
    drawn = draw_marker(torch.ones(800, 500, dtype=torch.bool), config, spacing_mm=(0.25, 0.25))
    top, bottom, left, _ = box(drawn)
    letter = drawn[: top + int(66 / 0.25)]
    # below the R's bowl and beside its leg its upright is alone at the left
    upright = float(letter[int(top + 50 / 0.25), left : left + int(15 / 0.25)].sum()) * 0.25
    word = float(drawn[int(bottom - 18 / 0.25)].sum()) * 0.25
    assert upright == pytest.approx(7.0, abs=0.1)
    assert word == pytest.approx(0.6 * 7.0, abs=0.1)


def test_a_marker_that_does_not_fit_is_not_drawn():
    free = torch.ones(8, 8, dtype=torch.bool)
    drawn = draw_marker(free, MarkerConfig(height_mm=60.0), spacing_mm=(1.0, 1.0))
    assert drawn.shape == (8, 8)
    assert drawn.max() == 0
    assert draw_marker(~FREE, MarkerConfig(), spacing_mm=SPACING_MM).max() == 0


@pytest.mark.parametrize("corner", [{"side": "R"}, {"side": "L"}, {"side": "L", "at_bottom": True}])
def test_a_marker_moves_whole_into_a_turned_field_and_no_further(corner):
    collimation = CollimationConfig(border=(0.15, 0.15, 0.15, 0.15), rotation_deg=3.0)
    _, free = collimate(SHAPE, collimation, spacing_mm=SPACING_MM, device=torch.device("cpu"))
    settings = corner | {"words": "ERECT", "box": True}
    plain, moved = (
        ink(**settings),
        draw_marker(
            free,
            MarkerConfig.model_validate({"height_mm": 24.0, "margin": 0.05} | settings),
            spacing_mm=SPACING_MM,
        ),
    )
    assert (plain[~free] > 0).any()
    assert not (moved[~free] > 0).any()
    assert float(moved.sum()) == pytest.approx(float(plain.sum()), rel=1e-3)
    (top, bottom, left, right), (first, last, start, end) = box(moved), box(plain)
    assert (bottom - top, right - left) == (last - first, end - start)
    # within 4 mm of clearance and what the turn takes over its length: it stands at the field's corner
    rows, columns = torch.nonzero(free, as_tuple=True)
    beside = left - int(columns.min()) if corner["side"] == "R" else int(columns.max()) - right
    above = int(rows.max()) - bottom if "at_bottom" in corner else top - int(rows.min())
    assert beside * 1.25 < 16
    assert above * 1.0 < 16


@pytest.mark.parametrize(
    ("words", "pa_upright", "ap_upright", "ap_lying"),
    [
        (None, True, True, True),
        ("PA", True, False, False),
        ("AP", False, True, True),
        ("PORTABLE", False, True, True),
        ("SUPINE", False, False, True),
        ("ERECT", True, True, False),
    ],
)
def test_words_agree_with_view_and_posture(words, pa_upright, ap_upright, ap_lying):
    marker = MarkerConfig(words=words)
    assert marker.agrees_with("PA", upright=True) is pa_upright
    assert marker.agrees_with("AP", upright=True) is ap_upright
    assert marker.agrees_with("AP", upright=False) is ap_lying
    assert marker.agrees_with("left lateral", upright=True) is (words in (None, "ERECT"))


@pytest.mark.parametrize("kind", ["electronic", "lead"])
def test_the_marker_is_bright_on_the_film_and_its_mask_says_where(kind):
    line_integral = torch.full((1, *SHAPE), 2.0) + 0.01 * torch.arange(160.0)
    films = []
    for marker in (None, MarkerConfig(kind=kind, height_mm=24.0)):
        films.append(
            render_film(
                line_integral,
                FilmConfig(marker=marker),
                spacing_mm=SPACING_MM,
                magnification=1.1,
                generator=torch.Generator().manual_seed(0),
            )
        )
    plain, marked = films
    assert not plain.annotation.any()
    core = draw_marker(FREE, MarkerConfig(kind=kind, height_mm=24.0), spacing_mm=SPACING_MM) == 1
    assert marked.annotation[core].all()
    assert 0 < marked.annotation.sum() < 0.05 * marked.annotation.numel()
    assert float(marked.brightness()[core].mean()) > 0.9 > 0.5 > float(plain.brightness()[core].mean())
    if kind == "electronic":
        assert torch.equal(plain.codes[~marked.annotation], marked.codes[~marked.annotation])
