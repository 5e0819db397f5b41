import pytest
import torch
from pydantic import ValidationError

from medi2i.drr.film import FilmConfig, MarkerConfig, render_film
from medi2i.drr.film.annotation import draw_marker

CPU = torch.device("cpu")
SHAPE, SPACING_MM = (200, 160), (1.0, 1.25)


def ink(**settings) -> torch.Tensor:
    config = MarkerConfig.model_validate({"height_mm": 24.0, "margin": 0.05} | settings)
    return draw_marker(SHAPE, config, spacing_mm=SPACING_MM, device=CPU)


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


def test_a_marker_that_does_not_fit_is_cut_off():
    drawn = draw_marker((8, 8), MarkerConfig(height_mm=60.0), spacing_mm=(1.0, 1.0), device=CPU)
    assert drawn.shape == (8, 8)
    assert drawn.max() == 1


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
    core = draw_marker(SHAPE, MarkerConfig(kind=kind, height_mm=24.0), spacing_mm=SPACING_MM, device=CPU) == 1
    assert marked.annotation[core].all()
    assert 0 < marked.annotation.sum() < 0.05 * marked.annotation.numel()
    assert float(marked.brightness()[core].mean()) > 0.9 > 0.5 > float(plain.brightness()[core].mean())
    if kind == "electronic":
        assert torch.equal(plain.codes[~marked.annotation], marked.codes[~marked.annotation])
