import math

import pytest
import torch
from torch.testing import assert_close

from medi2i.drr.film.beam import (
    CollimationConfig,
    HeelConfig,
    attenuate,
    collimate,
    heel_profile,
    split_materials,
)
from medi2i.drr.spectrum import SpectrumConfig, make_spectrum, polyenergetic_attenuation
from medi2i.errors import UsageError

CPU = torch.device("cpu")
BEAM = SpectrumConfig(kvp=90.0)


def test_a_line_integral_hardens_as_water_does():
    found = attenuate(torch.full((1, 3, 4), 0.02059 * 120), BEAM, 60.0)
    water_mm = torch.full((3, 4), 120.0)
    assert_close(found, polyenergetic_attenuation(water_mm, torch.zeros(3, 4), make_spectrum(BEAM)))


def test_two_planes_are_water_and_bone():
    paths = torch.stack([torch.full((2, 5), 90.0), torch.full((2, 5), 8.0)])
    expected = polyenergetic_attenuation(paths[0], paths[1], make_spectrum(BEAM))
    assert_close(attenuate(paths.expand(3, 2, 2, 5), BEAM, 60.0), expected.expand(3, 2, 5))


def test_three_planes_are_refused():
    with pytest.raises(UsageError, match=r"\(3, 8, 8\); expected \(\.\.\., 1, H, W\)"):
        attenuate(torch.zeros(3, 8, 8), BEAM, 70.0)


def test_split_materials_give_the_line_integral_again():
    line_integral = torch.full((32, 32), 2.0)
    line_integral[12:20, 12:20] = 2.5
    paths = split_materials(line_integral, bone_share=0.8, line_integral_kev=60.0, sigma_px=6.0)
    assert_close(0.02059 * paths[0] + 0.3148 * 1.92 / 10 * paths[1], line_integral)
    assert paths[1, 16, 16] > 3
    assert paths[1, 2, 2] == pytest.approx(0, abs=1e-3)
    none = split_materials(line_integral, bone_share=0.0, line_integral_kev=60.0, sigma_px=6.0)
    assert none[1].max() == 0


@pytest.mark.parametrize(
    ("anode", "expected"),
    [
        ("top", [[0.8, 0.8], [0.9, 0.9], [1.0, 1.0]]),
        ("bottom", [[1.0, 1.0], [0.9, 0.9], [0.8, 0.8]]),
        ("left", [[0.8, 1.0]] * 3),
        ("right", [[1.0, 0.8]] * 3),
    ],
)
def test_the_heel_weakens_the_anodes_side(anode, expected):
    found = heel_profile((3, 2), HeelConfig(fall=0.2, anode=anode), CPU)
    assert_close(found, torch.tensor(expected))


def test_a_straight_collimator_covers_its_borders():
    config = CollimationConfig(border=(0.1, 0.2, 0.3, 0.0), edge_mm=0.0, leakage=0.01)
    transmission, exposed = collimate((20, 40), config, spacing_mm=(2.0, 1.0), device=CPU)
    assert transmission[0, 20] == pytest.approx(0.01)
    # edges lie on pixel borders, and fall over one pixel of 2 mm: half open at 1 mm beyond half a pixel
    assert exposed[3:15, 14:38].all()
    assert exposed.sum() <= 14 * 27
    assert not exposed[:2].any()
    assert not exposed[16:].any()
    assert not exposed[:, :12].any()


def test_the_edge_falls_linearly_over_its_width():
    config = CollimationConfig(border=(0.25, 0.0, 0.0, 0.0), edge_mm=8.0, leakage=0.0)
    transmission, _ = collimate((40, 3), config, spacing_mm=(1.0, 9.0), device=CPU)
    # row centers at 0.5, 1.5, ... mm, the edge at 10 mm, one pixel of 9 mm being wider than 8 mm
    expected = [(row + 0.5 - 10) / 9 + 0.5 for row in range(6, 14)]
    assert_close(transmission[6:14, 1], torch.tensor(expected))


def test_a_turned_rectangle_keeps_its_area_and_turns_about_the_middle():
    config = CollimationConfig(border=(0.3, 0.3, 0.2, 0.2), rotation_deg=20.0, edge_mm=1.0, leakage=0.0)
    transmission, _ = collimate((200, 200), config, spacing_mm=(1.0, 1.0), device=CPU)
    assert float(transmission.sum()) == pytest.approx(80 * 120, rel=2e-3)
    assert_close(transmission, transmission.flip(0, 1), atol=1e-4, rtol=0)
    # clockwise: the right end of the middle line goes down, and so does the lower right corner
    turn = math.radians(20)
    assert transmission[round(100 + 58 * math.sin(turn)), round(100 + 58 * math.cos(turn))] == 1
    corner_down, corner_right = (
        57 * math.sin(turn) + 37 * math.cos(turn),
        57 * math.cos(turn) - 37 * math.sin(turn),
    )
    assert transmission[round(100 + corner_down), round(100 + corner_right)] == 1
    turn = -turn
    corner_down, corner_right = (
        57 * math.sin(turn) + 37 * math.cos(turn),
        57 * math.cos(turn) - 37 * math.sin(turn),
    )
    assert transmission[round(100 + corner_down), round(100 + corner_right)] == 0


def test_no_collimator_exposes_everything():
    transmission, exposed = collimate((4, 5), None, spacing_mm=(1.0, 1.0), device=CPU)
    assert transmission.min() == 1
    assert exposed.all()
