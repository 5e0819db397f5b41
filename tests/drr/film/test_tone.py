import math
from typing import get_args

import pytest
import torch
from torch.testing import assert_close

from medi2i.drr.film import StorageConfig, ToneConfig
from medi2i.drr.film.tone import CurveName, apply_tone, dequantise, quantise

RAMP = torch.linspace(0, 1, 257)


@pytest.mark.parametrize("curve", get_args(CurveName))
def test_every_curve_rises_from_0_to_1(curve):
    bright = apply_tone(RAMP, ToneConfig(curve=curve))
    assert (bright.diff() > 0).all()
    assert_close(bright[[0, -1]], torch.tensor([0.0, 1.0]))


def test_curves_differ():
    found = torch.stack([apply_tone(RAMP, ToneConfig(curve=curve)) for curve in get_args(CurveName)])
    apart = (found[:, None] - found[None]).abs().amax(-1)
    assert apart[~torch.eye(len(found), dtype=torch.bool)].min() > 0.04


def test_the_screen_film_curve_by_hand():
    s = [(1 + math.exp(-5.5 * (x - 0.46))) ** -1.6 for x in (0.0, 0.7, 1.0)]
    found = apply_tone(torch.tensor([0.7]), ToneConfig(curve="screen_film"))
    assert_close(found, torch.tensor([(s[1] - s[0]) / (s[2] - s[0])]))


def test_brightness_and_contrast_turn_the_curve():
    middle = torch.tensor([0.5])
    assert apply_tone(middle, ToneConfig(brightness=0.1)) > apply_tone(middle, ToneConfig()) + 0.05
    linear = ToneConfig(curve="linear", brightness=0.05, contrast=2.0)
    assert_close(apply_tone(torch.tensor([0.6, 0.0]), linear), torch.tensor([0.75, 0.0]))


def test_a_lookup_table_is_interpolated():
    config = ToneConfig(lookup=(0.0, 0.1, 1.0))
    found = apply_tone(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]), config)
    assert_close(found, torch.tensor([0.0, 0.05, 0.1, 0.55, 1.0]))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_codes_come_back_within_half_a_step_in_both_polarities(bits):
    top = 2**bits - 1
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        storage = StorageConfig(bits_stored=bits, photometric_interpretation=photometric)
        codes = quantise(RAMP, storage)
        assert codes.dtype == torch.int32
        assert sorted([int(codes[0]), int(codes[-1])]) == [0, top]
        assert (int(codes[0]) == top) is (photometric == "MONOCHROME1")
        assert_close(dequantise(codes, storage), RAMP, atol=0.5 / top + 1e-7, rtol=0)
